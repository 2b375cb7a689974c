"""Which directions an adapter uses, layer by layer: beside another adapter's, or beside those of W itself."""

from typing import NamedTuple

import numpy

from minilora.analysis import (
    Factors,
    amplification_table,
    numerical_rank,
    principal_angles,
    random_control,
    shape_of,
    similarity_of_bases,
    simulated_control,
    svd_of,
    weight_similarity,
)
from minilora.methods import lora_layers

PANELS = 5  # of layers, in a figure; with the random one, two rows


class Similarity(NamedTuple):
    """How far the directions of one layer agree in two adapters."""

    phi: numpy.ndarray  # (r1, r2)
    control: numpy.ndarray  # (r1, r2)  what two random subspaces would give
    angles: numpy.ndarray  # (min(r1, r2),)  the principal angles, in radians


def beside_another(changes, others, of="delta", r=None):
    """phi between two adapters, for every layer that both have: the paper's figures 3 and 4.

    Parameters
    ----------
    changes, others : dict of str to Factors, or to ndarray of shape (O, I)
        From `adapter_changes`.
    of : {"delta", "A", "B"}
        Whose directions: delta_W's and A's on the side of the input, B's on that of the output.
    r : int, optional
        How many; all that there are, if not given.

    Returns
    -------
    dict of str to Similarity
    """
    both = [path for path in changes if path in others]
    if not both:
        raise ValueError(f"the adapters have no layer in common: {', '.join(changes)}; {', '.join(others)}")
    similarities = {}
    for path in both:
        V1, V2 = (_directions(path, adapter[path], of, r) for adapter in (changes, others))
        control = random_control(len(V1), len(V2), V1.shape[1])
        similarities[path] = Similarity(similarity_of_bases(V1, V2), control, principal_angles(V1, V2))
    return similarities


def _directions(path, delta_W, of, r):
    """The r leading directions, as orthonormal rows."""
    if of == "delta":
        M = delta_W
    elif isinstance(delta_W, Factors):
        M = delta_W.A if of == "A" else delta_W.B.T
    else:
        raise ValueError(f"of was {of}, but DoRA's delta W is no product of B and A; it may be delta")
    rank = numerical_rank(M)
    r = rank if r is None else r
    if not 1 <= r <= rank:
        raise ValueError(f"directions was {r}; it may be from 1 to the rank of {of} of {path}, which is {rank}")
    return svd_of(M).Vt[:r]


def beside_weights(model, changes, r=None, *, rng):
    """Table 7 for every layer of an adapted model.

    Parameters
    ----------
    model : Module
    changes : dict of str to Factors, or to ndarray of shape (O, I)
        From `adapter_changes`.
    r : int, optional
        How many of delta_W's directions; all that there are, if not given.
    rng : numpy.random.Generator
        Draws the random directions.

    Returns
    -------
    dict of str to Amplification
    """
    weights = {path: layer.base.W.data for path, layer in lora_layers(model).items()}
    return {path: amplification_table(weights[path], delta_W, r, rng=rng) for path, delta_W in changes.items()}


def weight_figure(model, changes, r=None, *, rng):
    """phi between delta_W and the leading tenth of W's directions, for the first layers: the paper's figure 8."""
    layers, grids = lora_layers(model), {}
    for path in list(changes)[:PANELS]:
        W = layers[path].base.W.data  # (O, I)
        grids[path] = weight_similarity(W, changes[path], max(1, min(W.shape) // 10), r, rng=rng).T
    return _figure(grids, next(iter(changes.values())), rng, first=r"$\Delta W$", second="$W$")


def similarity_figure(changes, similarities, of="delta", *, rng):
    """phi between two adapters, for the first layers."""
    grids = {path: similarity.phi for path, similarity in list(similarities.items())[:PANELS]}
    letter = {"delta": r"\Delta W", "A": "A", "B": "B"}[of]
    names = {"first": f"${letter}$, one", "second": f"${letter}$, other"}
    return _figure(grids, changes[next(iter(grids))], rng, side=0 if of == "B" else 1, **names)


def _figure(grids, delta_W, rng, side=1, **names):
    """Panels of phi, and one of random matrices of the first panel's size."""
    from minilora import plots

    n = shape_of(delta_W)[side]
    control = simulated_control(*next(iter(grids.values())).shape, n, rng=rng)[0]
    panels = {**grids, f"random Gaussian, of length {n}": control}
    largest = 1.0 if max(grid.max() for grid in panels.values()) > 0.5 else 0.5  # small values in more colours
    return plots.similarity_grid(panels, columns=3, largest=largest, **names)

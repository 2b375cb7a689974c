"""`minilora subspace`: which directions an adapter uses, compared with another adapter's or with those of W itself."""

import argparse
from typing import Any, NamedTuple

import numpy

from minilora.analysis import (
    Factors,
    adapter_changes,
    amplification_table,
    numerical_rank,
    principal_angles,
    random_control,
    shape_of,
    similarity_of_bases,
    simulated_control,
    svd_of,
    weight_similarity,
    z_of_whole,
    z_scores,
)
from minilora.cli.layers import chosen, save_figure
from minilora.cli.opening import open_lora
from minilora.cli.options import LAYERS_HELP, add_adapter, add_choice, add_json, add_model, add_seed, integer, refuse
from minilora.cli.parser import Parser
from minilora.cli.paths import check_output
from minilora.cli.printing import print_json, progress, table
from minilora.methods import lora_layers

EXAMPLE = "minilora subspace --adapter runs/one --other runs/two --plot phi.png"
ARGUMENTS = {"r": "--directions"}  # what Python calls some options
PANELS = 5  # of layers, in a figure; with the random one, two rows


def add_options(p: Parser) -> None:
    """The adapter, what it is compared with, and which directions of which layers."""
    add_model(p)
    add_adapter(p)
    p.add_argument(
        "--other",
        metavar="FILE",
        help="another adapter for the model, or its run folder (default: none; compare with W)",
    )
    add_choice(
        p,
        "--of",
        ("delta", "A", "B"),
        default="delta",
        help="whose directions are compared: delta W's (input side), A's, as in the paper, or B's (output side)",
    )
    p.add_argument("--layers", help=LAYERS_HELP)
    p.add_argument(
        "--directions",
        type=integer(1, 65_536),
        metavar="R",
        help="how many of the leading directions (default: all of the adapter's)",
    )
    p.add_argument("--plot", metavar="FILE", help="a PNG of phi(i, j), for up to five layers, and of random matrices")
    add_seed(p, "for random directions and matrices")
    add_json(p)


def run(options: argparse.Namespace) -> int:
    """Compare, print the comparison, and draw it if asked."""
    if options.adapter is None:
        raise ValueError("--adapter was not given; it must name the adapter to inspect")
    if options.other is None:
        refuse(options, ("of",), "without --other delta W is compared with W; it needs --other")
    elif options.plot is None:
        refuse(options, ("seed",), "nothing is random between two adapters; it needs --plot")
    if options.plot is not None:
        reads = {"--model": options.model, "--adapter": options.adapter, "--other": options.other}
        check_output("--plot", options.plot, reads, example="phi.png")
    rng, r = numpy.random.default_rng(options.seed), options.directions
    model = open_lora(options.model, options.adapter)
    changes = chosen(adapter_changes(model), options.layers)
    if options.other is None:
        compared = against_weights(model, changes, r, rng=rng)
        lines = amplification_lines(compared)
    else:
        others = adapter_changes(open_lora(options.model, options.other))
        compared = against_another(changes, others, options.of, r)
        lines = similarity_lines(compared)
    if options.plot is not None:
        if options.other is None:
            figure = weight_figure(model, changes, r, rng=rng)
        else:
            figure = similarity_figure(changes, compared, options.of, rng=rng)
        save_figure(figure, options.plot)
    if options.json:
        factors = {path: {"factor": t.factor} for path, t in compared.items()} if options.other is None else {}
        print_json({path: t._asdict() | factors.get(path, {}) for path, t in compared.items()})
        return 0
    print("\n".join(lines))
    if options.plot is not None:
        print(f"{options.plot}: phi(i, j), and what random matrices give")
    return 0


def similarity_lines(similarities: dict[str, "Similarity"]) -> list[str]:
    """phi at three points with its z-score, and the smallest angle, a row for each layer, next to random subspaces."""
    rows = [("phi(i, j)", "(1, 1)", "z", "(1, r2)", "z", "(r1, r2)", "z", "r1, r2", "angle")]
    for path, (phi, z, _, angles) in similarities.items():
        r1, r2 = phi.shape
        places = [text for at in ((0, 0), (0, -1), (-1, -1)) for text in (f"{phi[at]:.3f}", f"{z[at]:.1f}")]
        rows.append((path, *places, f"{r1}, {r2}", f"{numpy.degrees(angles[0]):.1f}"))
    return [
        *table(rows),
        "z: how many standard deviations of random subspaces phi lies above their mean,",
        "max(i, j) / I",
        "angle: the smallest between the two subspaces, in degrees",
    ]


def amplification_lines(tables: dict[str, Any]) -> list[str]:
    """Table 7, a row for each layer."""
    rows = [("||U^T W V^T|| for", "r", "delta W", "W itself", "random", "||W||", "||delta W||", "factor")]
    for path, t in tables.items():
        numbers = (t.delta, t.weight, t.random_expected, t.norm_W, t.norm_delta, t.factor)
        rows.append((path, str(t.r), *(f"{value:.3g}" for value in numbers)))
    return [*table(rows), "factor: how much delta W amplifies its directions, ||delta W|| / ||U^T W V^T||"]


class Similarity(NamedTuple):
    """How far the directions of one layer agree in two adapters."""

    phi: numpy.ndarray  # (r1, r2)
    z: numpy.ndarray  # (r1, r2)  how far above chance it lies, in standard deviations of two random subspaces
    control: numpy.ndarray  # (r1, r2)  what two random subspaces would give
    angles: numpy.ndarray  # (min(r1, r2),)  the principal angles, in radians


def against_another(
    changes: dict[str, Any], others: dict[str, Any], of: str = "delta", r: int | None = None
) -> dict[str, Similarity]:
    """phi between two adapters, for every layer that both have: the paper's figures 3 and 4.

    Parameters
    ----------
    changes, others : dict of str to Factors, or to ndarray of shape (O, I)
        From `adapter_changes`.
    of : {"delta", "A", "B"}
        Whose directions: delta_W's or A's, on the input side, or B's, on the output side.
    r : int, optional
        How many; all, if not given.

    Returns
    -------
    dict of str to Similarity
    """
    both = [path for path in changes if path in others]
    if not both:
        raise ValueError(f"the adapters have no layer in common: {', '.join(changes)}; {', '.join(others)}")
    similarities = {}
    for path in progress(both, "phi", "matrix"):
        V1, V2 = (_directions(path, adapter[path], of, r) for adapter in (changes, others))
        control = random_control(len(V1), len(V2), V1.shape[1])
        phi = similarity_of_bases(V1, V2)
        similarities[path] = Similarity(phi, z_scores(phi, V1.shape[1]), control, principal_angles(V1, V2))
    return similarities


def _directions(path, delta_W, of, r):
    """The r leading directions, as orthonormal rows."""
    if of == "delta":
        M = delta_W
    elif isinstance(delta_W, Factors):
        M = delta_W.A if of == "A" else delta_W.B.T
    else:
        raise ValueError(
            f"--of was {of}, but this delta W (DoRA's, a random subspace's) is no product of B and A; it must be delta"
        )
    rank = numerical_rank(M)
    r = rank if r is None else r
    if not 1 <= r <= rank:
        raise ValueError(f"--directions was {r}; it must be from 1 to the rank of {of} of {path}, which is {rank}")
    return svd_of(M).Vt[:r]


def against_weights(
    model, changes: dict[str, Any], r: int | None = None, *, rng: numpy.random.Generator
) -> dict[str, Any]:
    """Table 7 for every layer of an adapted model.

    Parameters
    ----------
    model : Module
    changes : dict of str to Factors, or to ndarray of shape (O, I)
        From `adapter_changes`.
    r : int, optional
        How many of delta_W's directions; all, if not given.
    rng : numpy.random.Generator
        Draws the random directions.

    Returns
    -------
    dict of str to Amplification
    """
    weights = {path: layer.base.W.data for path, layer in lora_layers(model).items()}
    return {
        path: amplification_table(weights[path], delta_W, r, rng=rng)
        for path, delta_W in progress(changes.items(), "weights", "matrix")
    }


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
    return plots.similarity_grid(panels, columns=3, largest=largest, z=z_of_whole(panels, n), **names)

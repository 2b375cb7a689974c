"""Adding adapters: delta_W = w_1 delta_W_1 + w_2 delta_W_2 + ..., exactly, and the way it is often done wrong.

Each delta_W_i = s_i B_i A_i is a product, so a sum of them is the product of the concatenated factors:

    concatenate   (w_1 s_1 B_1 | w_2 s_2 B_2) (A_1 over A_2)   =   sum_i w_i s_i B_i A_i        of rank r_1 + r_2
    average       s (sum_i w_i B_i) (sum_j w_j A_j)            =   s sum_ij w_i w_j B_i A_j     of rank r

The second has the cross terms B_1 A_2 and B_2 A_1, which were never learned, and w_i^2 where w_i belongs.

Whatever else belongs to an adapter, such as a head, adds up in the same way: by its difference from the base's.
"""

from collections.abc import Sequence

import numpy

from minilora.arrays.backend import Array, get_xp, to_numpy
from minilora.methods.lora.apply import attach, make_factors, shape_of
from minilora.methods.lora.config import LoRAConfig
from minilora.methods.lora.embedding import LoRAEmbedding
from minilora.methods.lora.layer import LoRALinear
from minilora.methods.selection import new_parameters
from minilora.methods.state import adapters_of
from minilora.methods.switching import base_parameters, lora_layers, lora_names, refuse_merged
from minilora.parameter import Module, Parameter

HOW = ("concatenate", "average")


def combine_adapters(
    model: Module, names: Sequence[str], weights: Sequence[float], *, how: str = "concatenate", name: str = "combined"
) -> None:
    """Combine several LoRA adapters into a new one, in place, and make it the active one.

    PiSSA's delta_W = scale (B A - B0 A0) is one more such product, of rank 2 r. So with a single PiSSA adapter and the
    weight 1, this is the conversion to plain LoRA that PEFT does when it saves.

    Parameters
    ----------
    model : Module
    names : sequence of str
    weights : sequence of float, one for each name
    how : {"concatenate", "average"}
        The exact sum; or averages of A and of B, to see what is wrong with that.
    name : str
        The new adapter's name.

    Raises
    ------
    ValueError
        If an adapter is unknown or is DoRA's, the ranks together are too large for a layer, or (for "average") the
        adapters differ in layers, rank or scale. The model is then unchanged.
    """
    refuse_merged(model)
    combined = _combine(model, names, weights, how)
    ranks = {path: A.shape[0] for path, (_, A) in combined.items()}
    layers = lora_layers(model)
    for path, rank in ranks.items():
        if rank > min(shape_of(layers[path])):
            O, I = shape_of(layers[path])
            raise ValueError(f"the ranks of {list(names)} are {rank} together at {path}, whose W is {O} x {I}")
    # alpha = r, so that the scale is 1: B includes it already
    own = _combine_own(model, names, weights)
    config = LoRAConfig(
        rank=max(ranks.values()),
        alpha=1.0,
        targets=tuple(ranks),
        rank_pattern=ranks,
        alpha_pattern=ranks,
        besides=tuple(path for path in own if path not in new_parameters(model)),
    )
    factors = {}
    for path, (B, A) in combined.items():
        if isinstance(layers[path], LoRAEmbedding):  # B A is delta_E here, the transpose of its own B A
            A, B = B.T, A.T
        factors[path] = make_factors(path, layers[path], config, A, B)
    attach(model, name, config, factors, own)


def _combine_own(model: Module, names: Sequence[str], weights: Sequence[float]) -> dict[str, Parameter]:
    """The sum for whatever else belongs to the adapters: p + sum_i w_i (p_i - p), where p is the base's."""
    combined = {}
    for path, base in base_parameters(model).items():
        shares = [(weight, adapters_of(model).named[name].parts.get(path)) for name, weight in zip(names, weights)]
        owners = [(float(weight), own.data) for weight, own in shares if own is not None]
        if len(owners) == 1 and owners[0][0] == 1.0:
            combined[path] = Parameter(owners[0][1].copy())  # to the bit
        elif owners:
            combined[path] = Parameter(base.data + sum(weight * (own - base.data) for weight, own in owners))
    return combined


def combination_error(model: Module, names: Sequence[str], weights: Sequence[float]) -> dict[str, float]:
    """How far each way is from the weighted sum of delta_W.

    Parameters
    ----------
    model, names, weights
        See `combine_adapters`.

    Returns
    -------
    dict of str to float
        For "concatenate" and "average", ||delta_W - sum_i w_i delta_W_i|| / ||sum_i w_i delta_W_i||, over all layers
        together, in float64.
    """
    layers, errors = lora_layers(model), {}
    for how in HOW:
        difference, size = 0.0, 0.0
        for path, (B, A) in _combine(model, names, weights, how).items():
            found = _float64(B) @ _float64(A)  # (O, r) @ (r, I) -> (O, I)
            wanted = numpy.zeros(found.shape)
            for weight, B_i, A_i, scale in _parts(layers[path], names, weights):
                wanted += weight * scale * (_float64(B_i) @ _float64(A_i))
            difference += numpy.sum((found - wanted) ** 2)
            size += numpy.sum(wanted**2)
        if not size:
            raise ValueError(f"names {list(names)} with weights {list(weights)} sum to zero; an error is relative")
        errors[how] = float(numpy.sqrt(difference / size))
    return errors


def _combine(model: Module, names: Sequence[str], weights: Sequence[float], how: str) -> dict[str, tuple[Array, Array]]:
    """B, including the scale, and A of the combination: a dict of path to (B, A)."""
    known = lora_names(model)
    if how not in HOW:
        raise ValueError(f"how was {how!r}; it must be one of {', '.join(map(repr, HOW))}")
    if isinstance(names, str) or not names or any(name not in known for name in names):
        raise ValueError(f"names was {names!r}; it must be one or more of the model's adapters, {known}")
    if len(weights) != len(names):
        raise ValueError(f"weights were {len(weights)}; there must be one for each of the {len(names)} names")
    combined = {}
    for path, layer in lora_layers(model).items():
        parts = _parts(layer, names, weights)
        if parts:
            combined[path] = _concatenate(parts) if how == "concatenate" else _average(parts, path, len(names))
    return combined


def _parts(
    layer: LoRALinear, names: Sequence[str], weights: Sequence[float]
) -> list[tuple[float, Array, Array, float]]:
    """weight, B, A and scale of each adapter that adapts the layer."""
    parts = []
    for name, weight in zip(names, weights, strict=True):
        if name in layer.adapters:
            product = layer.adapters[name].low_rank()
            if product is None:
                raise ValueError(f"{name!r} has a delta_W that is not a product of a B and an A, such as DoRA's W' - W")
            parts.append((float(weight), *product))
    return parts


def _concatenate(parts: list[tuple[float, Array, Array, float]]) -> tuple[Array, Array]:
    xp = get_xp(parts[0][1])
    B = xp.concatenate([weight * scale * B for weight, B, _, scale in parts], axis=1)  # (O, r_1 + r_2 + ...)
    return B, xp.concatenate([A for _, _, A, _ in parts], axis=0)  # (r_1 + r_2 + ..., I)


def _average(parts: list[tuple[float, Array, Array, float]], path: str, count: int) -> tuple[Array, Array]:
    if len(parts) < count or len({(B.shape, scale) for _, B, _, scale in parts}) > 1:
        raise ValueError(f"the adapters differ at {path}; to be averaged, they must have the same rank and scale")
    B, A = sum(weight * B for weight, B, _, _ in parts), sum(weight * A for weight, _, A, _ in parts)  # (O, r), (r, I)
    return parts[0][3] * B, A


def _float64(array: Array) -> numpy.ndarray:
    return to_numpy(array).astype(numpy.float64)

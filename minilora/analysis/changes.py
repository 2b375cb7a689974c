"""delta_W: what an adaptation has added to each weight matrix, by LoRA or by full fine-tuning.

On the host and in float64, for inspection.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy

from minilora.arrays.backend import Array, to_numpy
from minilora.parameter import Module


@runtime_checkable
class Adapted(Protocol):
    """A layer with something learned next to its W, whatever its class: the attributes that are used here."""

    active: str | None  # the name of the active adapter

    def delta_W(self) -> Any:
        """What the active adapter adds to W, (O, I)."""

    def low_rank(self) -> tuple[Any, Any, float] | None:
        """B (O, r), A (r, I) and scale whose product is delta_W; None if it is no such product."""


class Factors(NamedTuple):
    """delta_W = scale * B @ A, as its factors."""

    B: numpy.ndarray  # (O, r)
    A: numpy.ndarray  # (r, I)
    scale: float


Delta: TypeAlias = "Array | Factors"  # a delta_W: a matrix, or its factors


def adapter_factors(model: Module) -> dict[str, Factors]:
    """The active LoRA adapter of a model.

    Parameters
    ----------
    model : Module

    Returns
    -------
    dict of str to Factors
        By the path of the layer, such as "blocks.0.attn.q_proj"; float64 copies on the host.

    Raises
    ------
    ValueError
        If no layer has an active adapter, or its delta_W has no factors, as that of DoRA or IA3.
    """
    adapted = {}
    for path, layer in _adapted_layers(model).items():
        if layer.low_rank() is None:
            raise ValueError(
                f"the delta_W of {path} is not a product of a B and an A; delta_weights gives it as a matrix"
            )
        adapted[path] = _factors(path, layer)
    return adapted


def _factors(path: str, layer: Any) -> Factors:
    B, A, scale = layer.low_rank()
    return Factors(as_matrix(f"{path}.B", B), as_matrix(f"{path}.A", A), scale)


def _adapted_layers(model: Module) -> dict[str, Adapted]:
    adapted: dict[str, Adapted] = {
        path: layer for path, layer in model.named_modules() if isinstance(layer, Adapted) and layer.active is not None
    }
    if not adapted:
        raise ValueError("the model has no active LoRA adapter: call apply_lora or set_adapter first")
    return adapted


def adapter_changes(model: Module) -> dict[str, Factors | numpy.ndarray]:
    """delta_W of the active LoRA adapter, as its factors where it has some.

    Parameters
    ----------
    model : Module

    Returns
    -------
    dict of str to Factors
        See `adapter_factors`. DoRA's delta_W, which is not such a product, is an array of shape (O, I) in the model's
        own precision.
    """
    return {
        path: as_matrix(path, layer.delta_W()) if layer.low_rank() is None else _factors(path, layer)
        for path, layer in _adapted_layers(model).items()
    }


def delta_weights(model: Module) -> dict[str, numpy.ndarray]:
    """delta_W = scale * B @ A of the active LoRA adapter.

    Parameters
    ----------
    model : Module

    Returns
    -------
    dict of str to ndarray of shape (O, I)
        By the path of the layer. The product is taken in float64, so that its rank is r to sixteen digits. DoRA's
        delta_W, which is not such a product, is in the model's own precision.
    """
    return {path: as_array(delta_W) for path, delta_W in adapter_changes(model).items()}


def as_array(delta_W: Factors | numpy.ndarray) -> numpy.ndarray:
    """scale * B @ A of Factors, (O, r) @ (r, I) -> (O, I); an array as it is."""
    return delta_W.scale * (delta_W.B @ delta_W.A) if isinstance(delta_W, Factors) else delta_W


def weight_changes(before: Mapping[str, Array], after: Mapping[str, Array]) -> dict[str, numpy.ndarray]:
    """delta_W of full fine-tuning: what it has added to each weight matrix.

    Parameters
    ----------
    before, after : dict of str to ndarray
        The parameters of one model at two times, by name. Those that are not 2-D (biases, gains) are skipped.

    Returns
    -------
    dict of str to ndarray of shape (O, I)
        ``after - before``, by the parameter's name.

    Raises
    ------
    ValueError
        If the names or shapes are not the same, or a value is not finite.
    """
    if before.keys() != after.keys():
        raise ValueError(f"before and after differ in the names {sorted(before.keys() ^ after.keys())}")
    changes = {}
    for name in (name for name, array in before.items() if array.ndim == 2):
        if before[name].shape != after[name].shape:
            raise ValueError(f"{name} had shape {before[name].shape} before and {after[name].shape} after")
        changes[name] = as_matrix(f"after[{name!r}]", after[name]) - as_matrix(f"before[{name!r}]", before[name])
    return changes


def as_matrix(name: str, array: Array) -> numpy.ndarray:
    """The array on the host, in float64, if it is a matrix of finite numbers."""
    M = to_numpy(array).astype(numpy.float64)
    if M.ndim != 2 or 0 in M.shape:
        raise ValueError(f"{name} had shape {M.shape}; it must be a matrix")
    if not numpy.isfinite(M).all():
        raise ValueError(f"{name} holds NaN or infinite values")
    return M

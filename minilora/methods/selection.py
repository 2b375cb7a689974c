"""Shared by all methods: making a selection of parameters trainable, and only these."""

from collections.abc import Iterable, Mapping
from typing import Any

from minilora.arrays.backend import Array
from minilora.layers import QuantizedParameter
from minilora.methods.state import adapters_of
from minilora.models.classification import EncoderForClassification
from minilora.parameter import Constant, Module, Parameter


def train_only(model: Module, parameters: Iterable[Parameter], method: Any) -> None:
    """Make `parameters` trainable, freeze everything else, and remember the method.

    Parameters
    ----------
    model : Module
    parameters : iterable of Parameter
        Of these, all but the constants.
    method : dataclass or None
        The method's configuration, which `method_of` returns and `save_adapter` writes.
    """
    chosen = [p for p in parameters if not isinstance(p, Constant)]
    check_trainable(chosen)
    model.freeze()
    for p in chosen:
        p.trainable = True
    adapters_of(model).method = method
    model.name_parameters()


def check_trainable(parameters: Iterable[Parameter]) -> None:
    """Raise a ValueError if one of the parameters is quantised."""
    if fixed := [p.name for p in parameters if isinstance(p, QuantizedParameter)]:
        raise ValueError(f"{fixed[0]} is quantised; it must stay frozen, and the method trains it")


def new_modules(model: Module) -> tuple[str, ...]:
    """The names of a model's members that were not pretrained: a classifier's head."""
    return ("head",) if isinstance(model, EncoderForClassification) else ()


def new_parameters(model: Module) -> dict[str, Parameter]:
    """The parameters of the model's new modules, by their paths in the base; empty for most models.

    Every method trains its own copy, and saves it in its file.
    """
    parts = tuple(f"{part}." for part in new_modules(model))
    return {plain(path): p for path, p in model.named_parameters() if path.startswith(parts)}


def plain(path: str) -> str:
    """The path in the base for a path in the adapted model."""
    return path.replace(".base.", ".")


def block_paths(model: Module) -> list[str]:
    """The paths of the model's blocks, in order: of all modules that have an `attn` and an `mlp`."""
    return [path for path, module in model.named_modules() if {"attn", "mlp"} <= dict(module.members()).keys()]


def new_array(model: Module, values: Array) -> Array:
    """A new array of these host values, in the dtype and on the device of the model."""
    array = model.xp.empty(values.shape, dtype=model.parameters()[0].dtype)
    array[...] = model.xp.asarray(values)
    return array


def once(named: Mapping[str, Any]) -> dict[str, Any]:
    """What is named, without what came before under another name: a tied parameter, or its array."""
    found: dict[int, tuple[str, Any]] = {}
    for name, value in named.items():
        found.setdefault(id(value), (name, value))
    return dict(found.values())


def copies(parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """Copies of parameters, to be trained in their place: a dict of path to Parameter."""
    return {path: Parameter(p.data.copy()) for path, p in parameters.items()}


def check_integer(name: str, value: Any, least: int = 1) -> None:
    """Raise a ValueError, naming the argument, unless it is an integer of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} was {value!r}; it must be an integer of at least {least}")

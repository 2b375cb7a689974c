"""Switching adapters by name: everything that belongs to an adapter is switched on and off with it.

LoRA's A and B are kept next to the frozen W, in its layer. Everything else that an adapter has learned (a classifier's
head, biases, norms, whole blocks; Houlsby's layers and a prefix, which the base does not have) is in its own *parts*,
which replace the base's only while the adapter is active:

    set_adapter(model, "one")    the parts of "one" replace the base's, which are set aside
    set_adapter(model, "two")    what was set aside returns, the very same objects; then the parts of "two" replace it
    set_adapter(model, None)     what was set aside returns: the base, to the bit

So every method but one can be switched. Full fine-tuning cannot: it trains the base itself, and would need to keep a
second copy of it.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter
from typing import Any

from minilora.methods.lora.layer import LoRALinear
from minilora.methods.selection import once, plain, train_only
from minilora.methods.state import NamedAdapter, adapters_of
from minilora.parameter import Module, Parameter


def adapter_names(model: Module) -> list[str]:
    """The names of all adapters, in the order in which they were added."""
    return list(adapters_of(model).named)


def lora_layers(model: Module) -> dict[str, LoRALinear]:
    """The layers that hold LoRA's A and B: a dict of path to LoRALinear."""
    return {path: layer for path, layer in model.named_modules() if isinstance(layer, LoRALinear)}


def lora_names(model: Module) -> list[str]:
    """The names of the LoRA adapters, in the order in which they were added."""
    in_layers = {name for layer in lora_layers(model).values() for name in layer.adapters}
    return [name for name in adapter_names(model) if name in in_layers]


def base_parameters(model: Module) -> dict[str, Parameter]:
    """The base's own parameters, by their paths and in the order of the base, whichever adapter is active."""
    factors = {id(p) for layer in lora_layers(model).values() for f in layer.adapters.values() for p in f.parameters()}
    with base_in_place(model):
        return {plain(path): p for path, p in model.named_parameters() if id(p) not in factors}


def add_adapter(model: Module, name: str, adapter: NamedAdapter) -> None:
    """Give a model an adapter and make it the active one."""
    check_new_name(model, name)
    adapters_of(model).named[name] = adapter
    set_adapter(model, name)


def check_new_name(model: Module, name: str) -> None:
    """Raise ValueError unless an adapter of this name can be added: the name is new, and no adapter is merged."""
    refuse_merged(model)
    if not isinstance(name, str) or not name:
        raise ValueError(f"name was {name!r}; it must be text of at least one character")
    if name in adapter_names(model):
        raise ValueError(f"name was {name!r}; the model already has an adapter of this name")


def set_adapter(model: Module, name: str | None) -> None:
    """Make the adapter `name` the active one, and freeze everything else; or, with None, switch adapters off.

    Without an adapter the model is its base, to the bit.

    Raises
    ------
    ValueError
        If there is no adapter of this name (the message lists them), or one is merged.
    """
    refuse_merged(model)
    adapters, layers = adapters_of(model), lora_layers(model).values()
    if name is not None and name not in adapters.named:
        raise ValueError(f"name was {name!r}; the model's adapters are {adapter_names(model)}")
    if name is None and adapters.active is None:
        return
    _put(model, adapters.aside)
    for layer in layers:
        layer.active = name if name in layer.adapters else None
    adapters.aside = {} if name is None else _put(model, adapters.named[name].parts)
    adapters.active = name
    for adapter in adapters.named.values():
        _freeze(adapter.own_parameters().values())
    for factors in (factors for layer in layers for factors in layer.adapters.values()):
        _freeze(factors.parameters())
    train_only(model, active_parameters(model).values(), adapters.named[name].config if name is not None else None)


def _freeze(parameters: Iterable[Parameter]) -> None:
    for p in parameters:
        p.trainable, p.grad = False, None


def active_parameters(model: Module) -> dict[str, Parameter]:
    """What the active adapter trains, by path in the adapted model: LoRA's factors, then its own parts."""
    adapters = adapters_of(model)
    if adapters.active is None:
        return {}
    active = [(path, layer.factors) for path, layer in lora_layers(model).items() if layer.active is not None]
    factors = {f"{path}.{name}": p for path, factors in active for name, p in factors.named_parameters()}
    return once(factors | adapters.named[adapters.active].own_parameters())


@contextlib.contextmanager
def base_in_place(model: Module) -> Iterator[None]:
    """A context in which the base's own parts are in place, whichever adapter is active."""
    parts = _put(model, adapters_of(model).aside)
    try:
        yield
    finally:
        _put(model, parts)


def _put(model: Module, parts: Mapping[str, Any]) -> dict[str, Any]:
    """Put parts into a model, at every path where a parameter is tied; return what they replaced."""
    if not parts:
        return {}
    places: dict[int, list[str]] = {}  # of each module and parameter: its paths, several of one that is tied
    for path, member in _everything(model):
        places.setdefault(id(member), []).append(path)
    here = {plain(path): member for path, member in _everything(model)}
    stood = {place: here[place] if place in here else getattr(*_attribute(model, place), None) for place in parts}
    for place, part in parts.items():
        for path in places.get(id(stood[place]), [place]):
            if part is None:  # a plain model has nothing here
                owner, attribute = _attribute(model, path)
                vars(owner).pop(attribute, None)  # may be gone already: base_in_place within another one
            else:
                model.replace(path, part)
    model.name_parameters()
    return stood


def _attribute(model: Module, place: str) -> tuple[Any, str]:
    """The module that a path which the base lacks is an attribute of, and the attribute's name."""
    *owner, attribute = place.rsplit(".", 1)
    return (attrgetter(*owner)(model) if owner else model), attribute


def _everything(module: Module, prefix: str = "") -> Iterator[tuple[str, Module | Parameter]]:
    """Yield (path, Module or Parameter) for everything below a module; a tied one comes once for each path."""
    for name, member in module.members():
        yield prefix + name, member
        if isinstance(member, Module):
            yield from _everything(member, f"{prefix}{name}.")


def remove_adapter(model: Module, name: str) -> None:
    """Remove an adapter and everything that belongs to it from a model. If it was active, the base remains.

    Raises
    ------
    ValueError
        If there is no adapter of this name (the message lists them), or one is merged.
    """
    refuse_merged(model)
    adapters = adapters_of(model)
    if name not in adapters.named:
        raise ValueError(f"name was {name!r}; the model's adapters are {adapter_names(model)}")
    if adapters.active == name:
        set_adapter(model, None)
    _drop(model, name)


def _drop(model: Module, name: str) -> None:
    """Remove an adapter that is not active; a layer without any other becomes its own Linear again."""
    del adapters_of(model).named[name]
    for path, layer in lora_layers(model).items():
        layer.adapters.pop(name, None)
        if not layer.adapters:
            model.replace(path, layer.base)
    model.name_parameters()


def remove_lora(model: Module) -> None:
    """Remove all LoRA adapters. A merged one becomes permanent: W + delta_W, and the adapter's own parts."""
    adapters, layers = adapters_of(model), lora_layers(model).values()
    names = lora_names(model)
    if any(layer.merged for layer in layers):
        adapters.active, adapters.aside, adapters.method = None, {}, None
        for layer in layers:
            layer.active = None
    elif adapters.active in names:
        set_adapter(model, None)
    for name in names:
        _drop(model, name)


def refuse_merged(model: Module) -> None:
    """Raise a ValueError if an adapter is merged."""
    if any(layer.merged for layer in lora_layers(model).values()):
        raise ValueError("an adapter is merged into the model; call unmerge_lora(model) first")


def check_all_own(model: Module) -> None:
    """Raise ValueError if the model trains something outside the active adapter, which its file would not hold."""
    own = {id(p) for p in active_parameters(model).values()}
    others = [p.name for p in model.trainable_parameters() if id(p) not in own]
    if others:
        more = f", and {len(others) - 1} more" if len(others) > 1 else ""
        raise ValueError(
            f"{others[0]} is trained{more}, which is the base's own and not part of the adapter; what an adapter "
            "trains besides A and B must be named when it is made, LoRAConfig(besides=...)"
        )

"""How a model is adapted: its adapters and its method, kept as a companion of the model (`Module.companion`)."""

from dataclasses import dataclass, field
from typing import Any

from minilora.parameter import Module, Parameter


@dataclass(eq=False)
class NamedAdapter:
    """One adapter of a model, except for A and B, which the model's LoRALinears hold under its name.

    Parameters
    ----------
    config : dataclass
        The method's configuration.
    parts : dict of str to Parameter or Module
        What is put into the model while the adapter is active, by path in the base. Inside a Module, everything below
        "base" is the base's. A path that the base lacks is an attribute of the model, or of its encoder.
    """

    config: Any
    parts: dict[str, Any] = field(default_factory=dict)

    def own_parameters(self) -> dict[str, Parameter]:
        """The parameters in the parts that are trained, by path in the adapted model."""
        own = {}
        for place, part in self.parts.items():
            if isinstance(part, Parameter):
                own[place] = part
            elif isinstance(part, Module):
                own |= {f"{place}.{path}": p for path, p in part.named_parameters() if not path.startswith("base.")}
        return own


@dataclass(eq=False)
class Adapters:
    """The adapters of one model.

    Attributes
    ----------
    named : dict of str to NamedAdapter
        In the order in which they were added.
    active : str or None
    aside : dict of str to Parameter or Module
        The base's own parts that the active adapter's parts replace for now.
    method : dataclass or None
        The configuration of the method that adapts the model; None if there is none.
    """

    named: dict[str, NamedAdapter] = field(default_factory=dict)
    active: str | None = None
    aside: dict[str, Any] = field(default_factory=dict)
    method: Any = None


def adapters_of(model: Module) -> Adapters:
    """The Adapters of a model, empty if none was ever added."""
    return model.companion(Adapters)


def method_of(model: Module) -> Any:
    """The configuration of the method that adapts the model; None if there is none."""
    return adapters_of(model).method

"""How a model is being adapted: its adapters and its method, which go with it as a companion (`Module.companion`)."""

from dataclasses import dataclass, field
from typing import Any

from minilora.parameter import Module, Parameter


@dataclass(eq=False)
class NamedAdapter:
    """One adapter of a model, but for A and B, which the model's LoRALinears hold under its name.

    Parameters
    ----------
    config : dataclass
        The method's configuration.
    parts : dict of str to Parameter or Module
        What stands in the model while the adapter is active, by the path of its place in the base. In a Module, what
        is below "base" is the base's. A place that the base does not have is an attribute of the model itself.
    """

    config: Any
    parts: dict[str, Any] = field(default_factory=dict)

    def own_parameters(self) -> dict[str, Parameter]:
        """What of the parts is trained, by its path in the adapted model."""
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
        In the order in which they came.
    active : str or None
    aside : dict of str to Parameter or Module
        What of the base has been put aside for the active adapter's parts.
    method : dataclass or None
        The configuration of the method by which the model is being adapted; None if there is none.
    """

    named: dict[str, NamedAdapter] = field(default_factory=dict)
    active: str | None = None
    aside: dict[str, Any] = field(default_factory=dict)
    method: Any = None


def adapters_of(model: Module) -> Adapters:
    """The adapters of a model; none, if none was ever added."""
    return model.companion(Adapters)


def method_of(model: Module) -> Any:
    """The configuration of the method by which the model is being adapted; None if there is none."""
    return adapters_of(model).method

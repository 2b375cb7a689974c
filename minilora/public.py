"""The public names: each is imported when it is first asked for, so that ``import minilora`` takes no time."""

import importlib
import importlib.util
from typing import Any

from minilora.moved import names_before

# The first of these packages that lists a public name in its __all__ has it.
HOMES = ("models", "methods", "training", "interop", "data", "accounting")
_before = names_before("minilora", stacklevel=3)


def find(name: str) -> Any:
    """``__getattr__`` of minilora: a public name, a module, or a name of the version before."""
    import minilora

    if name in minilora.__all__:
        modules = (importlib.import_module(f"minilora.{home}") for home in HOMES)
        found = next(getattr(module, name) for module in modules if name in module.__all__)
        setattr(minilora, name, found)  # asked for once
        return found
    if not name.startswith("_") and importlib.util.find_spec(f"minilora.{name}"):
        return importlib.import_module(f"minilora.{name}")
    return _before(name)


def names() -> list[str]:
    """``__dir__`` of minilora."""
    import minilora

    return sorted({*vars(minilora), *minilora.__all__})

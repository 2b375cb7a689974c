"""The fields of adapter_config.json of PEFT's methods other than LoRA: read by name, and refused by name."""

from pathlib import Path
from typing import Any, NoReturn

from minilora.files import read_json
from minilora.interop.peft_config import NO_MATTER, OFF, PeftConfig, as_list
from minilora.limits import shown


def read_fields(path: Path, used: dict[str, Any], no_matter: tuple[str, ...] = ()) -> dict[str, Any]:
    """The values of the fields in `used`, which has their defaults.

    Raises
    ------
    ValueError
        If there is another field that is not off, and may change what is computed.
    """
    content = read_json(path)
    known = (*used, *NO_MATTER, *no_matter, "peft_type")
    for name, value in content.items():
        if name not in known and value not in OFF:
            raise ValueError(f"{path}: {name} was {shown(value)}; minilora does not compute this")
    return {name: content.get(name, default) for name, default in used.items()}


def names_config(path: Path, kind: str, fields: dict[str, Any]) -> PeftConfig:
    """A PeftConfig of the fields that name modules, for its rules about names; ValueError if one is no list of names
    and no regular expression."""
    config = PeftConfig(path, kind, **fields)
    for name, value in ((name, value) for name, value in fields.items() if name != "task_type"):
        pattern = isinstance(value, str) and name != "modules_to_save"
        if value is not None and not pattern and not all(isinstance(item, str) for item in as_list(value)):
            refuse(path, name, value, "it must be a list of names, or a regular expression")
        if pattern:
            config.matcher.check(value)
    return config


def refuse(path: Path, name: str, value: Any, says: str) -> NoReturn:
    """Raise a ValueError about a field."""
    raise ValueError(f"{path}: {name} was {shown(value)}; {says}")

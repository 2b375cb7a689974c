"""Limits on what a file can ask for: its content is bounded before it is used, and quoted briefly when refused.

Refusing a file never takes more than 2 seconds of processor time, or 200 MB beyond its own size. Python's memory
depends on values rather than bytes: the three bytes ``[],`` of JSON become a list of 64 bytes. So both are counted
before anything is parsed. And no message carries a file's control characters to a terminal, or repeats more than a line
of it.
"""

import contextlib
import json
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MOST_JSON_BYTES = 4 * 2**20  # of a file; the index of a model in a hundred files has some 3 MB
MOST_HEADER_BYTES = 16 * 2**20  # of a safetensors file, which in a checkpoint holds the run's history
MOST_VALUES = 500_000  # in one JSON text; each takes up to 200 bytes
MOST_NESTED = 40  # levels of lists and objects inside each other
MOST_TENSORS = 20_000
LONGEST_NAME = 200  # characters, of a tensor
LONGEST_QUOTE = 100  # characters of a file in a message
LONGEST_LINE = 450  # characters of a message

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxlong = 3, LONGEST_QUOTE, LONGEST_QUOTE, LONGEST_QUOTE


def shown(value: object) -> str:
    """A value from a file, as quoted in a message: its repr, printable, and shortened if it is long."""
    return _cut(_SHORT.repr(value), LONGEST_QUOTE + 2)


def one_line(text: str, most: int = LONGEST_LINE) -> str:
    """A message as one printable line, with "..." for its middle if it is longer than `most` characters."""
    text = _cut(text, 2 * most)
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return _cut(text, most)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most * 2 // 3]} ... {text[len(text) - most // 3 + 5 :]}"


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Make the message of any ValueError one printable line; a decorator for functions that read files."""
    try:
        yield
    except ValueError as error:
        error.args = (one_line(str(error)),)
        raise


def parse_json(content: bytes | str, where: object) -> Any:
    """The content of a JSON text, after checking that it is small.

    Parameters
    ----------
    content : bytes or str
    where : str or Path
        The file, which begins an error's message.

    Raises
    ------
    ValueError
        If it is not JSON, has too many values, or is nested too deeply.
    """
    check_number_of_values(content, where)
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        if isinstance(error, json.JSONDecodeError) and len(content.splitlines()) == 1:  # a caller says which line
            reason = f"{error.msg}: character {error.pos + 1}"
        raise ValueError(f"{where} is not JSON, or it is damaged: {reason}") from None
    level = [value]
    for _ in range(MOST_NESTED):
        level = [
            child for v in level if isinstance(v, (dict, list)) for child in (v.values() if type(v) is dict else v)
        ]
        if not level:
            return value
    raise ValueError(f"{where} has JSON that is nested too deeply; it must have at most {MOST_NESTED} levels")


def check_number_of_values(content: bytes | str, where: object) -> None:
    """Raise ValueError if a JSON text could hold more than MOST_VALUES: each follows a comma or a bracket."""
    signs = (b",", b"[", b"{") if isinstance(content, bytes) else (",", "[", "{")
    if (n := sum(map(content.count, signs))) > MOST_VALUES:  # type: ignore[arg-type]
        raise ValueError(f"{where} has up to {n:,} values of JSON; it must have at most {MOST_VALUES:,}")


def check_header(path: Path) -> None:
    """Raise ValueError unless a safetensors file's header has an acceptable size."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MOST_HEADER_BYTES:
            raise ValueError(
                f"{path} is not a safetensors file, or it is damaged: its header has {length:,} bytes; "
                f"it must have at most {MOST_HEADER_BYTES:,}"
            )
        header = file.read(length)
    check_number_of_values(header, f"{path}: its header")


def check_names(names: list[str], path: object) -> None:
    """Raise ValueError unless a file's tensors are few enough, and their names short enough."""
    if len(names) > MOST_TENSORS:
        raise ValueError(f"{path} has {len(names):,} tensors; it must have at most {MOST_TENSORS:,}")
    longest = max(names, key=len, default="")
    if len(longest) > LONGEST_NAME:
        name = f"{shown(longest)} of {len(longest):,} characters"
        raise ValueError(f"{path} has a tensor with the name {name}; it must have at most {LONGEST_NAME}")


def check_fields(content: Any, fields: dict[str, Any], where: object) -> dict[str, Any]:
    """Check that a JSON object has these fields with their types; ValueError names the field that is wrong.

    Parameters
    ----------
    content : object
        The parsed JSON.
    fields : dict
        The type of each required field: float (any number), int, str, bool, dict, list; ``[float]`` for a list of
        floats; ``(int, float)`` for a list of exactly an int and a float.
    where : str or Path
        The file, which begins an error's message.

    Returns
    -------
    content : dict
        The content, unchanged; other fields can hold anything.
    """
    if not isinstance(content, dict):
        raise ValueError(f"{where} holds {shown(content)}; it must hold a JSON object")
    for name, kind in fields.items():
        if name not in content:
            raise ValueError(f"{where} lacks the field {name}; it must be {_kind_name(kind)}")
        if not _is(content[name], kind):
            raise ValueError(f"{where}: {name} was {shown(content[name])}; it must be {_kind_name(kind)}")
    return content


def _is(value: Any, kind: Any) -> bool:
    if isinstance(kind, list):
        return isinstance(value, list) and all(_is(v, kind[0]) for v in value)
    if isinstance(kind, tuple):
        return isinstance(value, list) and len(value) == len(kind) and all(map(_is, value, kind))
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _kind_name(kind: Any) -> str:
    names = {
        float: "a number",
        int: "an integer",
        str: "a text",
        bool: "true or false",
        dict: "an object",
        list: "a list",
    }
    if isinstance(kind, list):
        return f"a list, and each in it {_kind_name(kind[0])}"
    if isinstance(kind, tuple):
        return f"a list of {', '.join(map(_kind_name, kind))}"
    return names[kind]

"""How all verbs print: lines that fit a terminal of 80 columns, JSON, and errors without control characters."""

import json
import math
import re
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from minilora.experiments.text_table import aligned
from minilora.limits import one_line, shown

WIDTH = 80  # columns
LONGEST_ERROR = 1000  # characters of an error that are printed


def fitted(lines: Iterable[str], indent: str = "    ") -> list[str]:
    """Lines of text, wrapped between words if they are too long; a single word that is too long stays in one piece."""
    made = []
    for line in lines:
        short = [line] if len(line) <= WIDTH else wrapped(line, "", indent)
        made += short
    return made


def wrapped(text: str, first: str, following: str) -> list[str]:
    """A text in lines; `first` begins the first line, and `following` each other one."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=following,
        break_long_words=False,
        break_on_hyphens=False,
    )


def table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """A table in aligned lines; if it is too wide, the first cell of each row gets a line of its own."""
    lines = aligned(rows)
    if max(map(len, lines)) <= WIDTH:
        return lines
    head, rule, *others = aligned([("", *cells) for _, *cells in rows])
    below = [line for (name, *_), cells in zip(rows[1:], others, strict=True) for line in (name, cells)]
    return [rows[0][0], head, rule, *below]


def print_lines(lines: Iterable[str]) -> None:
    """Print lines, wrapped between words if they are too long."""
    print("\n".join(fitted(lines)))


def print_json(content: Any) -> None:
    """Print results as JSON, which has no NaN and no infinity: they become null."""
    print(json.dumps(for_json(content), indent=1, allow_nan=False))


def for_json(content: Any) -> Any:
    """Results as what JSON knows: arrays as lists, NumPy's numbers as Python's, and None for NaN and infinity."""
    if isinstance(content, dict):
        return {str(key): for_json(value) for key, value in content.items()}
    if hasattr(content, "_asdict"):
        return for_json(content._asdict())
    if isinstance(content, (list, tuple)):
        return [for_json(value) for value in content]
    if hasattr(content, "tolist"):
        return for_json(content.tolist())
    return None if isinstance(content, float) and not math.isfinite(content) else content


def typed(text: str) -> str:
    """What the user typed, as an error quotes it: unquoted, if it is a short word."""
    return text if re.fullmatch(r"[\w.+-]{1,60}", text, re.ASCII) else shown(text)


def error_line(error: str) -> str:
    """An error's text in one printable line, shortened if it is long."""
    return one_line(" ".join(error.splitlines()), LONGEST_ERROR)


def warn(verb: str, message: str) -> None:
    """Tell the user on standard error something that is not an error."""
    print(f"minilora {verb}: {error_line(message)}", file=sys.stderr)

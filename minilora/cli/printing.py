"""How all verbs print: lines that fit a terminal of 80 columns, JSON, and errors without control characters."""

import argparse
import contextlib
import json
import math
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from tqdm import tqdm

from minilora.cli.colours import painted
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


def narrowed(lines: Sequence[str]) -> list[str]:
    """Lines that fit: a table that is too wide comes in parts, each with the first column; other lines are wrapped."""
    made, i = [], 0
    while i < len(lines):
        if i + 1 < len(lines) and re.fullmatch("-{9,}", lines[i + 1]):
            end = next((j for j in range(i + 2, len(lines)) if not lines[j].strip()), len(lines))
            made += _parts([lines[i], *lines[i + 2 : end]])
            i = end
        else:
            made += fitted([lines[i]]) if lines[i] else [""]
            i += 1
    return made


def _parts(rows: list[str]) -> list[str]:
    """The head and the rows of a table, in as many parts as it takes."""
    width = max(map(len, rows))
    rows = [row.ljust(width) for row in rows]
    is_blank = "".join(" " if all(row[at] == " " for row in rows) else "x" for at in range(width))
    spans = [match.span() for match in re.finditer(r"x(?:x| (?=x))*", is_blank)]  # two blanks are between columns
    first, *others = spans
    parts: list[list[tuple[int, int]]] = [[first]]
    for span in others:
        if sum(end - start + 2 for start, end in (*parts[-1], span)) - 2 > WIDTH and len(parts[-1]) > 1:
            parts.append([first])
        parts[-1].append(span)
    made = []
    for part in parts:
        head, *cells = ("  ".join(row[slice(*span)] for span in part).rstrip() for row in rows)
        made += [head, "-" * max(map(len, (head, *cells))), *cells, ""]
    return made[:-1]


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
    print(f"{painted(f'minilora {verb}', 'yellow', sys.stderr)}: {error_line(message)}", file=sys.stderr)


@contextlib.contextmanager
def unless_quiet(options: argparse.Namespace) -> Iterator[None]:
    """A context in which --quiet leaves standard error empty: no progress and no remarks; errors come after it."""
    if not getattr(options, "quiet", False):
        yield
        return
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stderr(nowhere):
        yield


def remark_of(options: argparse.Namespace) -> Callable[..., None]:
    """How to say on standard output what is no result: `print`, or with --json or --quiet nothing at all."""
    return (lambda *_, **__: None) if options.json or options.quiet else print


def progress(items: Iterable, title: str, unit: str, **settings: Any) -> Iterable:
    """The items, with a bar on standard error if they take more than two seconds."""
    return tqdm(items, title, unit=unit, delay=2, leave=False, disable=sys.stderr is None, **settings)


def file_size(path: str) -> dict[str, str | int]:
    """A file that was written, or a folder with all that is in it, and its bytes, for JSON."""
    files = [path] if os.path.isfile(path) else [entry.path for entry in os.scandir(path) if entry.is_file()]
    return {"file": path, "bytes": sum(map(os.path.getsize, files))}

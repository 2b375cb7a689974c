"""`minilora info`: what a file or folder of a model or an adapter is."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minilora.cli.options import add_json
from minilora.cli.parser import Parser, did_you_mean
from minilora.cli.printing import print_json, table, wrapped
from minilora.experiments.grid import places
from minilora.interop.description import describe, in_words
from minilora.limits import one_line

EXAMPLE = "minilora info runs/my-adapter"
LONGEST = 300  # characters of a value
LABEL = 18  # columns of a label
MOST_COLUMNS = 7  # of norms in a table


def add_options(p: Parser) -> None:
    """What is described."""
    p.add_argument(
        "path",
        help="decoder, encoder or smollm2; a file that minilora wrote, a run folder, PEFT's folder, a Hugging Face "
        "folder, or a .gguf file",
    )
    add_json(p)


def run(options: argparse.Namespace) -> int:
    """Describe it."""
    from minilora.interop.opening import BUNDLED, SMOLLM2
    from minilora.interop.smollm2 import smollm2_file
    from minilora.models.bundled import ASSETS

    path = ASSETS / f"{options.path}.safetensors" if options.path in BUNDLED else Path(options.path)
    if options.path == SMOLLM2:
        path = smollm2_file()
    if not path.exists():
        similar = did_you_mean(options.path, (*BUNDLED, SMOLLM2))
        raise ValueError(f"the path was {options.path}; there is no such file or folder{similar}")
    told = describe(path)
    print_json(told) if options.json else print("\n".join(described(options.path, told)))
    return 0


def described(name: str, told: Mapping[str, Any]) -> list[str]:
    """A description as lines: a label and a value each, and a table of norms."""
    lines = [name]
    for label, value in in_words(told).items():
        lines += wrapped(one_line(value, LONGEST), f"  {label:<{LABEL}}", " " * (LABEL + 2))
    if told.get("norms"):
        lines += ["", "||delta W||, by layer:", *norms_by_block(told["norms"])]
    return lines


def norms_by_block(norms: Mapping[str, float]) -> list[str]:
    """A table with a row for each block and a column for each layer in it; other layers get a line each."""
    rows: dict[int, dict[str, str]] = {}
    others = []
    for path, place in places(norms).items():
        if place is None:
            others.append(f"{one_line(path, 60)}  {norms[path]:.3g}")
        else:
            rows.setdefault(place.block, {})[place.kind] = f"{norms[path]:.3g}"
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    lines = []
    for start in range(0, len(columns), MOST_COLUMNS):
        shown = columns[start : start + MOST_COLUMNS]
        cells = [(str(block), *(row.get(column, "-") for column in shown)) for block, row in sorted(rows.items())]
        lines += table([("block", *(one_line(column, 20) for column in shown)), *cells])
    return [*lines, *others]

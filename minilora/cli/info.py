"""`minilora info`: what a file or folder of a model or an adapter is."""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minilora.cli.options import add_json
from minilora.cli.parser import Parser, did_you_mean
from minilora.cli.printing import print_json, table, wrapped
from minilora.limits import one_line

EXAMPLE = "minilora info runs/my-adapter"
IN_BLOCK = re.compile(r"(?:.*\.)?(\d+)\.(?:.*\.)?([^.]+)")  # blocks.3.attn.q_proj: 3, q_proj
LONGEST = 300  # characters of a value
LABEL = 18  # columns of a label
MOST_COLUMNS = 7  # of norms in a table
SECTIONS = ("settings", "shape", "trained_on")  # what has values of its own
TEXTS = ("opened_from", "base", "tokenizer", "command")


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
    from minilora.interop.description import describe
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
    what = told["kind"] if told["holds"] == "model" else told["method"]
    kinds = " and ".join(f"{dtype}" for dtype in told["dtypes"])
    values = {
        told["holds"]: f"{what}, in {told['format']}'s format",
        "numbers": f"{told.get('parameters', told.get('trained')):,}, {kinds}; {told['bytes'] / 1e6:,.2f} MB",
    }
    values |= {
        section.replace("_", " "): ", ".join(f"{key} {text_of(value)}" for key, value in told[section].items() if value)
        for section in SECTIONS
        if told.get(section)
    }
    values |= {key.replace("_", " "): told[key] for key in TEXTS if key in told}
    lines = [name]
    for label, value in values.items():
        lines += wrapped(one_line(value, LONGEST), f"  {label:<{LABEL}}", " " * (LABEL + 2))
    if told.get("norms"):
        lines += ["", "||delta W||, by layer:", *norms_by_block(told["norms"])]
    return lines


def text_of(value: Any) -> str:
    """A value of a setting in words."""
    if isinstance(value, (list, tuple)):
        return "/".join(map(str, value))
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def norms_by_block(norms: Mapping[str, float]) -> list[str]:
    """A table with a row for each block and a column for each layer in it; other layers get a line each."""
    rows: dict[int, dict[str, str]] = {}
    others = []
    for path, norm in norms.items():
        found = IN_BLOCK.fullmatch(path)
        if found and found[2] not in rows.get(int(found[1]), {}):
            rows.setdefault(int(found[1]), {})[found[2]] = f"{norm:.3g}"
        else:
            others.append(f"{one_line(path, 60)}  {norm:.3g}")
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    lines = []
    for start in range(0, len(columns), MOST_COLUMNS):
        shown = columns[start : start + MOST_COLUMNS]
        cells = [(str(block), *(row.get(column, "-") for column in shown)) for block, row in sorted(rows.items())]
        lines += table([("block", *(one_line(column, 20) for column in shown)), *cells])
    return [*lines, *others]

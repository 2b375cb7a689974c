"""Pairs of a function's signature and the first line of its docstring, from the standard library.

A small task on real text, in either direction: say what a function does, or name it and its arguments.
"""

import ast
import functools
from dataclasses import dataclass
from typing import Any

from minilora.data.example import Example
from minilora.data.stdlib_source import definitions, source_files

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
MAX_BYTES = 240  # for the two together: with a line break and EOT they fit a context of 256


@dataclass(frozen=True)
class Pair:
    """A signature such as "def dump(obj, fp, *, indent=None)", its summary, and its file, the group key."""

    signature: str
    summary: str
    key: str

    def as_example(self, *, reverse: bool = False) -> Example:
        """The example "signature to summary", or with reverse "summary to signature"."""
        if reverse:
            return Example(self.summary, self.signature, self.key)
        return Example(self.signature, self.summary, self.key)


@functools.cache
def load_pairs() -> tuple[Pair, ...]:
    """The pairs of all documented functions and methods, each once, in the order of files and lines."""
    pairs: dict[Any, Pair] = {}  # a dict keeps the first of equal pairs, and the order
    for file in source_files():
        for node in definitions(file.tree):
            if not isinstance(node, FUNCTIONS):
                continue
            signature, summary = signature_of(node), summary_of(node)
            if is_words(summary) and is_short_ascii(signature + summary):
                pairs.setdefault((signature, summary), Pair(signature, summary, file.key))
    return tuple(pairs.values())


def signature_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """The name and arguments of a function, on one line."""
    prefix = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    return f"{prefix} {node.name}({ast.unparse(node.args)})"


def summary_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """The first line of a function's docstring, or nothing."""
    docstring = ast.get_docstring(node) or ""
    return docstring.partition("\n")[0].strip()


def is_words(summary: str) -> bool:
    """Whether a summary has at least two words and is not the start of an interactive session."""
    return len(summary.split()) > 1 and not summary.startswith(">>>")


def is_short_ascii(text: str) -> bool:
    """Whether a text is printable ASCII and at most MAX_BYTES long."""
    return text.isascii() and text.isprintable() and len(text) <= MAX_BYTES

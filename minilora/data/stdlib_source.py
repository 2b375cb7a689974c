"""The source files of the standard library of the Python that is running."""

import ast
import sysconfig
import tokenize
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

# Not in every installation, or not written by hand (`encodings` and `pydoc_data` are generated tables).
EXCLUDED_FOLDERS = frozenset(
    (
        "test",
        "tests",
        "idlelib",
        "tkinter",
        "turtledemo",
        "lib2to3",
        "distutils",
        "ensurepip",
        "site-packages",
        "dist-packages",
        "__pycache__",
        "encodings",
        "pydoc_data",
    )
)
# How this one Python was built and set up: it differs from machine to machine.
EXCLUDED_PREFIXES = ("config-", "_sysconfigdata", "sitecustomize", "usercustomize")

HAS_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
HAS_STATEMENTS = (ast.stmt, ast.ExceptHandler, ast.match_case)


class SourceFile(NamedTuple):
    """A Python file: its path below the standard library's folder, its text, and its syntax tree."""

    key: str
    text: str
    tree: ast.Module


def source_files() -> Iterator[SourceFile]:
    """The standard library's files, in the order of their paths; those that do not parse are left out."""
    root = Path(sysconfig.get_path("stdlib"))
    paths = sorted(path for path in root.rglob("*.py") if is_included(path.relative_to(root).parts))
    if not paths:
        raise FileNotFoundError(f"this Python has no source files of its standard library in {root}")
    for path in tqdm(paths, desc="reading the standard library", unit="file", delay=2, leave=False):
        try:
            with tokenize.open(path) as file:  # decodes as the file's first lines say
                text = file.read()
            tree = parse(text)
        except (SyntaxError, UnicodeDecodeError):
            continue
        yield SourceFile(path.relative_to(root).as_posix(), text, tree)


def definitions(node: Any) -> Iterator[Any]:
    """What can have a docstring: a module, then its classes and functions in the order of their lines."""
    if isinstance(node, HAS_DOCSTRING):
        yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, HAS_STATEMENTS):
            yield from definitions(child)


def is_included(parts: tuple[str, ...]) -> bool:
    """Whether the file with this path, relative to the standard library, belongs to the corpora."""
    return not any(part in EXCLUDED_FOLDERS or part.startswith(EXCLUDED_PREFIXES) for part in parts)


def parse(text: str) -> ast.Module:
    """`ast.parse` without the warnings (an invalid escape in someone else's string is not our concern)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)

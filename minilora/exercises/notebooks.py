"""Exercises as notebooks, written with jupytext from the sources of the .py files; and finding the answer in one.

A student's notebook can hold anything: only what is needed is looked for, and everything else is ignored.
"""

import ast
import json
import re
import sys
from pathlib import Path
from typing import NamedTuple

from minilora.exercises.sources import blank, for_students

MAGIC = re.compile(r"^\s*([%!].*|\??[\w.]+\?\??)$", re.MULTILINE)  # %%time, !pip install, numpy.dot?
LARGEST = 16 << 20  # bytes of a file


class Answer(NamedTuple):
    """The code of an answer, and notes for its author on how it was found."""

    source: str
    notes: tuple[str, ...] = ()


def student_notebook(exercise):
    """The text of the .ipynb file that a student fills in; needs jupytext."""
    cells = [cell for cell in exercise.cells if for_students(cell)]
    return _notebook(exercise.head, [cell._replace(text=blank(cell.text, exercise)) for cell in cells])


def source_notebook(exercise):
    """The text of the .ipynb file from which nbgrader makes an assignment, with the solution; needs jupytext."""
    return _notebook(exercise.head, [cell for cell in exercise.cells if for_students(cell) or cell.has("grade")])


def _notebook(head, cells):
    try:
        import jupytext
    except ImportError:
        raise ValueError("notebooks need jupytext:  pip install jupytext") from None
    text = head + "\n\n".join(f"{cell.marker}\n{cell.text}" for cell in cells) + "\n"
    return jupytext.writes(jupytext.reads(text, fmt="py:percent"), fmt="ipynb")


def answer_in(path: str | Path, name: str = "") -> Answer:
    """The code in a student's file: all of a .py file, or the answer's cell of a notebook.

    Parameters
    ----------
    path : str or Path
    name : str, optional
        The exercise's name, for a notebook that may hold cells of other exercises.

    Returns
    -------
    Answer
        For a notebook, the imports in other cells are put above the answer's own code.

    Raises
    ------
    ValueError
        If the file is not UTF-8, or too large, or a notebook that is damaged or has no such cell.
    """
    text = _text_of(Path(path))
    if Path(path).suffix != ".ipynb":
        return Answer(text)
    try:
        cells = json.loads(text)["cells"]
        code = [(_grade_id(cell), _source(cell)) for cell in cells if cell.get("cell_type", "code") == "code"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"[:100].replace("\n", " ")
        raise ValueError(f"{path} is not a notebook, or it is damaged ({reason})") from None
    return _answer_among(path, code, name)


def _text_of(path):
    if path.stat().st_size > LARGEST:
        raise ValueError(
            f"{path} has {path.stat().st_size >> 20} MB; an answer must be smaller than {LARGEST >> 20} MB"
        )
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path} must be UTF-8; save it again with that encoding") from None


def _grade_id(cell):
    """nbgrader's name for a cell that students fill in; None for all other cells."""
    about = cell.get("metadata", {}).get("nbgrader", {})
    return about.get("grade_id") if about.get("solution") and not about.get("grade") else None


def _source(cell):
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def _answer_among(path, code, name):
    """Find the answer among the (grade_id, source) pairs of all code cells."""
    found = [source for grade_id, source in code if grade_id is not None and name in ("", grade_id)]
    if not found:
        raise ValueError(f"{path} has no cell for the answer any more; reset the exercise and copy your answer there")
    written = [source for source in found if "raise NotImplementedError(" not in source] or found
    answer, notes = written[-1], []
    if len(found) > 1:
        notes.append(f"There are {len(found)} cells for the answer; the last one with code in it is checked.")
    others = [without_magics(source) for grade_id, source in code if grade_id is None]
    imports = [line for source in others for line in _imports(source) if line not in answer]
    if imports:
        notes.append("Imports from other cells were put above the answer; they belong in its cell.")
    needed = _functions(answer)
    if "raise NotImplementedError(" in answer and any(needed & _functions(source) for source in others):
        notes.append("Another cell defines the function that is asked for; it belongs in the cell for the answer.")
    return Answer("\n".join([*dict.fromkeys(imports), answer]), tuple(notes))


def _parsed(source):
    try:
        return ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []


def _imports(source):
    """What a cell imports from Python and NumPy, one statement each: nothing else is available to an answer."""
    found = []
    for node in _parsed(source):
        if isinstance(node, ast.Import):
            found += [(alias.name, ast.unparse(ast.Import([alias]))) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.append((node.module, ast.unparse(node)))
    return [text for name, text in found if name.partition(".")[0] in ("numpy", *sys.stdlib_module_names)]


def _functions(source):
    return {node.name for node in _parsed(without_magics(source)) if isinstance(node, ast.FunctionDef)}


def without_magics(source: str) -> str:
    """Code in which the lines that only IPython understands (`%%time`, `!pip`, `numpy.dot?`) become comments.

    Lines keep their numbers. Code that is valid Python already (`% b` may continue a formula), or that is not valid
    without the magics either, is returned unchanged.
    """
    if _parsed(source) or not MAGIC.search(source):
        return source
    commented = MAGIC.sub(lambda line: f"# {line[0].strip()}", source)
    return commented if _parsed(commented) else source

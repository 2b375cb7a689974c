"""The package's words: errors say what a value must be, docstrings stand alone, and nobody needs a dictionary.

`findings(source)` reads one file. Each rule is first shown to fail on a small bad source, then the whole package is
held to all of them.
"""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "minilora"
FILES = sorted(path for path in PACKAGE.rglob("*.py"))

# "it may be X" reads as a permission, or as "perhaps"; an error says what a value must be.
PERMISSION = re.compile(r"\b(it|each|they|both|entry|one of them|which) may (be|hold|have)\b")
LEANING = re.compile(r"(The same\b|Like (the|its|`)|As (above|before)\b|Ditto\b)")
ARCHAISMS = re.compile(
    r"\b(whilst|wherein|whereof|whence|hence|thereof|therein|thereby|lest|ere|anew|amongst|betwixt|naught|nought|aught"
    r"|(?:bits|nats) a byte|tokens a second|seconds a token|for want of|no number|suffice|let go of)\b",
    re.IGNORECASE,
)
ALLOWED = {  # in a game of words that a model learns from, any English is right
    "data/generated_tasks.py",
}


def findings(source: str) -> list[str]:
    """What is wrong with the words of one file, each with its line."""
    tree = ast.parse(source)
    docstrings = {}  # the node of each docstring's text: the text
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            docstrings[node.body[0].value] = ast.get_docstring(node)
    found = [
        f"line {node.lineno}: a docstring leans on another: {text.splitlines()[0]!r}"
        for node, text in docstrings.items()
        if LEANING.match(text)
    ]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        if node not in docstrings and PERMISSION.search(node.value):
            found.append(f"line {node.lineno}: a message allows where it must demand: {node.value!r}")
        if word := ARCHAISMS.search(node.value):
            found.append(f"line {node.lineno}: {word[0]!r} is not today's English")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and (word := ARCHAISMS.search(token.string)):
            found.append(f"line {token.start[0]}: {word[0]!r} is not today's English")
    return found


BAD = {
    "a permission": 'raise ValueError(f"n was {n}; it may be an integer")',
    "a permission in a table": 'RULES = [("r", "each may be a number")]',
    "a docstring that leans": 'def f():\n    """The same for two arrays."""',
    "a docstring like another": 'def f():\n    """Like `g`, for two arrays."""',
    "an archaism in a docstring": '"""What a model is, and whence it comes."""',
    "an archaism in a message": 'print("the run begins anew")',
    "an archaism in a comment": "x = 1  # lest it overflow",
    "a rate": 'print(f"{n:.2f} nats a byte")',
}


@pytest.mark.parametrize("source", BAD.values(), ids=BAD)
def test_each_rule_can_fail(source):
    assert len(findings(source)) == 1


def test_what_is_right_passes():
    assert findings('"""What may be None."""\nraise ValueError("n was 0; it must be at least 1")  # may be slow') == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_words(path):
    if path.relative_to(PACKAGE).as_posix() not in ALLOWED:
        assert findings(path.read_text()) == []

"""A model does not know that it is adapted: layers/ and models/ name nothing of adaptation, and have nothing for it.

No class, function, argument, attribute, variable or import there is called after LoRA, an adapter, a prefix or a
method, and a generator enters where weights or tokens are drawn, and nowhere else. What adapts a model replaces its
parts from outside (`methods/`).
"""

import ast
from pathlib import Path

import pytest

import minilora

PACKAGE = Path(minilora.__file__).parent
WORDS = ("lora", "adapt", "prefix", "houlsby", "bitfit", "dropout", "methods")
# where new weights and sampled tokens come from
DRAWS = ("__init__", "new_classifier", "generate", "stream", "read_request", "choose")
FILES = sorted(path for folder in ("layers", "models") for path in (PACKAGE / folder).glob("*.py"))


def names_in(tree):
    """Yield (line, name) for all that a module defines, reads or imports; text and comments are free."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.lineno, node.arg
        elif isinstance(node, ast.alias):
            yield node.lineno, node.name
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module


def traces(source):
    """What of adaptation a source names: one line of text each."""
    tree = ast.parse(source)
    names = ((line, name.removeprefix("minilora")) for line, name in names_in(tree))
    found = [f"{line}: {name}" for line, name in names if any(word in name.lower() for word in WORDS)]
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        if function.name not in DRAWS and any("rng" in argument.arg for argument in arguments):
            found.append(f"{function.lineno}: {function.name} takes a generator")
    return found


@pytest.mark.parametrize(
    ("source", "trace"),
    [
        ("class LoRALinear: pass", "1: LoRALinear"),
        ("from minilora.methods import x", "1: .methods"),
        ("def f(self, x, rng=None): pass", "1: f takes a generator"),
        ("def f(self, x, *, rng): pass", "1: f takes a generator"),
        ("self.prefix.insert(ids)", "1: prefix"),
        ("class A:\n    adapters = ()", "2: adapters"),
        ("f(dropout=0.1)", "1: dropout"),
    ],
)
def test_a_trace_is_found(source, trace):
    assert trace in traces(source)


@pytest.mark.parametrize("source", ["def __init__(self, rng): 1", '"""LoRA"""', "# an adapter", "def f(x): 1"])
def test_and_nothing_else(source):
    assert traces(source) == []


def test_there_are_files():
    assert {"linear.py", "gpt.py", "model_file.py"} <= {path.name for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_model_does_not_know_that_it_is_adapted(path):
    assert traces(path.read_text()) == []

"""Changes the package in one place at a time, and looks whether a test fails:

    python tests/mutation.py minilora/ops tests/ops/test_contract.py tests/ops tests/arrays/test_kernels.py
    python tests/mutation.py minilora/methods/lora/apply.py tests/methods --sample 20 --seed 0

A mutant is one operator, comparison, number or condition that is another one: + is -, 1 is 2, -1 is 1 or 0. Each is
tried in a process of its own, with pytest on the given tests in the given order (but for test_mutants.py, which does
not look at the package); the file on the disk stays as it is. Needs fork, so not Windows. What survives is listed: it
needs a test, or is no change.

Why not mutmut or cosmic-ray: mutmut 3 passes over every decorated function, and so over softmax, LayerNorm, GELU and
the core of attention, which are @fused; cosmic-ray 8 knows neither `@` nor `+=`, 95 of the 244 products, sums and
updates in ops/ and methods/lora/.
"""

import argparse
import ast
import copy
import gc
import importlib.abc
import importlib.util
import os
import signal
import sys
import time
import types
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 120  # a mutant that takes longer runs forever, and is found out
OPTIONS = ["-q", "-s", "-p", "no:cacheprovider", "--ignore-glob=*test_mutants.py"]

OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Pow: ast.Mult,
    ast.Mod: ast.Mult,
    ast.MatMult: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}


def variants(node):
    """Other nodes for this one, in its place."""
    made = copy.deepcopy(node)
    if isinstance(node, (ast.BinOp, ast.AugAssign, ast.BoolOp)) and type(node.op) in OPERATORS:
        made.op = OPERATORS[type(node.op)]()
        yield made
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in OPERATORS:
        made.ops[0] = OPERATORS[type(node.ops[0])]()
        yield made
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield made.operand
        if is_negative(node):
            yield ast.Constant(1 - node.operand.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield ast.Constant(node.value + 1)
    elif isinstance(node, (ast.If, ast.IfExp)):
        for truth in (True, False):
            made = copy.deepcopy(node)
            made.test = ast.Constant(truth)
            yield made


def is_negative(node):
    """Whether it is a negative number, of which the number in it is a part."""
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant)


class Mutant(NamedTuple):
    path: Path
    line: int
    old: str
    new: str
    function: str | None  # the qualified name of the function in whose body it is, if it is in one
    source: str

    def __str__(self):
        return f"{self.path.relative_to(ROOT)}:{self.line}: {self.old}  ->  {self.new}"

    @property
    def module(self):
        return ".".join(self.path.relative_to(ROOT).with_suffix("").parts)


def mutants(path):
    """Yield each Mutant of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    function_of = {id(node): name for name, node in nodes_in_bodies(tree)}
    types_of = {id(node) for node in nodes_in_types(tree)}
    for parent in ast.walk(tree):
        for field, value in () if is_negative(parent) else ast.iter_fields(parent):
            for i, node in enumerate(value if isinstance(value, list) else [value]):
                for other in variants(node) if isinstance(node, ast.AST) and id(node) not in types_of else ():
                    put(parent, field, i, other)
                    source = ast.unparse(ast.fix_missing_locations(tree))
                    put(parent, field, i, node)
                    function = function_of.get(id(node))
                    yield Mutant(path, node.lineno, first_line(node), first_line(other), function, source)


def nodes_in_types(tree):
    """The nodes of annotations: a type computes nothing."""
    for node in ast.walk(tree):
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if annotation is not None:
                yield from ast.walk(annotation)


def nodes_in_bodies(tree, prefix=""):
    """(qualified name, node) of all in the bodies of outermost functions and methods: no default, no decorator."""
    for definition in tree.body:
        name = prefix + getattr(definition, "name", "")
        if isinstance(definition, ast.ClassDef):
            yield from nodes_in_bodies(definition, f"{name}.")
        elif isinstance(definition, ast.FunctionDef):
            yield from ((name, node) for statement in definition.body for node in ast.walk(statement))


def put(parent, field, i, node):
    if isinstance(getattr(parent, field), list):
        getattr(parent, field)[i] = node
    else:
        setattr(parent, field, node)


def first_line(node):
    return ast.unparse(ast.fix_missing_locations(node)).splitlines()[0][:70]


class Replacing(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):
    """Imports one module from a source that is not on the disk."""

    def __init__(self, name, path, source):
        self.name, self.path, self.source = name, path, source

    def find_spec(self, name, path=None, target=None):
        return importlib.util.spec_from_loader(name, self, origin=str(self.path)) if name == self.name else None

    def get_filename(self, name):
        return str(self.path)

    def get_data(self, path):
        return self.source.encode()


def passes(tests):
    """Whether ``tests()`` returns True, in a process of its own and in time."""
    child = os.fork()
    if child == 0:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        try:
            os._exit(0 if tests() else 1)
        except BaseException:
            os._exit(1)
    for _ in range(100 * SECONDS):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def passes_anew(mutant, tests):
    """All is imported anew, with the mutant in the place of its file."""

    def run():
        sys.meta_path.insert(0, Replacing(mutant.module, mutant.path, mutant.source))
        return pytest.main([*tests, *OPTIONS, "-x"]) == 0

    return passes(run)


class InOneSession:
    """A plugin of pytest that, when all tests are there, runs them once for each mutant, up to the first that fails.

    The mutant's function is the one that the tests have imported already, with another code: that takes a tenth of the
    time of importing it anew.
    """

    def __init__(self, chosen, bar):
        self.chosen, self.bar, self.survivors = chosen, bar, []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session):
        if session.testsfailed or not passes(lambda: run_items(session)):
            pytest.exit("the tests fail without a mutant")
        for mutant in self.chosen:
            session.items.sort(key=lambda item, name=mutant.path.stem: name not in item.nodeid)  # its own tests first
            if passes(lambda mutant=mutant: mutate(mutant) and run_items(session)):
                self.survivors.append(mutant)
                tqdm.write(str(mutant))
            self.bar.update()
        return True


def run_items(session):
    """Whether all tests that pytest has collected pass; it ends with the first that does not."""
    for item, following in zip(session.items, [*session.items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed:
            return False
    return True


def mutate(mutant):
    """Give the function in memory the mutant's code; returns True."""
    code = code_called(mutant.function, compile(mutant.source, str(mutant.path), "exec"))
    for function in gc.get_objects():
        if isinstance(function, types.FunctionType) and function.__code__.co_filename == str(mutant.path):
            if function.__code__.co_qualname == mutant.function:
                function.__code__ = code
    return True


def code_called(name, code):
    """The code of this qualified name among those in a code; None if it is not there."""
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found = constant if constant.co_qualname == name else code_called(name, constant)
            if found:
                return found
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path, help="a file or folder of minilora")
    parser.add_argument("tests", nargs="+", help="what pytest runs, the tests that are likeliest to fail first")
    parser.add_argument("--sample", type=int, help="try so many, drawn at random (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    options = parser.parse_args()
    package = options.package.resolve()
    files = [package]
    if package.is_dir():
        files = sorted(path for path in package.rglob("*.py") if path.name != "__init__.py")  # those re-export
    everything = [mutant for path in files for mutant in mutants(path)]
    chosen = everything
    if options.sample and options.sample < len(everything):
        drawn = np.random.default_rng(options.seed).choice(len(everything), options.sample, replace=False)
        chosen = [everything[i] for i in sorted(drawn)]
    survivors = []
    with tqdm(total=len(chosen), unit="mutant") as bar:
        for mutant in chosen:
            if mutant.function is None:
                if passes_anew(mutant, options.tests):
                    survivors.append(mutant)
                    tqdm.write(str(mutant))
                bar.update()
        session = InOneSession([mutant for mutant in chosen if mutant.function is not None], bar)
        if pytest.main([*options.tests, *OPTIONS], plugins=[session]) != 0:
            sys.exit("the tests fail without a mutant")
    killed = len(chosen) - len(survivors) - len(session.survivors)
    print(f"{killed} of {len(chosen)} mutants killed, {100 * killed / len(chosen):.1f} % ({len(everything)} in all)")


if __name__ == "__main__":
    main()

"""Changes the package in one place at a time, and looks whether a test fails:

    python tests/mutation.py minilora/ops tests/ops --sample 100 --seed 0
    python tests/mutation.py minilora/methods/lora.py tests/methods

A mutant is one operator, comparison, number or condition that is another one. Each is tried in a process of its own,
with pytest on the given tests (but for test_mutants.py, which does not look at the package); the file on the disk stays
as it is. Needs fork, so not Windows. What survives is listed: it needs a test, or is no change at all.
"""

import argparse
import ast
import copy
import importlib.abc
import importlib.util
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 120  # a mutant that takes longer runs forever, and is found out

OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Pow: ast.Mult,
    ast.Mod: ast.Mult, ast.MatMult: ast.Mult, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.And: ast.Or, ast.Or: ast.And, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip


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
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield ast.Constant(node.value + 1)
    elif isinstance(node, (ast.If, ast.IfExp)):
        for truth in (True, False):
            made = copy.deepcopy(node)
            made.test = ast.Constant(truth)
            yield made


def mutants(path):
    """Yield (line, what was there, what is there now, the whole source) for each mutant of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            for i, node in enumerate(value if isinstance(value, list) else [value]):
                for other in variants(node) if isinstance(node, ast.AST) else ():
                    put(parent, field, i, other)
                    new = ast.unparse(ast.fix_missing_locations(tree))
                    put(parent, field, i, node)
                    yield node.lineno, first_line(node), first_line(other), new


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


def survives(path, source, tests):
    """Whether no test fails with this source in the place of the file's."""
    child = os.fork()
    if child == 0:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        sys.meta_path.insert(0, Replacing(name, path, source))
        options = ["-x", "-q", "-p", "no:cacheprovider", "--ignore-glob=*test_mutants.py"]
        os._exit(int(pytest.main([*tests, *options]) != 0))
    for _ in range(10 * SECONDS):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path, help="a file or folder of minilora")
    parser.add_argument("tests", nargs="+", help="what pytest runs")
    parser.add_argument("--sample", type=int, help="try so many, drawn at random (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    options = parser.parse_args()
    package = options.package.resolve()
    files = [package]
    if package.is_dir():
        files = sorted(path for path in package.rglob("*.py") if path.name != "__init__.py")  # those re-export
    everything = [(path, *mutant) for path in files for mutant in mutants(path)]
    chosen = everything
    if options.sample and options.sample < len(everything):
        drawn = np.random.default_rng(options.seed).choice(len(everything), options.sample, replace=False)
        chosen = [everything[i] for i in sorted(drawn)]
    if not survives(files[0], files[0].read_text(encoding="utf-8"), options.tests):
        sys.exit("the tests fail without a mutant")
    lived = 0
    for path, line, old, new, source in tqdm(chosen, unit="mutant"):
        if survives(path, source, options.tests):
            lived += 1
            tqdm.write(f"{path.relative_to(ROOT)}:{line}: {old}  ->  {new}")
    killed = len(chosen) - lived
    print(f"{killed} of {len(chosen)} mutants killed, {100 * killed / len(chosen):.1f} % ({len(everything)} in all)")


if __name__ == "__main__":
    main()

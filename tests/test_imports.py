"""The house stands: who may import whom, who may name what, and how long a file may be.

`violations(path, source)` reads one file with `ast` and lists what it breaks. Each rule is first shown to
fail on a small bad source, then the whole package is held to them all.
"""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "minilora"

# ---- the rules

# A file imports only from its left: itself, and what its row lists.
BELOW_LAYERS = ("moved", "arrays", "parameter", "ops")
BELOW_TRAINING = (*BELOW_LAYERS, "layers", "models", "methods", "files", "limits")
BELOW_EXPERIMENTS = (
    *BELOW_TRAINING,
    "distributed",
    "processes",
    "training",
    "interop",
    "analysis",
    "accounting",
    "gradcheck",
    "data",
)
MAY_IMPORT = {
    "arrays":      (),
    "parameter":   ("arrays",),
    "ops":         ("moved", "arrays", "parameter"),
    "layers":      BELOW_LAYERS,
    "models":      (*BELOW_LAYERS, "files", "limits", "data", "layers"),  # never methods: a model knows of none
    "methods":     (*BELOW_LAYERS, "files", "limits", "layers", "models"),
    "training":    (*BELOW_TRAINING, "distributed", "data", "analysis", "accounting"),
    "experiments": (*BELOW_EXPERIMENTS, "plots", "__init__"),
    "exercises":   BELOW_EXPERIMENTS,
    "museum":      (*BELOW_EXPERIMENTS, "plots", "__init__", "experiments", "exercises"),
    "cli":         (*BELOW_EXPERIMENTS, "plots", "__init__", "experiments", "exercises"),
    # beside the row
    "distributed": ("moved", "arrays"),
    "launch_watch": (),                                 # a script, started before MPI is; it imports no NumPy
    "processes":   (),
    "limits":      (),
    "patterns":    ("limits",),
    "files":       ("arrays", "limits"),
    "analysis":    BELOW_LAYERS,
    "accounting":  BELOW_LAYERS,
    "gradcheck":   BELOW_LAYERS,
    "data":        (*BELOW_LAYERS, "limits"),
    "interop":     (*BELOW_TRAINING, "data", "patterns"),
    "plots":       (),                                  # host arrays in, figures out
    "__init__":    (*BELOW_EXPERIMENTS, "public"),      # the public names: from minilora import GPT
    "public":      ("moved", "__init__"),               # which finds them
    "moved":       ("__init__",),                       # the names of the version before, wherever they are now
    "__main__":    ("cli",),
}  # fmt: skip

# Only these files, or folders, may name it: import it, use its name, or begin a string with it ("cupy.cuda").
ONLY_IN = {"cupy": "arrays/backend.py", "matplotlib": "plots/", "mpi4py": "distributed.py"}
# Imported inside functions only, for they are slow to load and not always needed (and mpi4py starts MPI).
LAZY = ("minilora.plots", "matplotlib", "mpi4py")
# The mathematics goes through the backend.
NOT_IN_OPS = ("numpy", "cupy", "scipy")
# No file may make the package run code, and nothing differentiates for us.
NOWHERE = (
    "pickle",
    "cPickle",
    "cloudpickle",
    "dill",
    "joblib",
    "marshal",
    "shelve",
    "torch",
    "jax",
    "tensorflow",
)
NEVER_CALLED = ("eval", "exec")

LONGEST_FILE = 300  # lines; one that outgrows 250 holds two ideas

# ---- the checker


def violations(path, source):
    """What the file at `path` (relative to minilora/, as "ops/linear.py") breaks, one line of text each."""
    tree = ast.parse(source)
    package = path.split("/")[0].removesuffix(".py")
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = []

    def broken(node, rule):
        found.append(f"minilora/{path}:{node.lineno}: {rule}")

    if package not in MAY_IMPORT:
        found.append(f"minilora/{path}:1: {package} has no place in the import direction (MAY_IMPORT)")
    for node, module, lazy in imports(tree, path):
        parts = module.split(".")
        if parts[0] == "minilora":
            check_inside(node, parts, package, broken)
        elif "/" not in path and package == "__init__" and module != "typing.TYPE_CHECKING":
            broken(node, f"minilora/__init__.py only re-exports, but imports {module}")
        if package == "ops" and parts[0] in NOT_IN_OPS:
            broken(node, f"ops/ imports neither numpy nor cupy, but imports {module}")
        if parts[0] in NOWHERE:
            broken(node, f"{parts[0]} is used nowhere in minilora")
        for name in LAZY:
            inside = package == "plots" and name == "minilora.plots"
            if not lazy and not inside and f"{module}.".startswith(f"{name}."):
                broken(node, f"{name} is imported inside functions only")

    for node in ast.walk(tree):
        for name in names_in(node, docstrings):
            if not path.startswith(ONLY_IN.get(name, path)):
                broken(node, f"only {ONLY_IN[name]} names {name}")
            if name in NEVER_CALLED:
                broken(node, f"no {name} in minilora")
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and is_not_false(node.value):
            broken(node.value, "no allow_pickle in minilora")

    if path == "__init__.py":
        for node in unconditional(tree.body):
            if not (isinstance(node, ast.ImportFrom) or is_docstring(node) or is_dunder_assignment(node)):
                broken(node, "minilora/__init__.py only re-exports")
    return found


def unconditional(body):
    """Statements, and in the place of ``if TYPE_CHECKING`` those of both of its branches."""
    for node in body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            yield from (*node.body, *node.orelse)
        else:
            yield node


def check_inside(node, parts, package, broken):
    """An import of minilora.<parts[1]>... from `package`."""
    target = parts[1] if len(parts) > 1 else "__init__"
    allowed = (*MAY_IMPORT.get(package, ()), package, "__version__")
    if target not in (*MAY_IMPORT, "__version__"):
        target = "__init__"  # one of the public names
    if target == "__init__" and target not in allowed:
        broken(node, f"{package} imports {'.'.join(parts)}: say which module of minilora it comes from")
    elif target not in allowed:
        broken(node, f"{package} imports {target}, which is not to its left; it may import {allowed[:-2]}")


def imports(tree, path):
    """(node, absolute module name, inside a function?) of every import, wherever it stands."""
    here = ["minilora", *path.removesuffix(".py").split("/")][:-1]  # the package that the file lies in

    def visit(node, lazy):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield child, alias.name, lazy
            elif isinstance(child, ast.ImportFrom):
                base = here[: len(here) - child.level + 1] if child.level else []
                base = [*base, *(child.module.split(".") if child.module else [])]
                if len(base) == 1:  # from minilora.arrays import backend, from matplotlib import pyplot
                    for alias in child.names:
                        yield child, f"{base[0]}.{alias.name}", lazy
                else:
                    yield child, ".".join(base), lazy
            elif isinstance(child, ast.Call) and called_name(child) in ("import_module", "__import__"):
                yield child, dynamic_module(child), lazy
            function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from visit(child, lazy or function)

    yield from visit(tree, False)


def called_name(call):
    return getattr(call.func, "attr", getattr(call.func, "id", None))


def dynamic_module(call):
    """import_module("a.b") or import_module(f"a.b.{name}"): "a.b". Unreadable: "minilora", which few may."""
    argument = call.args[0] if call.args else None
    if isinstance(argument, ast.JoinedStr) and argument.values:
        argument = argument.values[0]
    readable = isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    return argument.value.rstrip(".") if readable else "minilora"


def names_in(node, docstrings):
    """What a node mentions: identifiers, attributes, imported modules, and names that begin a string."""
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Attribute):
        if node.attr not in NEVER_CALLED or getattr(node.value, "id", None) in ("builtins", "__builtins__"):
            yield node.attr
    elif isinstance(node, ast.Import):
        yield from (alias.name.split(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from {(node.module or "").split(".")[0], *(alias.name for alias in node.names)}
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
        yield from re.findall(r"^(\w+)(?:[.\[-]|$)", node.value)


def is_not_false(node):
    return not (isinstance(node, ast.Constant) and node.value is False)


def is_docstring(node):
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def is_dunder_assignment(node):
    return isinstance(node, ast.Assign) and all(
        isinstance(t, ast.Name) and re.fullmatch(r"__\w+__", t.id) for t in node.targets
    )


# ---- each rule can fail: (file, what it says, what the checker must answer)

BAD = [
    # the import direction, by every way of importing
    ("ops/linear.py", "from minilora.layers.linear import Linear", "ops imports layers"),
    ("ops/linear.py", "import minilora.layers.linear", "ops imports layers"),
    ("ops/linear.py", "import math, minilora.layers as layers", "ops imports layers"),
    ("ops/linear.py", "from minilora import layers", "ops imports layers"),
    ("ops/linear.py", "from ..layers import linear", "ops imports layers"),
    ("ops/linear.py", "from .. import layers", "ops imports layers"),
    ("parameter.py", "from .ops import linear_forward", "parameter imports ops"),
    ("parameter.py", "from . import ops", "parameter imports ops"),
    ("layers/__init__.py", "from ..models import GPT", "layers imports models"),
    ("models/gpt.py", "if TYPE_CHECKING:\n    from minilora.methods import lora", "models imports methods"),
    ("models/gpt.py", "def f():\n    from minilora.methods import apply_lora", "models imports methods"),
    ("models/gpt.py", "try:\n    import minilora.methods\nexcept E: ...", "models imports methods"),
    ("models/gpt.py", "class A:\n    import minilora.methods", "models imports methods"),
    ("models/gpt.py", "m = importlib.import_module('minilora.methods.lora')", "models imports methods"),
    ("models/gpt.py", "m = __import__('minilora.methods')", "models imports methods"),
    ("models/gpt.py", "m = import_module(f'minilora.methods.{name}')", "models imports methods"),
    ("models/gpt.py", "m = import_module(name)", "say which module"),
    ("arrays/backend.py", "from minilora.parameter import Parameter", "arrays imports parameter"),
    ("parameter.py", "from minilora.layers import Linear", "parameter imports layers"),
    ("methods/lora/apply.py", "from minilora.training import AdamW", "methods imports training"),
    ("methods/lora/apply.py", "from minilora.interop import load_peft", "methods imports interop"),
    ("training/loop.py", "from minilora.experiments import table6", "training imports experiments"),
    ("experiments/table6.py", "from minilora.cli import main", "experiments imports cli"),
    ("analysis/rank.py", "from minilora.layers import Linear", "analysis imports layers"),
    ("gradcheck.py", "from minilora.models import GPT", "gradcheck imports models"),
    ("data/batches.py", "from minilora.models import GPT", "data imports models"),
    ("models/generation.py", "from minilora.methods import apply_lora", "models imports methods"),
    ("interop/peft.py", "from minilora.training import AdamW", "interop imports training"),
    ("plots/bench.py", "from minilora.arrays.backend import to_numpy", "plots imports arrays"),
    ("arrays/threads.py", "from minilora.ops import rows", "arrays imports ops"),
    ("files.py", "from minilora.models import GPT", "files imports models"),
    ("layers/linear.py", "from minilora import Linear", "say which module"),
    ("layers/linear.py", "import minilora", "say which module"),
    ("utils.py", "x = 1", "utils has no place"),
    ("helpers/text.py", "x = 1", "helpers has no place"),
    # who may name what
    ("ops/linear.py", "import numpy as np", "ops/ imports neither"),
    ("ops/linear.py", "def f():\n    from numpy.linalg import norm", "ops/ imports neither"),
    ("ops/linear.py", "if TYPE_CHECKING:\n    import numpy", "ops/ imports neither"),
    ("ops/linear.py", "import cupy", "ops/ imports neither"),
    ("training/loop.py", "import cupy as cp", "only arrays/backend.py names cupy"),
    ("training/loop.py", "def f():\n    from cupy import asarray", "only arrays/backend.py names cupy"),
    ("training/loop.py", "gpu = 'cupy' in sys.modules", "only arrays/backend.py names cupy"),
    ("training/loop.py", "xp = import_module('cupy')", "only arrays/backend.py names cupy"),
    ("training/loop.py", "x = backend.cupy.asarray(x)", "only arrays/backend.py names cupy"),
    ("cli/rank.py", "print('cupy-cuda12x is missing')", "only arrays/backend.py names cupy"),
    ("cli/rank.py", "def f():\n    import matplotlib", "only plots/ names matplotlib"),
    ("experiments/table6.py", "def f():\n    import matplotlib.pyplot", "only plots/ names matplotlib"),
    ("experiments/table6.py", "def f():\n    from matplotlib import cm", "only plots/ names matplotlib"),
    ("experiments/table6.py", "x = 'matplotlib.pyplot'", "only plots/ names matplotlib"),
    ("ops/plots.py", "def f():\n    import matplotlib", "only plots/ names matplotlib"),
    ("ops/backend.py", "def f():\n    import cupy", "only arrays/backend.py names cupy"),
    ("training/loop.py", "def f():\n    from mpi4py import MPI", "only distributed.py names mpi4py"),
    ("cli/rank.py", "def f():\n    import mpi4py.futures", "only distributed.py names mpi4py"),
    # lazily
    ("plots/bench.py", "import matplotlib.pyplot as plt", "matplotlib is imported inside functions only"),
    ("plots/bench.py", "from matplotlib import pyplot as plt", "matplotlib is imported inside functions only"),
    ("cli/rank.py", "from minilora import plots", "minilora.plots is imported inside functions only"),
    ("cli/rank.py", "from minilora.plots import heat_map", "minilora.plots is imported inside functions only"),
    ("cli/rank.py", "from ..plots import heat_map", "minilora.plots is imported inside functions only"),
    ("cli/rank.py", "if TYPE_CHECKING:\n    import minilora.plots", "plots is imported inside functions only"),
    ("distributed.py", "from mpi4py import MPI", "mpi4py is imported inside functions only"),
    ("distributed.py", "import mpi4py", "mpi4py is imported inside functions only"),
    ("training/loop.py", "def f():\n    from minilora import plots", "training imports plots"),
    ("distributed.py", "from minilora.training import Trainer", "distributed imports training"),
    # the public names
    ("__init__.py", "import numpy", "only re-exports"),
    ("__init__.py", "from numpy import ndarray", "only re-exports, but imports numpy"),
    ("__init__.py", "def helper(): ...", "only re-exports"),
    ("__init__.py", "DEBUG = True", "only re-exports"),
    ("__init__.py", "if True:\n    from minilora.models import GPT", "only re-exports"),
    ("__init__.py", "if TYPE_CHECKING:\n    GPT = 3", "only re-exports"),
    ("__init__.py", "if TYPE_CHECKING:\n    import numpy", "only re-exports, but imports numpy"),
    ("__init__.py", "from minilora.cli import main", "__init__ imports cli"),
    # no input file can make the package run code
    ("interop/peft.py", "import pickle", "pickle is used nowhere"),
    ("interop/peft.py", "def f():\n    from pickle import load", "pickle is used nowhere"),
    ("interop/peft.py", "def f():\n    import torch", "torch is used nowhere"),
    ("interop/peft.py", "import joblib.numpy_pickle", "joblib is used nowhere"),
    ("interop/peft.py", "x = np.load(f, allow_pickle=True)", "no allow_pickle"),
    ("interop/peft.py", "x = np.load(f, allow_pickle=flag)", "no allow_pickle"),
    ("data/tasks.py", "x = eval(text)", "no eval"),
    ("data/tasks.py", "exec(text)", "no exec"),
    ("data/tasks.py", "f = exec", "no exec"),
    ("data/tasks.py", "builtins.eval(text)", "no eval"),
]

GOOD = [
    ("arrays/backend.py", "import numpy\ndef f():\n    import cupy\n    return 'cupy'"),
    ("ops/linear.py", "import math\nfrom typing import NamedTuple\nfrom minilora.arrays.backend import get_xp"),
    ("ops/lora_linear.py", "from minilora.ops.linear import f\nfrom .rows import rows\nfrom . import rows"),
    ("ops/gelu.py", '"""On CuPy, cupy and numpy agree."""\n# cupy\nMESSAGE = "on cupy"'),
    ("layers/linear.py", "import numpy as np\nfrom minilora.parameter import Parameter\nfrom ..ops import f"),
    ("methods/lora/apply.py", "from minilora.models.gpt import GPT\nfrom safetensors.numpy import save_file"),
    ("models/generation.py", "from minilora.models import GPT\nfrom minilora.data.tokenizer import decode"),
    ("interop/peft.py", "from minilora.methods import apply_lora\nx = np.load(f, allow_pickle=False)"),
    ("experiments/table6.py", "from minilora import GPT\ndef f():\n    from minilora import plots"),
    ("experiments/record.py", "import minilora\nminilora.__version__"),
    ("experiments/__init__.py", "m = import_module(f'minilora.experiments.{name}')"),
    ("experiments/figure3.py", "from . import table6\nfrom .table6 import run"),
    ("cli/rank.py", "from minilora import __version__\nfrom minilora.experiments import demo"),
    ("plots/bench.py", "import numpy as np\ndef f():\n    import matplotlib.pyplot as plt"),
    ("distributed.py", "def f():\n    from mpi4py.futures import MPICommExecutor"),
    ("training/loop.py", "model.eval()\nevaluate(model)\nself.exec = 1"),
    ("__init__.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from minilora.models import GPT"),
    ("__init__.py", '"""LoRA."""\nfrom minilora.models import GPT\n__version__ = "0.1.0"\n__all__ = ["GPT"]'),
    ("__main__.py", "from minilora.cli import main\nmain()"),
]


@pytest.mark.parametrize(("path", "source", "expected"), BAD, ids=lambda value: str(value)[:50])
def test_a_broken_rule_is_found(path, source, expected):
    assert any(expected in line for line in violations(path, source)), violations(path, source)


@pytest.mark.parametrize(("path", "source"), GOOD, ids=lambda value: str(value)[:50])
def test_a_good_file_breaks_none(path, source):
    assert violations(path, source) == []


def test_the_row_of_the_design():
    """arrays <- parameter <- ops <- layers <- models <- methods <- training <- experiments <- cli."""
    row = "arrays parameter ops layers models methods training experiments cli".split()
    for i, name in enumerate(row):
        assert [other for other in row if other in MAY_IMPORT[name]] == row[:i]
    for name in ("analysis", "accounting", "gradcheck", "data"):
        assert set(MAY_IMPORT[name]) <= {*row[:3], "limits", "moved"}


# ---- the package itself


def files():
    return sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def test_the_package_is_there():
    assert {"__init__.py", "arrays/backend.py"} <= set(files())


@pytest.mark.parametrize("path", files())
def test_the_package_keeps_the_rules(path):
    assert not violations(path, (PACKAGE / path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", files())
def test_a_file_holds_one_idea(path):
    n = len((PACKAGE / path).read_text(encoding="utf-8").splitlines())
    assert n < LONGEST_FILE, f"minilora/{path} has {n} lines: it holds two ideas"


# ---- the tests' own imports


def imported_tests(source):
    """The test modules that a test imports from; helpers have a module of their own."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = [name for node in nodes for name in [getattr(node, "module", None), *(alias.name for alias in node.names)]]
    return [name for name in names if name and name.split(".")[-1].startswith("test_")]


@pytest.mark.parametrize("source", ["from test_plots import PHI", "import ops.test_bond", "from ops import test_bond"])
def test_an_import_from_a_test_is_found(source):
    assert len(imported_tests(source)) == 1


def test_no_test_imports_from_another_test():
    tests = Path(__file__).parent
    found = {path.relative_to(tests).as_posix(): imported_tests(path.read_text()) for path in tests.rglob("*.py")}
    assert {path: names for path, names in found.items() if names} == {}

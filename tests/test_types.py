"""The public functions say their types, and mypy tells right uses from wrong ones by them."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PACKAGE = HERE.parent / "minilora"
# Programs, pictures and experiments: nobody's code is built on them, and mypy is not asked about them either.
WITHOUT_TYPES = ("__main__", "cli/", "exercises/", "experiments/", "plots/")


def test_mypy_flags_the_wrong_uses_of_the_api_and_no_right_one(tmp_path):
    pytest.importorskip("mypy")
    file = HERE / "uses_of_the_api.py"
    command = [sys.executable, "-m", "mypy", f"--config-file={HERE.parent / 'pyproject.toml'}", "--no-error-summary"]
    done = subprocess.run(
        [*command, f"--cache-dir={tmp_path}", "--no-pretty", "--show-column-numbers", str(file)],
        capture_output=True, text=True, cwd=HERE.parent, check=False,
    )  # fmt: skip
    reports = [line for line in done.stdout.splitlines() if ": error: " in line]
    flagged = {int(line.split(":")[1]) for line in reports if line.startswith(str(file.relative_to(HERE.parent)))}
    lines = file.read_text(encoding="utf-8").splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}
    assert len(wrong) > 40
    assert flagged == wrong, done.stdout + done.stderr
    assert len(reports) >= len(wrong)


def functions(tree):
    """Every function and method of a module."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def untyped(function):
    """The names of what a function does not annotate."""
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    missing = [a.arg for a in named if a is not None and a.annotation is None and a.arg not in ("self", "cls")]
    return missing + (["its result"] if function.returns is None else [])


PATHS = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", [path for path in PATHS if not path.startswith(WITHOUT_TYPES)])
def test_every_function_says_its_types(path):
    """What mypy's disallow_untyped_defs asks for, where mypy is not installed."""
    tree = ast.parse((PACKAGE / path).read_text(encoding="utf-8"))
    assert not {function.name: missing for function in functions(tree) if (missing := untyped(function))}

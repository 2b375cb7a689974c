"""The public names: what the examples import is there, nothing of the version before is lost, importing is quick."""

import ast
import importlib
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import minilora
from minilora.moved import CALLED_AS_BEFORE

PACKAGE = Path(minilora.__file__).parent
BEFORE = [line.split() for line in Path(__file__).with_name("names_before.txt").read_text().splitlines()]

# Names that others rely on; of each line, what is imported works.
PROMISED = """
from minilora.ops import linear_forward, linear_backward, lora_linear_forward, lora_linear_backward
from minilora.ops import cross_entropy_forward, cross_entropy_backward
from minilora import GPT, GPTConfig, Llama, LlamaConfig, LoRAConfig, apply_lora, merge_lora, unmerge_lora
from minilora import load_bundled
from minilora.training import SGD, AdamW, Trainer, TrainConfig
from minilora.interop import load_gpt2, load_roberta, load_deberta, load_peft, save_peft
from minilora.analysis import delta_weights, subspace_similarity, amplification_factor, random_control
from minilora.analysis import matrix_rank_steps, low_rank_approximation
from minilora.accounting import count_parameters, memory_estimate
from minilora.gradcheck import numerical_gradient, check_op, check_model
"""


def named(module, name):
    """What ``from module import name`` gives, and the texts of the DeprecationWarnings on the way."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = getattr(importlib.import_module(module), name)
    return found, [str(warning.message) for warning in caught]


@pytest.mark.parametrize("line", PROMISED.strip().splitlines())
def test_the_names_that_others_rely_on(line):
    node = ast.parse(line).body[0]
    for alias in node.names:
        _, warned = named(node.module, alias.name)
        assert not warned


def type_checked():
    """Where a type checker finds each public name: (module, name) of the imports in minilora/__init__.py."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    return [(node.module, alias.name) for node in block.body for alias in node.names]


def test_a_public_name_is_what_a_type_checker_takes_it_for():
    assert sorted(name for _, name in type_checked()) == sorted(minilora.__all__)
    for module, name in type_checked():
        assert getattr(minilora, name) is getattr(importlib.import_module(module), name)


def test_there_are_about_thirty_and_dir_lists_them():
    assert 25 <= len(minilora.__all__) <= 40
    assert set(minilora.__all__) <= set(dir(minilora))


def test_a_name_that_is_nowhere_is_an_error():
    with pytest.raises(AttributeError, match="module 'minilora' has no attribute 'nonsense'"):
        _ = minilora.nonsense
    with pytest.raises(ImportError):
        importlib.import_module("minilora.nonsense")


@pytest.mark.parametrize("module, name", BEFORE)
def test_no_name_of_the_version_before_is_lost(module, name):
    found, warned = named(module, name)
    if not warned:
        return
    assert len(warned) == 1
    path = re.fullmatch(rf"{module}\.{name} is (minilora\.\S+) now; the old name works in this version only", warned[0])
    where, _, last = path[1].rpartition(".")
    now, warned_again = named(where, last)
    assert not warned_again
    assert found is now or f"{module}.{name}".removeprefix("minilora.") in CALLED_AS_BEFORE


@pytest.mark.parametrize(
    "statement", ["from minilora import AdapterConfig", "import minilora.backend\nminilora.backend.to_device"]
)
def test_a_warning_is_about_the_line_that_asks(statement):
    with pytest.warns(DeprecationWarning, match="now") as caught:
        exec(compile(statement, "the_user.py", "exec"), {})
    assert {warning.filename for warning in caught} == {"the_user.py"}


def test_importing_minilora_imports_nothing_else():
    """Each name is imported when it is asked for: NumPy alone takes longer than all that is imported before."""
    code = "import minilora, sys; print(*sorted(name for name in sys.modules if name.startswith('minilora')))"
    done = subprocess.run([sys.executable, "-c", f"{code}; assert 'numpy' not in sys.modules"], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().split() == ["minilora", "minilora.moved", "minilora.public"]


def test_what_is_called_in_another_way_now_is_called_as_before():
    import numpy

    from minilora.ops import linear_backward, linear_forward, lora_linear_backward, lora_linear_forward

    rng = numpy.random.default_rng(0)
    x, W, A, B = (rng.standard_normal(shape) for shape in ((5, 3), (4, 3), (2, 3), (4, 2)))
    y, cache = lora_linear_forward(x, W, None, A, B, 0.5)
    with pytest.warns(DeprecationWarning):
        from minilora.ops import lora_linear_dA_dB
    for found, expected in zip(lora_linear_dA_dB(y, cache), lora_linear_backward(y, cache)[1:], strict=True):
        assert numpy.array_equal(found, expected)
    with pytest.warns(DeprecationWarning):
        from minilora.ops import linear_dbias, linear_dW, linear_dx
    y, cache = linear_forward(x, W, W[:, 0])
    for one, expected in zip((linear_dx, linear_dW, linear_dbias), linear_backward(y, cache), strict=True):
        assert numpy.array_equal(one(y, cache), expected)
    with pytest.warns(DeprecationWarning):
        from minilora.generation import choose_tokens
    logits = rng.standard_normal((3, 7))
    assert (choose_tokens(logits, 0.0, None, None, None) == logits.argmax(axis=-1)).all()


def test_a_tool_that_asks_every_module_for_its_file_is_not_warned():
    module = importlib.import_module("minilora.analysis.accounting")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert getattr(module, "__file__", None) is None and getattr(module, "__path__", None) is None

"""What the README and docs/ show is what happens: code is run, output is the code's, commands and links exist."""

import contextlib
import inspect
import io
import re
import shlex
from importlib.util import find_spec

import pytest

from markdown_pages import PAGES, README, ROOT, blocks, commands, of_minilora, said, targets
from minilora.accounting import adaptation, find_architecture
from minilora.cli.verbs import parse
from minilora.ops import lora_linear_backward
from minilora.training import train_step

DOCS = ROOT / "docs"


def each(of):
    """A test for each thing that is found on a page, once."""
    pairs = [(path, what) for path in PAGES for what in sorted(set(of(path)))]
    return pytest.mark.parametrize("path, what", pairs, ids=[f"{path.name}: {what}" for path, what in pairs])


def test_the_readme_is_a_screen_and_a_half():
    assert len(README.read_text().splitlines()) < 120


@pytest.mark.parametrize("path", [README, DOCS / "lora.md"], ids=lambda path: path.name)
def test_the_backward_that_is_shown_is_the_one_that_runs(path):
    assert blocks(path, "python")[0] == inspect.getsource(lora_linear_backward)


def test_the_step_that_is_shown_is_the_one_that_runs():
    body = inspect.getsource(train_step).rpartition('"""')[2].removeprefix("\n")
    assert blocks(DOCS / "lora.md", "python")[1] + "    return loss, norm\n" == body


def test_the_example_prints_what_is_shown():
    (example,), (shown,) = (blocks(DOCS / "python.md", language) for language in ("python", "text"))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(example, "python.md", "exec"), {})
    assert printed.getvalue() == shown


def test_the_checkpoints_code_runs(tmp_path):
    golden = ROOT / "tests" / "golden" / "peft" / "gpt2"
    (example,) = blocks(DOCS / "models.md", "python")
    llama, ours, folder = ROOT / "tests" / "golden" / "llama" / "tied", tmp_path / "ours", tmp_path / "folder"
    places = {"gpt2": golden, "adapter": golden / "c_attn", "ours": ours, "llama": llama, "folder": folder}
    for shown, path in places.items():
        example = example.replace(f"path/to/{shown}", str(path))
    exec(compile(example, "models.md", "exec"), {})
    assert {path.name for path in ours.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors"}


def test_no_code_is_shown_that_no_test_runs():
    pages = [path for path in PAGES if path.name != "museum.md"]  # tests/museum runs its lines
    assert {path.name: n for path in pages if (n := len(blocks(path, "python")))} == {
        "README.md": 1,
        "lora.md": 2,
        "models.md": 1,
        "python.md": 1,
    }


@each(of_minilora)
def test_a_command_is_understood(path, what):
    if what not in ("minilora help", "minilora", "minilora --version"):
        parse(shlex.split(what)[1:])


@each(lambda path: [m[1] for line in commands(path) if (m := re.match(r"make ([a-z]+)", line))])
def test_a_make_target_exists(path, what):
    assert re.search(rf"^{what}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@each(lambda path: [m[1] for line in commands(path) if (m := re.match(r"python (-m minilora\.\S+|\S+\.py)", line))])
def test_a_program_exists(path, what):
    module = what.removeprefix("-m ")
    assert find_spec(module) if module != what else (ROOT / what).is_file()


@each(targets)
def test_a_link_leads_somewhere(path, what):
    assert (path.parent / what).exists()


@each(lambda path: re.findall(r"(?<!\[)`([a-z_/]+\.py)`", path.read_text()))
def test_a_file_that_is_named_exists(path, what):
    assert (ROOT / what).exists() or (ROOT / "minilora" / what).exists()


def test_commands_are_those_of_an_activated_environment():
    lines = [line for block in blocks(README, "sh") for line in block.splitlines()]
    activated = next(i for i, line in enumerate(lines) if line.startswith("source .venv/bin/activate"))
    assert not any(line.startswith("minilora") for line in lines[:activated])
    for path in PAGES:
        assert ".venv/bin/minilora" not in path.read_text()
    for name in "command_line.md", "models.md":
        assert "`source .venv/bin/activate`" in said(DOCS / name)


def test_the_count_for_gpt3_is_that_of_the_formula():
    gpt3 = find_architecture("gpt3-175b")
    counted = adaptation(gpt3, "lora", rank=4, targets=("q_proj", "v_proj")).trainable
    fraction = f"{100 * counted / gpt3.n_parameters:.3f} %"
    assert f"is {counted:,}, or {fraction} of" in said(DOCS / "lora.md") and f"{fraction} as many numbers" in said(
        README
    )


def test_every_page_is_reached_from_the_readme():
    reached, queue = {README}, [README]
    while queue:
        here = queue.pop()
        there = {(here.parent / target).resolve() for target in targets(here)}
        new = {path for path in there & set(PAGES) if path not in reached}
        reached |= new
        queue += new
    assert reached == set(PAGES)

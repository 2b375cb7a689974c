"""Colours on a terminal and nowhere else; --quiet; and progress while something is measured."""

import io
import json
import os
import re
import subprocess
import sys
import threading

import pytest

from cli.running import prints
from experiments.tiny import byte_gpt
from minilora.cli import main
from minilora.cli.colours import painted
from minilora.data import LMBatch
from minilora.experiments import measure
from minilora.training import evaluation

MODEL = ("--model", "model.safetensors")
ESCAPE = re.compile(rb"\x1b\[")


@pytest.fixture(autouse=True)
def folder(gpt_folder, monkeypatch):
    monkeypatch.chdir(gpt_folder)
    return gpt_folder


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("environment", "stream", "coloured"),
    [
        ({"TERM": "xterm"}, Terminal(), True),
        ({"TERM": "xterm", "NO_COLOR": ""}, Terminal(), True),  # no-color.org: when present and not an empty string
        ({"TERM": "xterm", "NO_COLOR": "0"}, Terminal(), False),
        ({"TERM": "dumb"}, Terminal(), False),
        ({"TERM": "xterm"}, io.StringIO(), False),
        ({"TERM": "xterm"}, None, False),
    ],
)
def test_where_colours_are_shown(environment, stream, coloured, monkeypatch):
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert painted("yes", "green", stream) == ("\x1b[32myes\x1b[0m" if coloured else "yes")


def on_a_terminal(*arguments, **environment):
    """What a command writes to a terminal."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "minilora", *arguments]
    plain = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    variables = plain | {"TERM": "xterm", "PYTHON_COLORS": "0"} | environment
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=variables) as process:
        os.close(theirs)
        said = b""
        while True:
            try:
                read = os.read(ours, 4096)
            except OSError:  # its end is closed
                break
            if not read:
                break
            said += read
        process.wait()
    os.close(ours)
    return said


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no terminals here")
def test_a_command_on_a_terminal_in_a_pipe_and_with_no_color():
    for command in (["help"], ["finetune", "--rank", "many"]):
        assert ESCAPE.search(on_a_terminal(*command)) and not ESCAPE.search(on_a_terminal(*command, NO_COLOR="1"))
        done = subprocess.run([sys.executable, "-m", "minilora", *command], capture_output=True, check=False)
        assert not ESCAPE.search(done.stdout + done.stderr)


# ---- --quiet


def test_quiet_leaves_remarks_out_and_not_results(capsys, monkeypatch):
    monkeypatch.setattr(measure, "bar_of", lambda progress: {"disable": not progress})  # at once, and it stays
    options = ("generate", "The ", *MODEL, "--max-tokens", "100000")
    loud = prints(*options)
    assert "only" in capsys.readouterr().err
    assert prints(*options, "--quiet") == loud and capsys.readouterr().err == ""
    options = ("evaluate", *MODEL, "--split", "valid")
    loud = prints(*options)
    assert "answers" in capsys.readouterr().err
    assert prints(*options, "--quiet") == loud and capsys.readouterr().err == ""


def test_errors_are_told_all_the_same(capsys):
    assert main(["evaluate", "--model", "none", "--quiet"]) == 2
    assert capsys.readouterr().err.startswith("minilora evaluate: --model was none; ")


def test_a_run_that_is_quiet_prints_its_result_and_nothing_else(tmp_path, capsys):
    quick = ("--steps", "2", "--batch-size", "2", "--threads", "1", "--lr", "0.05", "--out", tmp_path)
    printed = prints("finetune", *MODEL, "--text", "notes.txt", *quick, "--quiet")
    assert capsys.readouterr().err == "" and "parameters trained" in printed
    result = json.loads((tmp_path / "result.json").read_text())
    assert json.loads(prints("finetune", *MODEL, "--text", "notes.txt", *quick, "--json")) == result


# ---- progress


def test_measuring_shows_what_is_done_and_not_what_is_waiting(monkeypatch):
    """A bar over the batches would be full at once: all of them are handed to the threads before one is measured."""
    model, events, lock = byte_gpt(), [], threading.Lock()
    forward = model.loss

    def loss(*arguments, **options):
        result = forward(*arguments, **options)
        with lock:
            events.append("measured")
        return result

    def bar(items, *_, **__):
        for item in items:
            with lock:
                events.append("shown")
            yield item

    monkeypatch.setattr(model, "loss", loss, raising=False)
    monkeypatch.setattr(evaluation, "tqdm", bar)
    ids = evaluation.numpy.arange(40).reshape(4, 10) % 250
    batch = LMBatch(ids[:, :-1], ids[:, 1:], evaluation.numpy.ones((4, 9), bool))
    evaluation.evaluate_loss(model, [batch] * 6, progress="loss")
    assert events.count("shown") == events.count("measured") == 6
    for i in range(len(events)):
        assert events[: i + 1].count("shown") <= events[: i + 1].count("measured")

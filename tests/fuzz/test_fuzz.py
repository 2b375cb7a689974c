"""Damaged files load, or are refused with the reason, in little time and memory; and what would break that is found."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fuzz import run
from fuzz.mutations import join_safetensors, mutate_bytes, mutate_json, split_safetensors
from minilora.files import save_arrays


@pytest.mark.parametrize("files", [400, pytest.param(10_000, marks=pytest.mark.slow)])
def test_damaged_files_load_or_are_refused(files):
    seed = 0 if files == 400 else 1
    command = [sys.executable, run.__file__, str(files), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(run.__file__).parents[2])
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert report["failures"] == [] and done.returncode == 0
    assert report["loaded"] + report["refused"] == files and min(report["loaded"], report["refused"]) > files / 20
    assert report["slowest, seconds"][0] < run.SECONDS and report["largest, bytes"][0] < run.BYTES
    assert report["messages"] > 20  # many ways of being wrong were tried


@pytest.mark.parametrize("files", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_files_that_mean_harm_load_or_are_refused(files):
    command = [sys.executable, run.__file__, str(files), "2", "structures"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(run.__file__).parents[2])
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert report["failures"] == [] and done.returncode == 0
    assert report["loaded"] + report["refused"] == files and report["refused"] > files / 2
    assert report["slowest, seconds"][0] < run.SECONDS and report["largest, bytes"][0] < run.BYTES


def fail(place):
    raise KeyError("config")


def refuse_something(place):
    raise ValueError("math domain error")


def take_forever(place):
    while True:
        pass


@pytest.mark.parametrize(
    ("read", "error"),
    [(fail, "KeyError"), (refuse_something, "it does not name the file"), (take_forever, "TimeoutError")],
)
def test_another_error_and_a_loop_without_end_are_failures(read, error, monkeypatch, tmp_path):
    monkeypatch.setattr(run, "SECONDS", 0.2)
    loaded, refusal, failure = run.attempt(read, tmp_path)
    assert not loaded and refusal is None and failure.startswith(error)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit is Linux's")
def test_too_much_memory_is_a_failure():
    program = (
        "import numpy, fuzz.run as run; run.limit_memory(run.BYTES)\n"
        "print(run.attempt(lambda place: numpy.empty(2 * run.BYTES, 'uint8'), '')[2])"
    )
    tests = Path(run.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tests)
    assert "MemoryError" in done.stdout, done.stderr


def test_a_mutation_changes_something_and_the_rest_is_still_there(tmp_path):
    rng, value = np.random.default_rng(0), {"config": {"rank": 2, "targets": ["q_proj", "v_proj"]}, "kind": "lora"}
    changed = [mutate_json(value, rng) for _ in range(50)]
    assert value == {"config": {"rank": 2, "targets": ["q_proj", "v_proj"]}, "kind": "lora"}
    assert sum(repr(c) != repr(value) for c in changed) > 45 and len({repr(c) for c in changed}) > 30
    save_arrays(tmp_path / "file", {"W": np.ones(3)}, {"kind": "test"})
    content = (tmp_path / "file").read_bytes()
    assert split_safetensors(join_safetensors(*split_safetensors(content))) == split_safetensors(content)
    assert sum(mutate_bytes(content, rng) != content for _ in range(50)) > 40

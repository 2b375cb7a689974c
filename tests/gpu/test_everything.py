"""`make gpu` without a GPU: each part survives the failure of another, and the summary says what became of each."""

import json
import shlex
import subprocess
import sys
import time

import pytest

from gpu.everything import LONGEST, PARTS, Part, everything, last_lines, of_bench, of_pretraining, of_tests, shortened
from minilora.cli.verbs import parse


def test_all_parts_take_less_than_eight_minutes():
    assert sum(part.seconds for part in PARTS) < 8 * 60


def test_a_part_that_fails_or_hangs_does_not_keep_the_next_from_running(tmp_path):
    parts = [
        Part("fails", ("-c", "print('working'); raise SystemExit('no device')"), 20, lambda log, folder: []),
        Part("hangs", ("-c", "import time; print('begun', flush=True); time.sleep(60)"), 2, last_lines(1)),
        Part("cannot be read", ("-c", "print('done')"), 20, lambda log, folder: json.loads(log)),
        Part("works", ("-c", "import pathlib, sys; print('42 tokens/s')"), 20, last_lines(1)),
    ]
    started = time.perf_counter()
    lines = everything(tmp_path, parts)
    assert time.perf_counter() - started < 30
    text = "\n".join(lines)
    assert "fails: ended with 1" in text and "no device" in text
    assert "hangs: stopped after 2 s" in text and "begun" in text
    assert "cannot be read: done" in text and "could not be read" in text
    assert lines[-1].strip() == "42 tokens/s"
    assert (tmp_path / "summary.txt").read_text().splitlines() == lines
    assert sorted(p.name for p in tmp_path.glob("*.log")) == [
        "cannot-be-read.log",
        "fails.log",
        "hangs.log",
        "works.log",
    ]


def test_its_folder_is_where_a_part_writes(tmp_path):
    write = Part("writes", ("-c", "import sys; open(sys.argv[1] + '/it', 'w')", "{out}"), 20, lambda log, folder: [])
    everything(tmp_path / "new", [write])
    assert (tmp_path / "new" / "it").exists()


def test_the_commands_are_those_of_the_command_line():
    ours = [part for part in PARTS if part.command[:2] == ("-m", "minilora")]
    assert len(ours) == 2
    for part in ours:
        parse(list(part.command[2:]))


def test_the_summary_has_at_most_thirty_lines():
    assert len(shortened([str(i) for i in range(100)])) <= 30
    assert shortened(["one"]) == ["one"]
    assert LONGEST < 30


def test_what_is_said_of_tests():
    log = "..F\nFAILED tests/a.py::b - AssertionError\nERROR tests/c.py\n== 1 failed, 2 passed, 1 error in 3.2s ==\n"
    assert of_tests(log, None) == [
        "1 failed, 2 passed, 1 error in 3.2s",
        "  FAILED tests/a.py::b",
        "  ERROR tests/c.py",
    ]
    many = "".join(f"FAILED t.py::{i} - x\n" for i in range(9)) + "9 failed in 1s"
    assert of_tests(many, None)[-1] == "  and 6 more"


def test_what_is_said_of_the_benchmark_and_of_pretraining(tmp_path):
    assert of_bench("", tmp_path) == [] and of_pretraining("", tmp_path) == []
    ratio = {"median": 2.0, "min": 1.5, "max": 2.5}
    bench = {
        "train": {"S1": {"lora": {"tokens_per_second": 12345.6, "ratio": ratio}}},
        "generate": {"S1": {"lora": {"seconds": {"minilora": {"median": 0.01}}}}},
        "memory": {"S1": {"lora": {"minilora": {"step": 2e6}, "torch": {"step": 8e6}}}},
    }
    (tmp_path / "bench.json").write_text(json.dumps(bench))
    (tmp_path / "pretraining").mkdir()
    history = {"losses": [5.5, 4.0, 2.25], "seconds": 2.0, "tokens": 6144}
    (tmp_path / "pretraining" / "history.json").write_text(json.dumps(history))
    assert of_pretraining("", tmp_path) == ["3 steps, loss 5.50 -> 2.25 nats per byte, 3,072 tokens/s"]
    assert of_bench("", tmp_path) == [
        "S1, lora: 12,346 tokens/s, 2.00 [1.50, 2.50] times PyTorch's",
        "S1, generating: 100 tokens/s",
        "S1, LoRA's memory, MB: minilora 2, torch 8",
    ]


@pytest.mark.slow
def test_here_without_a_gpu_it_says_what_is_missing(tmp_path):
    done = subprocess.run(
        [sys.executable, "tests/gpu/everything.py", "--out", str(tmp_path)], capture_output=True, text=True, timeout=480
    )
    assert done.returncode == 0, done.stderr
    for part in PARTS:
        assert f"{part.name}: " in done.stdout
    assert len(done.stdout.splitlines()) <= 30, shlex.join(done.args)

"""`minilora bench`: what users get wrong; what it measures is in tests/experiments/test_bench.py."""

import pytest

from cli.running import check_refused


@pytest.fixture(autouse=True)
def folder(gpt_folder, monkeypatch):
    monkeypatch.chdir(gpt_folder)
    return gpt_folder


WRONG = {
    "bench of what is not there": (["bench", "walk"], r"parts held 'walk'; .* train, generate, memory, scaling"),
    "bench of no shape": (["bench", "--shapes", "S9"], r"shapes held 'S9'; .* S1, S2, S3, gpt2-small, smollm2"),
    "bench in no round": (["bench", "--rounds", "0"], r"--rounds was 0; it must be an integer from 1 to 10,000$"),
    "bench against nobody": (["bench", "--against", "jax"], "against held 'jax'; .* torch, torch-compiled, llama.cpp$"),
    "bench against what is not installed": (
        ["bench", "--against", "torch", "--peer-python", "nowhere/python"],
        r"--against torch needs .* nowhere/python is not there: make it with: python3 -m venv .*pip install torch",
    ),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_written(arguments, message, folder, capsys):
    check_refused(arguments, message, folder, capsys)

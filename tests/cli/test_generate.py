"""`minilora generate`: prompts, what is drawn, and the length."""

import os
import re
import subprocess
import sys

import pytest

from cli.running import check_refused, prints
from minilora.arrays.backend import gpu_available


@pytest.fixture(autouse=True)
def folder(gpt_folder, monkeypatch):
    monkeypatch.chdir(gpt_folder)
    return gpt_folder


MODEL = ("--model", "model.safetensors")
PROMPT = ("generate", "The ", *MODEL)


def test_generate_begins_with_the_prompt_and_repeats_with_its_seed():
    drawn = ["generate", "Grüße", *MODEL, "--temperature", "1", "--max-tokens", "20"]
    one, same, other = (prints(*drawn, "--seed", seed) for seed in (0, 0, 1))
    assert one.startswith("Grüße") and len(one) > len("Grüße\n")
    assert one == same != other


def test_generate_is_greedy_by_default_and_top_k_1_is_greedy():
    greedy = prints("generate", "The ", *MODEL, "--max-tokens", 20)
    drawn = [*MODEL, "--max-tokens", 20, "--temperature", 1]
    assert prints("generate", "The ", *drawn, "--top-k", 1) == greedy
    assert prints("generate", "The ", *drawn, "--top-p", 1e-9) == greedy
    assert prints("generate", "The ", *drawn) != greedy


def test_generate_with_an_adapter_and_with_the_bundled_decoder():
    own = prints("generate", "The ", *MODEL, "--max-tokens", 20)
    assert prints("generate", "The ", *MODEL, "--adapter", "adapter.safetensors", "--max-tokens", 20) != own
    bundled = prints("generate", "The function returns ", "--max-tokens", 8)
    assert re.fullmatch(r"The function returns [a-z ]+", bundled.rstrip("\n"))


def test_source_puts_the_line_break_of_training_after_the_prompt_and_prints_the_answer_alone():
    drawn = ("--max-tokens", "40", "--temperature", "3", *MODEL)
    answer = prints("generate", "1 + 2", "--source", *drawn)
    assert "1 + 2\n" + answer == prints("generate", "1 + 2\n", *drawn)
    assert "1 + 2" + answer != prints("generate", "1 + 2", *drawn)


def test_as_a_module():
    module = [sys.executable, "-m", "minilora"]
    done = subprocess.run([*module, "generate", "The ", *MODEL, "--max-tokens", "5"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == prints("generate", "The ", *MODEL, "--max-tokens", 5)
    wrong = subprocess.run([*module, "generate", "", *MODEL], capture_output=True, text=True)
    assert wrong.returncode == 2 and wrong.stdout == "" and len(wrong.stderr.splitlines()) == 1


def test_printing_where_not_every_character_can_be_printed():
    """A model of bytes writes what is no UTF-8 and shown as U+FFFD, which Windows' own encoding lacks."""
    command = [sys.executable, "-m", "minilora", "generate", "The ", *MODEL, "--temperature", "1"]
    environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(command, capture_output=True, env=environment)
    assert "\ufffd" in prints("generate", "The ", *MODEL, "--temperature", 1)
    assert (done.returncode, done.stderr) == (0, b"") and done.stdout.startswith(b"The ")


def test_more_than_the_model_takes_is_said_and_not_added(capsys):
    """Of 256 bytes, one is the prompt's: 255 fit."""
    few = prints("generate", "a", *MODEL, "--max-tokens", 255)
    assert capsys.readouterr().err == ""
    assert prints("generate", "a", *MODEL, "--max-tokens", 100_000) == few
    said = capsys.readouterr().err
    assert said == (
        "minilora generate: only 255 of --max-tokens 100000 fit: with the prompt's 1 they are the 256 that the model "
        "takes\n"
    )
    prints("generate", "a" * 200, *MODEL)  # --max-tokens is 120
    assert "only 56 of --max-tokens 120 fit" in capsys.readouterr().err


WRONG = {
    "prompt empty": (["generate", "", *MODEL], r"the prompt was empty; it must have 1 to 255 tokens"),
    "prompt too long": (["generate", "x" * 256, *MODEL], r"the prompt had 256 tokens; it must have 1 to 255"),
    "prompt not UTF-8": (["generate", "\udcff", *MODEL], r"prompt"),
    "no tokens": ([*PROMPT, "--max-tokens", "0"], r"--max-tokens was 0; .* from 1 to "),
    "temperature -1": ([*PROMPT, "--temperature", "-1"], r"--temperature was -1; .* from 0 to "),
    "temperature nan": ([*PROMPT, "--temperature", "nan"], r"--temperature was nan; .* from 0 to "),
    "top-k 0": ([*PROMPT, "--temperature", "1", "--top-k", "0"], r"--top-k was 0; .* from 1 to "),
    "top-p 2": ([*PROMPT, "--temperature", "1", "--top-p", "2"], r"--top-p was 2; it must be a number above 0, to 1$"),
    "generate seed -1": ([*PROMPT, "--seed", "-1"], r"seed was -1"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_written(arguments, message, folder, capsys):
    check_refused(arguments, message, folder, capsys)


@pytest.mark.skipif(gpu_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(folder, capsys):
    check_refused([*PROMPT, "--device", "gpu"], r"--device was 'gpu', but no CUDA device .* CuPy .*", folder, capsys)

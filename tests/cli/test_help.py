"""Help, versions, and words that are not understood."""

import re
import shlex
import subprocess
import sys

import pytest

import minilora
from minilora.cli import main
from minilora.cli.verbs import VERBS, parse


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_an_example_that_works(verb, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    program, *arguments = shlex.split(re.search(r"example: (.*)", text)[1])
    assert program == "minilora" and parse(arguments).verb == verb


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"minilora {minilora.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["waltz"], "minilora: there is no verb waltz; there are demo, .*merge"),
        (["finetune", "--rank", "many"], "--rank was many; it must be an integer"),
        (["finetune", "--device", "tpu"], "--device was tpu; it must be one of auto, cpu, gpu"),
        (["finetune", "--method", "magic"], "--method was magic; .*lora.*full"),
        (["evaluate", "--split", "train"], "--split was train; .*valid.*test"),
        (["pretrain", "--kind", "both"], "--kind was both; .*decoder.*encoder"),
        (["pretrain", "--corpus", "poems"], "--corpus was poems; .*prose.*code"),
        (["merge", "--adapter", "adapter.safetensors"], "--out"),
        (["generate"], "prompt"),
    ],
)
def test_what_cannot_be_parsed_names_the_option_and_its_choices(arguments, message, capsys):
    assert main(arguments) == 2 and re.search(message, capsys.readouterr().err.splitlines()[-1])


def test_output_that_nobody_reads_any_more_is_no_error():
    command = [sys.executable, "-m", "minilora", "count", "published"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()  # as head does, when it has its lines
        assert process.stderr.read() == b"" and process.wait() == 141

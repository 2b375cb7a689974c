"""`minilora evaluate`: splits, and adapters by file and by folder."""

import pytest

from cli.running import QUICK, check_refused, measures, prints


@pytest.fixture(autouse=True)
def folder(gpt_folder, monkeypatch):
    monkeypatch.chdir(gpt_folder)
    return gpt_folder


MODEL = ("--model", "model.safetensors")


def test_evaluate_on_another_split():
    test, valid = (prints("evaluate", *MODEL, "--task", "sums.csv", "--split", s) for s in ("test", "valid"))
    assert measures(test) and measures(test) != measures(valid)
    assert measures(test) == measures(prints("evaluate", *MODEL, "--task", "sums.csv"))


def test_an_adapter_is_found_in_its_folder(tmp_path):
    prints("finetune", *MODEL, "--task", "sums.csv", *QUICK, "--out", tmp_path)
    evaluate = ("evaluate", *MODEL, "--task", "sums.csv")
    by_folder, by_file, base = (
        prints(*evaluate, *adapter)
        for adapter in (["--adapter", tmp_path], ["--adapter", tmp_path / "adapter.safetensors"], [])
    )
    assert by_folder == by_file != base


WRONG = {
    "evaluate, no such file": (
        ["evaluate", *MODEL, "--task", "none.csv"],
        r"--task was none.csv, but there is no such file",
    ),
    "adapter is a model": (
        ["evaluate", *MODEL, "--adapter", "model.safetensors"],
        r"--adapter was model.safetensors, which is a whole model; give it as --model$",
    ),
    "adapter of another shape": (["evaluate", *MODEL, "--adapter", "wider.safetensors"], r"wider.safeten.* \(2, 24\)"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_written(arguments, message, folder, capsys):
    check_refused(arguments, message, folder, capsys)

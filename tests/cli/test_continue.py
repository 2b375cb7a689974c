"""`minilora finetune` on a folder that holds a run: it goes on, says that it is finished, or says what differs."""

import json
import re
import signal

import pytest

import minilora
from experiments.tiny import byte_gpt, csv_text, sums
from minilora.cli import main
from minilora.data import PairTask
from minilora.experiments.run_result import finished_run
from minilora.models import weights_hash
from minilora.training.checkpoint import CHECKPOINT

OPTIONS = ("--model", "model.safetensors", "--task", "sums.csv", "--steps", "4", "--batch-size", "2", "--threads", "1")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with a small model, another one, and a task, in which the command is given."""
    minilora.save_model(byte_gpt(), tmp_path / "model.safetensors")
    minilora.save_model(byte_gpt(seed=1), tmp_path / "other.safetensors")
    (tmp_path / "sums.csv").write_text(csv_text(sums()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def finetune(*changes):
    return main(["finetune", *OPTIONS, "--out", "run", *changes])


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def stopped(folder, monkeypatch, capsys):
    """The folder of a run in whose second step Ctrl-C was pressed, and what was printed."""
    draw, calls = PairTask.sample_batch, iter(range(1, 99))

    def sample_batch(*arguments):
        if next(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return draw(*arguments)

    monkeypatch.setattr(PairTask, "sample_batch", sample_batch)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal
    assert finetune() == 130
    signal.signal(signal.SIGINT, before)
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    return folder / "run", capsys.readouterr().err


def test_ctrl_c_says_what_is_saved_and_which_command_continues(stopped):
    run, said = stopped
    command = " ".join(["minilora finetune", *OPTIONS, "--out run"])
    assert f"stopped after step 2 of 4, which is saved in run/{CHECKPOINT}; to continue:\n  {command}\n" in said
    assert not (run / "result.json").exists()


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        (("--rank", "2"), "settings.rank"),
        (("--steps", "5", "--lr", "0.5"), "lr, steps"),
        (("--seed", "3"), "seed"),
        (("--model", "other.safetensors"), "model_id"),
        (("--method", "bitfit"), "lr, method, settings.alpha, .*settings.targets"),
    ],
)
def test_another_command_is_refused_by_what_differs(stopped, changes, names, capsys):
    run, _ = stopped
    before = contents(run)
    assert finetune(*changes) == 2
    assert contents(run) == before
    said = capsys.readouterr().err
    assert f"run/{CHECKPOINT} was made with another configuration" in said
    assert re.search(rf"these differ: {names}$", said.strip())


def test_the_same_command_ends_as_if_it_had_not_been_stopped(stopped):
    run, _ = stopped
    assert finetune() == 0 and finetune("--out", "whole") == 0
    ours, whole = contents(run), contents(run.parent / "whole")
    assert ours.keys() == whole.keys() == {"adapter.safetensors", "config.json", "history.json", "result.json"}
    assert ours["adapter.safetensors"] == whole["adapter.safetensors"]
    ours, whole = (json.loads(c["history.json"]) | {"seconds": 0} for c in (ours, whole))
    assert ours == whole and len(ours["losses"]) == 4


def test_a_finished_run_says_so_and_is_not_done_again(folder, capsys):
    assert finetune() == 0
    before, first = contents(folder / "run"), capsys.readouterr().out
    assert finetune() == 0
    assert contents(folder / "run") == before
    assert capsys.readouterr().out == "run already holds this run, finished: nothing was trained\n" + first


def test_a_finished_run_is_not_overwritten_by_another_one(folder, capsys):
    assert finetune() == 0
    before = contents(folder / "run")
    assert finetune("--alpha", "3") == 2
    assert contents(folder / "run") == before
    assert "run holds a finished run of another configuration" in (said := capsys.readouterr().err)
    assert said.strip().endswith("these differ: settings.alpha")


def test_a_result_whose_settings_have_hostile_names_is_refused_in_one_line(folder):
    assert finetune() == 0
    path = folder / "run" / "result.json"
    result = json.loads(path.read_text())
    result["config"]["settings"] |= {"x" * 5000: 1, "\x1b[2J\n": 2}
    path.write_text(json.dumps(result))
    with pytest.raises(ValueError, match="holds a finished run of another configuration") as refusal:
        finished_run(folder / "run", {"settings": {}})
    assert len(str(refusal.value)) < 500 and str(refusal.value).isprintable()


def test_the_result_says_seed_versions_machine_and_model(folder):
    assert finetune("--seed", "7") == 0
    result = json.loads((folder / "run" / "result.json").read_text())
    assert {"minilora", "python", "numpy", "processor", "machine", "date"} <= result.keys()
    assert result["config"]["train"]["seed"] == 7
    assert result["model_id"] == weights_hash(byte_gpt())


def test_a_step_that_does_not_fit_into_memory_ends_with_what_it_needs(monkeypatch, capsys):
    def loss(*args, **options):
        raise MemoryError("Unable to allocate 7.45 GiB for an array")

    monkeypatch.setattr(minilora.GPT, "loss", loss)
    assert finetune() == 2
    said = capsys.readouterr().err
    assert "minilora finetune: step 1 does not fit into memory (Unable to allocate 7.45 GiB for an array). By" in said
    assert "Less is needed with a smaller batch" in said


def test_memory_that_is_full_without_a_word_is_said_to_be(monkeypatch, capsys):
    def full(options):
        raise MemoryError

    monkeypatch.setattr("minilora.cli.rank.run", full)
    assert main(["rank", "1,2;2,5"]) == 2
    assert capsys.readouterr().err == "minilora rank: out of memory\n"

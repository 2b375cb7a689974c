"""How `minilora finetune` ends: with finite numbers, and a folder whose files agree; or with a word, and not with 0."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minilora
from experiments.tiny import byte_gpt, csv_text, sums
from methods.tiny import same_bits
from minilora.cli import main
from minilora.data import PairTask, load_task
from minilora.experiments import finetune as experiment
from minilora.experiments.finetune import FinetuneConfig
from minilora.files import load_arrays, save_arrays
from minilora.training import Diverged, TrainConfig
from minilora.training.checkpoint import CHECKPOINT

OPTIONS = ("--model", "model.safetensors", "--task", "sums.csv", "--steps", "4", "--batch-size", "2", "--threads", "1")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with a small model and a task, in which the command is given."""
    minilora.save_model(byte_gpt(), tmp_path / "model.safetensors")
    (tmp_path / "sums.csv").write_text(csv_text(sums()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def finetune(*changes):
    return main(["finetune", *OPTIONS, "--out", "run", *changes])


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def strict(path):
    """What a JSON file holds; NaN and Infinity are no JSON."""

    def refuse(constant):
        raise AssertionError(f"{path} holds {constant}")

    return json.loads(path.read_text(), parse_constant=refuse)


# ---- numbers that are not finite


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_run_that_diverges_in_its_last_step_is_not_finished(method, folder):
    model = byte_gpt()
    config = FinetuneConfig("sums.csv", method, None, TrainConfig(steps=1, batch_size=2, lr=1e308, threads=1))
    task = load_task("sums.csv", length=model.longest_input)
    with pytest.raises(Diverged, match=r"became infinite or NaN at step 1; a lower lr than 1e\+308 may help"):
        experiment.run(model, task, config, folder / "run", checkpoint_every=50)
    assert not {"result.json", "adapter.safetensors", "model.safetensors"} & contents(folder / "run").keys()


def test_a_measure_that_is_not_finite_is_no_result(folder, monkeypatch, capsys):
    monkeypatch.setattr(experiment, "measure", lambda model, task, **how: {"loss": float("nan"), "bits_per_byte": 1.0})
    assert finetune() == 2
    assert "after the last step loss was infinite or NaN" in capsys.readouterr().err
    assert not (folder / "run" / "result.json").exists()


def test_all_json_of_a_run_is_strict(folder):
    assert finetune() == 0
    assert [strict(path) for path in (folder / "run").glob("*.json")]


def spoil(path, kind):
    """Put a NaN into the first array of a file that minilora wrote; returns the array's name."""
    arrays, about = load_arrays(path, kind)
    name = next(iter(arrays))
    arrays[name].flat[0] = np.nan
    save_arrays(path, arrays, about)
    return name


@pytest.mark.parametrize(
    "command",
    ["generate 1+2 --max-tokens 2", "evaluate --task sums.csv", "merge --out merged.safetensors"],
)
def test_an_adapter_with_nan_is_refused_by_name(command, folder, capsys):
    assert finetune() == 0
    name = spoil(folder / "run" / "adapter.safetensors", "lora")
    capsys.readouterr()
    assert main([*command.split(), "--model", "model.safetensors", "--adapter", "run"]) == 2
    said = capsys.readouterr().err
    assert f"run/adapter.safetensors: {name} has values that are infinite or NaN; all must be finite" in said
    assert not (folder / "merged.safetensors").exists()


def test_a_model_with_nan_is_refused_by_name(folder, capsys):
    arrays, about = load_arrays(folder / "model.safetensors", "gpt")
    arrays["blocks.0.attn.q_proj.W"][0, 0] = np.inf
    save_arrays(folder / "model.safetensors", arrays, about)
    assert finetune() == 2
    assert "blocks.0.attn.q_proj.W has values that are infinite or NaN" in capsys.readouterr().err


def test_a_peft_adapter_with_nan_is_refused_by_name(folder, capsys):
    assert finetune() == 0
    assert main("export-peft --model model.safetensors --adapter run --out peft".split()) == 0
    from safetensors.numpy import load_file, save_file

    tensors = load_file("peft/adapter_model.safetensors")
    name = next(iter(tensors))
    tensors[name].flat[0] = np.nan
    save_file(tensors, "peft/adapter_model.safetensors")
    capsys.readouterr()
    assert main("import-peft peft --model model.safetensors --out back.safetensors".split()) == 2
    assert f"{name.removeprefix('base_model.model.')} has values that are infinite or NaN" in capsys.readouterr().err
    assert not (folder / "back.safetensors").exists()


def test_a_model_that_is_not_finite_is_not_saved(folder):
    model = byte_gpt()
    model.blocks[0].attn.q_proj.W.data[0, 0] = np.nan
    with pytest.raises(ValueError, match=r"bad.safetensors: blocks.0.attn.q_proj.W has values that are infinite"):
        minilora.save_model(model, folder / "bad.safetensors")
    assert not (folder / "bad.safetensors").exists()


# ---- a finished run whose files do not agree


def zeroed(adapter):
    arrays, about = load_arrays(adapter, "lora")
    save_arrays(adapter, {name: np.zeros_like(array) for name, array in arrays.items()}, about)


def another_runs(adapter):
    assert main(["finetune", *OPTIONS, "--out", "other", "--seed", "5"]) == 0
    shutil.copy("other/adapter.safetensors", adapter)


@pytest.mark.parametrize("change", [zeroed, another_runs, lambda adapter: adapter.write_bytes(b"")])
def test_a_finished_run_whose_adapter_is_not_its_own_is_not_finished(change, folder, capsys):
    assert finetune() == 0
    change(folder / "run" / "adapter.safetensors")
    before = contents(folder / "run")
    capsys.readouterr()
    assert finetune() == 2
    assert "adapter.safetensors is not the file that result.json describes; put it back" in capsys.readouterr().err
    assert contents(folder / "run") == before


def test_a_finished_run_whose_adapter_is_missing_says_so(folder, capsys):
    assert finetune() == 0
    (folder / "run" / "adapter.safetensors").unlink()
    assert finetune() == 2
    assert "the run in run is finished, but adapter.safetensors is missing; put it back" in capsys.readouterr().err


def history(**changes):
    return json.dumps({"losses": [], "grad_norms": [], "validation": [], "seconds": 1.0, "tokens": 1} | changes)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("result.json", "{}", "result.json lacks the field config"),
        ("result.json", '{"config": 3}', "result.json: config was 3; it must be an object"),
        ("result.json", "[]", "result.json holds a list"),
        ("history.json", '{"loss": "x"}', "history.json cannot be read: a history must have the fields grad_norms"),
        ("history.json", "{}", "a history must have the fields"),
        ("history.json", history(losses="x"), "losses must hold finite numbers"),
        ("history.json", history(losses=[float("nan")]), "losses must hold finite numbers"),
        ("history.json", history(validation=[3]), "validation must be a list of pairs"),
        ("history.json", history(tokens="1"), "tokens, and the steps of validation, must be integers"),
        ("history.json", history(seconds=10**400), "seconds must hold finite numbers"),
    ],
)
def test_a_damaged_record_is_an_error_that_names_file_and_field(file, content, message, folder, capsys):
    assert finetune() == 0
    (folder / "run" / file).write_text(content)
    capsys.readouterr()
    assert finetune() == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("field", ["loss", "bits_per_byte", "file", "trainable", "percent", "task", "model_id"])
@pytest.mark.parametrize("value", ["gone", "text", None])
def test_every_field_of_a_result_is_looked_at_before_it_is_used(field, value, folder, capsys):
    assert finetune() == 0
    result = json.loads((folder / "run" / "result.json").read_text())
    if value == "gone":
        del result[field]
    else:
        result[field] = 3 if (field == "model_id" and value == "text") else value
    (folder / "run" / "result.json").write_text(json.dumps(result))
    capsys.readouterr()
    assert finetune() == 2
    assert "result.json" in (said := capsys.readouterr().err) and field in said


def test_the_result_and_not_config_json_says_which_run_it_was(folder, capsys):
    """A run of another configuration that was refused, or killed, may have left its config.json."""
    assert finetune() == 0
    config = json.loads((folder / "run" / "config.json").read_text())
    (folder / "run" / "config.json").write_text(json.dumps(config | {"seed": 7}))
    assert finetune() == 0
    assert finetune("--seed", "7") == 2
    assert "these differ: seed" in capsys.readouterr().err


# ---- the folder is one run's until its result is there


def test_a_run_that_begins_while_another_one_is_measured_is_refused(folder, monkeypatch, capsys):
    real, statuses = experiment.measure, []

    def measure(*arguments, **how):
        if not statuses:
            statuses.append(None)
            statuses[0] = finetune("--seed", "9")
        return real(*arguments, **how)

    monkeypatch.setattr(experiment, "measure", measure)
    assert finetune() == 0 and statuses == [2]
    assert "another run is writing to run; wait for it" in capsys.readouterr().err
    assert finetune() == 0, "the folder holds the first run, whole"


def test_a_folder_that_is_deleted_during_a_run_is_an_error(folder, monkeypatch, capsys):
    draw, calls = PairTask.sample_batch, iter(range(1, 99))

    def sample_batch(*arguments):
        if next(calls) == 2:
            shutil.rmtree("run")
        return draw(*arguments)

    monkeypatch.setattr(PairTask, "sample_batch", sample_batch)
    assert finetune() == 2
    assert "run was removed or replaced while a run was writing to it" in capsys.readouterr().err
    assert not (folder / "run" / "result.json").exists()


def test_a_folder_that_is_deleted_while_a_run_is_measured_is_an_error(folder, monkeypatch, capsys):
    real = experiment.measure

    def measure(*arguments, **how):
        shutil.rmtree("run")
        return real(*arguments, **how)

    monkeypatch.setattr(experiment, "measure", measure)
    assert finetune() == 2
    assert "run was removed or replaced" in capsys.readouterr().err
    assert not (folder / "run").exists()


def test_a_run_of_another_process_in_the_same_folder_leaves_the_first_ones_result(folder):
    """Two real processes, the second begun while the first one measures."""
    slow = (
        "import sys, time; from minilora.experiments import finetune as f; real = f.measure\n"
        "def measure(*a, **how): print('measuring', flush=True); sys.stdin.readline(); return real(*a, **how)\n"
        "f.measure = measure; from minilora.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    command = ["finetune", *OPTIONS, "--out", "run"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-c", slow, *command], text=True, env=environment, **pipes) as first:
        try:
            assert first.stdout.readline() == "measuring\n"
            assert finetune("--seed", "9") == 2
            first.communicate("go on\n", timeout=60)
        finally:
            first.kill()
    assert first.returncode == 0
    assert json.loads((folder / "run" / "result.json").read_text())["config"]["train"]["seed"] == 0
    assert finetune() == 0 and finetune("--seed", "9") == 2


# ---- a continued run


def test_a_checkpoint_beyond_the_last_step_is_refused(folder, monkeypatch, capsys):
    monkeypatch.setattr("minilora.cli.finetune.CHECKPOINT_EVERY", 2)
    monkeypatch.setattr(experiment, "remove_checkpoints", lambda folder: None)
    assert finetune() == 0
    arrays, about = load_arrays(folder / "run" / CHECKPOINT, "run")
    about["step"] = 5
    for name in ("losses", "grad_norms"):
        about["history"][name].append(1.0)
    save_arrays(folder / "run" / CHECKPOINT, arrays, about)
    for name in ("result.json", "checkpoint.previous.safetensors"):
        (folder / "run" / name).unlink()
    capsys.readouterr()
    assert finetune() == 2
    assert "step was 5; the run has 4 steps" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not bind a process to cores")
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one core")
def test_a_run_that_is_begun_on_two_cores_and_continued_on_one_ends_with_the_same_bits(folder):
    """Real processes: the first is killed after its checkpoint; how many threads there are is not an option."""
    killed_at = (
        "import sys, os, signal, minilora.cli.finetune as v; v.CHECKPOINT_EVERY = 2\n"
        "from minilora.data import PairTask; draw, n = PairTask.sample_batch, iter(range(99))\n"
        "def sample(*a):\n"
        "    if next(n) == int(os.environ['KILLED_AT']): os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return draw(*a)\n"
        "PairTask.sample_batch = sample\n"
        "from minilora.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    options = [option for option in OPTIONS if option not in ("--threads", "1")]
    options[options.index("--steps") + 1], options[options.index("--batch-size") + 1] = "6", "5"
    both = sorted(os.sched_getaffinity(0))[:2]

    def start(out, cores, at=99):
        environment = os.environ | {"PYTHONPATH": str(ROOT), "KILLED_AT": str(at)}
        command = [sys.executable, "-c", killed_at, "finetune", *options, "--dropout", "0.2", "--out", out]
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cores)  # a child has its parent's
        try:
            return subprocess.run(command, env=environment, capture_output=True, timeout=120).returncode
        finally:
            os.sched_setaffinity(0, before)

    assert start("whole", both) == 0
    assert start("run", both, at=3) < 0 and (folder / "run" / CHECKPOINT).exists()
    assert start("run", both[:1]) == 0
    assert start("one", both[:1]) == 0
    whole, run, one = (load_arrays(f"{out}/adapter.safetensors", "lora")[0] for out in ("whole", "run", "one"))
    assert same_bits(run, whole)
    assert not same_bits(one, whole), "else it says nothing"
    assert json.loads(Path("run/result.json").read_text())["threads"] == [2]

"""`minilora finetune` with decoders, then `evaluate`: every method, every option."""

import hashlib
import shlex

import pytest

import minilora
from cli.running import QUICK, check_refused, measures, prints, read
from experiments.tiny import byte_gpt
from methods.tiny import same_bits
from minilora.arrays.backend import gpu_available
from minilora.experiments.rates import OF_TEXTS
from minilora.files import load_arrays
from minilora.methods import lora_layers


@pytest.fixture(autouse=True)
def folder(gpt_folder, monkeypatch):
    monkeypatch.chdir(gpt_folder)
    return gpt_folder


MODEL = ("--model", "model.safetensors")
FINETUNE = ("finetune", *MODEL, "--task", "sums.csv", *QUICK, "--out", "out")
ON_TEXT = ("finetune", *MODEL, *QUICK, "--out", "out", "--text")


@pytest.mark.parametrize("task", ["mini-e2e", "sums.csv", "sums.jsonl", "notes.txt"])
@pytest.mark.parametrize(("method", "file"), [("lora", "adapter.safetensors"), ("full", "model.safetensors")])
def test_finetune_then_evaluate_gives_the_same_numbers(tmp_path, task, method, file):
    arguments = ["finetune", *MODEL, "--task", task, "--method", method, *QUICK, "--out", str(tmp_path)]
    printed = prints(*arguments)
    result = read(tmp_path / "result.json")
    assert result["command"] == shlex.join(["minilora", *arguments])
    assert result["task"]["name"] == task and ("slot_exact" in result) == (task == "mini-e2e")
    assert result["config"]["method"] == method and result["config"]["train"]["steps"] == 2
    digest = hashlib.sha256((tmp_path / file).read_bytes()).hexdigest()
    assert result["file"] == {"name": file, "bytes": (tmp_path / file).stat().st_size, "sha256": digest}
    assert {path.name for path in tmp_path.iterdir()} == {file, "result.json", "config.json", "history.json"}
    assert len(read(tmp_path / "history.json")["losses"]) == 2

    of_what = [*MODEL, "--adapter", tmp_path / file] if method == "lora" else ["--model", tmp_path / file]
    again = prints("evaluate", *of_what, "--task", task)
    assert measures(again) == measures(printed) and f"loss {result['loss']:.4f} nats" in again
    assert measures(prints("evaluate", *MODEL, "--task", task)) != measures(printed)


OTHER_METHODS = {
    "rslora": ("--rank 2 --targets q_proj", {"rank": 2, "targets": ["q_proj"], "rslora": True, "dora": False}),
    "dora": ("--rank 2 --dora-exact", {"rank": 2, "alpha": 8, "dora": True, "dora_exact": True}),
    "pissa": ("--rank 3 --alpha 3", {"rank": 3, "alpha": 3, "init": "pissa"}),
    "adalora": ("--rank 1 --initial-rank 3 --targets fc_in", {"rank": 1, "initial_rank": 3, "targets": ["fc_in"]}),
    "vera": ("--vera-rank 5 --targets fc_in", {"rank": 5, "targets": ["fc_in"], "d_initial": 0.1}),
    "lora-ga": ("--rank 2 --targets q_proj", {"rank": 2, "init": "lora-ga", "gamma": 16}),
    "lora-fa": ("--rank 3 --alpha 5", {"rank": 3, "alpha": 5, "freeze_A": True}),
    "top-k": ("--blocks 1", {"k": 1}),
    "bitfit": ("", {}),
    "adapter-h": ("--size 3", {"kind": "houlsby", "size": 3, "leave_out": 0}),
    "adapter-l": ("", {"kind": "lin", "size": 8, "leave_out": 0}),
    "adapter-p": ("--size 2", {"kind": "pfeiffer", "size": 2, "leave_out": 0}),
    "adapter-d": ("--leave-out 0", {"kind": "pfeiffer", "size": 8, "leave_out": 0}),
    "prefix-embedding": ("--before 3 --after 0", {"kind": "embedding", "before": 3, "after": 0}),
    "prefix-layer": ("--before 2", {"kind": "layer", "before": 2, "after": 5}),
    "lora+prefix-embedding": ("--rank 2 --before 3", {"lora.rank": 2, "prefix.kind": "embedding", "prefix.before": 3}),
    "lora+prefix-layer": ("--targets all-linear --after 1", {"prefix.kind": "layer", "prefix.after": 1}),
    "prompt-tuning": ("--prompt-length 3 --start-text Sum", {"length": 3, "start": [83, 117, 109]}),
    "trainable-tokens": ("--tokens 32,65", {"tokens": [32, 65]}),
    "ia3": ("--feedforward fc_in", {"targets": ["k_proj", "v_proj"], "feedforward": ["fc_in"]}),
    "random-subspace": ("--dimension 9 --targets q_proj", {"dimension": 9, "targets": ["q_proj"]}),
}


def test_every_method_is_tested_and_has_a_learning_rate():
    assert {"lora", "full", *OTHER_METHODS} == minilora.METHODS.keys() == OF_TEXTS.keys()


@pytest.mark.parametrize(("method", "options", "settings"), [(m, *of) for m, of in OTHER_METHODS.items()])
def test_finetune_by_every_other_method_then_evaluate_and_generate(tmp_path, method, options, settings):
    arguments = [*MODEL, "--task", "sums.csv", "--method", method, *options.split(), *QUICK, "--out", tmp_path]
    printed = prints("finetune", *arguments)
    result = read(tmp_path / "result.json")
    made = result["config"]["settings"]
    made |= {f"{part}.{name}": v for part in ("lora", "prefix") if part in made for name, v in made[part].items()}
    assert result["config"]["method"] == method and made.items() >= settings.items()
    assert result["file"]["name"] == "adapter.safetensors" and 0 < result["trainable"] < 4000
    adapted = [*MODEL, "--adapter", tmp_path]
    assert measures(prints("evaluate", *adapted, "--task", "sums.csv")) == measures(printed)
    assert prints("generate", "5 plus 1", *adapted, "--source", "--max-tokens", 5)


def test_a_prefix_leaves_less_room_for_running_text(tmp_path):
    prefix = ["--method", "prefix-layer", "--before", 100, "--after", 50]
    printed = prints("finetune", *MODEL, "--text", "notes.txt", *prefix, *QUICK, "--out", tmp_path)
    again = prints("evaluate", *MODEL, "--text", "notes.txt", "--adapter", tmp_path)
    assert measures(again) == measures(printed)


def test_the_options_of_finetune_arrive(tmp_path):
    options = "--rank 3 --alpha 6 --targets q_proj,fc_in --dropout 0.25 --rslora --steps 3 --batch-size 4"
    options += " --accumulation 2 --lr 0.02 --lr-ratio-b 4 --schedule cosine --threads 1 --seed 5"
    prints("finetune", *MODEL, "--task", "sums.csv", *options.split(), "--out", tmp_path)
    config = read(tmp_path / "result.json")["config"]
    lora = {"rank": 3, "alpha": 6, "targets": ["q_proj", "fc_in"], "dropout": 0.25, "rslora": True}
    assert config["settings"] | lora == config["settings"]
    train = {"steps": 3, "batch_size": 4, "accumulation": 2, "lr": 0.02, "lr_ratio_B": 4.0, "schedule": "cosine"}
    assert config["train"] | train | {"threads": 1, "seed": 5} == config["train"]
    model = byte_gpt()
    minilora.load_adapter(model, tmp_path / "adapter.safetensors")
    assert {p: layer.A.data.shape for p, layer in lora_layers(model).items()} == {
        "blocks.0.attn.q_proj": (3, 16),
        "blocks.0.mlp.fc_in": (3, 16),
    }


def test_a_run_repeats_with_its_seed(tmp_path):
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        prints("finetune", *MODEL, "--task", "sums.csv", *QUICK, "--seed", seed, "--out", tmp_path / name)
    one, same, other = ((tmp_path / name / "adapter.safetensors").read_bytes() for name in ("one", "same", "other"))
    assert one == same != other


def test_finetune_on_a_text_whose_test_document_is_short(tmp_path):
    """There is nothing to continue then, but there is a loss."""
    prints("finetune", *MODEL, "--text", "short_ending.txt", *QUICK, "--out", tmp_path)
    assert read(tmp_path / "result.json")["loss"] > 0


WRONG = {
    "rank 0": ([*FINETUNE, "--rank", "0"], r"--rank was 0; it must be an integer from 1 to 65,536$"),
    "rank too large": ([*FINETUNE, "--rank", "17"], r"rank was 17 for .*q_proj, .* from 1 to 16"),
    "unknown target": ([*FINETUNE, "--targets", "w_q"], r"targets named 'w_q', .* q_proj, k_proj, v_proj"),
    "no target": ([*FINETUNE, "--targets", ""], r"targets was \(\); .*q_proj"),
    "dropout 1": ([*FINETUNE, "--dropout", "1"], r"--dropout was 1; it must be a number from 0, below 1$"),
    "size 0": ([*FINETUNE, "--method", "adapter-h", "--size", "0"], r"--size was 0; .* from 1 to "),
    "leave out all": ([*FINETUNE, "--method", "adapter-d"], r"--leave-out was 1; it \w+ be from 0 to 0"),
    "blocks 2 of 1": ([*FINETUNE, "--method", "top-k"], r"--blocks was 2; it \w+ be from 1 to 1, the number of blocks"),
    "before -1": ([*FINETUNE, "--method", "prefix-layer", "--before", "-1"], r"--before was -1; .* from 0 to "),
    "dora-exact alone": (
        [*FINETUNE, "--dora-exact"],
        r"--dora-exact was given, but --method lora does not use it; it is for --method dora$",
    ),
    "alpha nan": ([*FINETUNE, "--alpha", "nan"], r"--alpha was nan; it must be a number above 0, to 1,000,000$"),
    "steps 0": ([*FINETUNE, "--steps", "0"], r"--steps was 0; .* from 1 to 1,000,000,000$"),
    "batch size 0": ([*FINETUNE, "--batch-size", "0"], r"--batch-size was 0; .* from 1 to "),
    "accumulation 0": ([*FINETUNE, "--accumulation", "0"], r"--accumulation was 0; .* from 1 to "),
    "threads -1": ([*FINETUNE, "--threads", "-1"], r"--threads was -1; .* from 1 to "),
    "lr -1": ([*FINETUNE, "--lr", "-1"], r"--lr was -1; .* from 0 to "),
    "seed -1": ([*FINETUNE, "--seed", "-1"], r"seed was -1"),
    "no such text": ([*ON_TEXT, "none.txt"], r"--text was none.txt, but there is no such file"),
    "empty text": ([*ON_TEXT, "empty.txt"], r"empty.txt is empty"),
    "text in Latin-1": ([*ON_TEXT, "latin1.txt"], r"latin1.txt is not UTF-8: byte 0xe9 at offset 3"),
    "no such columns": ([*FINETUNE, "--task", "columns.csv"], r"columns.csv lacks .* source and target; .* question"),
    "too few rows": ([*FINETUNE, "--task", "few.csv"], r"few.csv has 2 examples .* give more"),
    "unknown task": ([*FINETUNE, "--task", "e2e"], r"--task was e2e; .* mini-e2e, pairs, prose, code, .*\.csv"),
    "model is an adapter": (
        [*FINETUNE, "--model", "adapter.safetensors"],
        r"--model was adapter.safetensors, which is an adapter; give it as --adapter",
    ),
    "model is noise": ([*FINETUNE, "--model", "noise.safetensors"], r"noise.safetensors is not a file that minilora"),
    "model too short": ([*FINETUNE, "--model", "short.safetensors", "--task", "mini-e2e"], r"the model takes 64"),
    "no such model": ([*FINETUNE, "--model", "none"], r"--model was none; there is no such file or folder$"),
    "out is a file": ([*FINETUNE, "--out", "empty.txt"], r"empty.txt"),
    "products of a GPU on a CPU": (
        [*FINETUNE, "--device", "cpu", "--products", "bfloat16"],
        r"--products was 'bfloat16', which only a GPU computes; on a CPU it must be 'float32'$",
    ),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_written(arguments, message, folder, capsys):
    check_refused(arguments, message, folder, capsys)


@pytest.mark.skipif(gpu_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(folder, capsys):
    check_refused([*FINETUNE, "--device", "gpu"], r"--device was 'gpu', but no CUDA device .* CuPy .*", folder, capsys)


def test_recomputing_learns_the_same_to_the_bit(tmp_path):
    run = ("finetune", *MODEL, "--task", "sums.csv", *QUICK)
    prints(*run, "--out", tmp_path / "kept")
    prints(*run, "--recompute", "--out", tmp_path / "again")
    kept, again = (load_arrays(tmp_path / name / "adapter.safetensors", "lora")[0] for name in ("kept", "again"))
    assert same_bits(kept, again) and read(tmp_path / "again" / "result.json")["config"]["train"]["recompute"] is True

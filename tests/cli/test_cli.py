"""Every verb of the command line, from its arguments to what it prints and writes; and what users get wrong."""

import contextlib
import hashlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

import minilora
from experiments.tiny import CONFIG, LORA, adapted, byte_gpt, csv_text, jsonl_text, prose_text, sums
from methods.tiny import same_bits, weights_of
from minilora.arrays.backend import gpu_available
from minilora.cli import main
from minilora.cli.demo import report
from minilora.cli.verbs import VERBS, parse
from minilora.experiments.pretrain import run as run_pretraining
from minilora.experiments.pretrain_decoder import DECODER
from minilora.experiments.pretrain_encoder import ENCODER
from minilora.experiments.rates import OF_TEXTS
from minilora.files import load_arrays, save_arrays
from minilora.methods import lora_layers
from minilora.models import RobertaForMaskedLM, load_model

PNG = b"\x89PNG\r\n\x1a\n"
MODEL = ("--model", "model.safetensors")
QUICK = ("--steps", "2", "--batch-size", "2", "--threads", "1", "--lr", "0.05")
# A text of which the hashes choose the short ending for the test split.
PARAGRAPHS = "".join(f"Paragraph {i} of text 0. " + "It goes on. " * 100 + "\n\n" for i in range(4))
TASK_FILES = {
    "sums.csv": csv_text(sums()),
    "sums.jsonl": jsonl_text(sums()),
    "notes.txt": prose_text(),
    "short_ending.txt": PARAGRAPHS + "The end.\n",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a small model, adapters, task files, and files with something wrong."""
    folder = tmp_path_factory.mktemp("cli")
    minilora.save_model(byte_gpt(), folder / "model.safetensors")
    minilora.save_model(byte_gpt(config=replace(CONFIG, n_positions=64)), folder / "short.safetensors")
    minilora.save_adapter(adapted(), folder / "adapter.safetensors")
    wider = byte_gpt(config=replace(CONFIG, d_model=24, d_mlp=96))
    minilora.apply_lora(wider, LORA, rng=np.random.default_rng(0))
    minilora.save_adapter(wider, folder / "wider.safetensors")
    for name, text in TASK_FILES.items():
        (folder / name).write_text(text)
    houlsby = byte_gpt()
    minilora.apply_method(houlsby, "adapter-h")
    minilora.save_adapter(houlsby, folder / "houlsby.safetensors")
    (folder / "empty.txt").write_text("")
    (folder / "latin1.txt").write_bytes(b"caf\xe9 " * 2000)
    (folder / "columns.csv").write_text("question,answer\na,b\n")
    (folder / "few.csv").write_text(csv_text(sums(2)))
    (folder / "noise.safetensors").write_bytes(b"x" * 200)
    return folder


@pytest.fixture(autouse=True)
def in_the_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)


def minilora_prints(*arguments):
    """Run a verb that must succeed; returns what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        status = main([str(a) for a in arguments])
    assert status == 0
    return printed.getvalue()


def read(path):
    return json.loads(Path(path).read_text())


# ---- help


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


# ---- demo


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demonstration, of one step: what it printed, its two folders, and the command."""
    out, runs = tmp_path_factory.mktemp("demo"), tmp_path_factory.mktemp("demo-runs")
    arguments = ["demo", "--steps", "1", "--out", str(out), "--runs", str(runs)]
    return minilora_prints(*arguments), out, runs, shlex.join(["minilora", *arguments])


def test_demo_s_table_has_a_number_for_each_model(demo):
    lines = demo[0].splitlines()
    start = next(i for i, line in enumerate(lines) if line.split() == ["base", "LoRA", "full", "fine-tuning"])
    rows = {re.split(r"\s{2,}", line)[0]: re.split(r"\s{2,}", line)[1:] for line in lines[start + 2 :][:11]}
    measured = ["test loss, nats per byte", "test loss, bits per byte", "slot-exact sentences, %", "slot error rate, %"]
    size = ["trainable parameters", "% of all, A and B included", "file, KB"]
    trained = [*size, "training, seconds", "training, tokens per second"]
    memory = "peak memory of a step, MB"
    assert {*measured, *trained, memory} <= rows.keys()
    assert all(re.fullmatch(r"[\d.,]+", cell) for name in measured for cell in rows[name])
    assert all(rows[name][0] == "-" for name in [*trained, memory])
    assert all(re.fullmatch(r"[\d.,]+", cell) for name in trained for cell in rows[name][1:])
    assert all(len(cells) == 3 for name, cells in rows.items() if name in {*measured, *trained, memory})
    assert rows["% of all, A and B included"][2] == "100.00" and 0 < float(rows["% of all, A and B included"][1]) < 10


def test_demo_states_the_facts(demo):
    assert len(re.findall(r"to the bit: yes", demo[0])) == 3 and "NO" not in demo[0]
    for label in ("prompt", "base", "LoRA", "full fine-tuning", "reference"):
        assert len(re.findall(rf"^{label} +\S", demo[0], re.M)) >= 2, f"samples of {label}"


def test_demo_writes_numbers_figures_and_runs(demo):
    _, out, runs, command = demo
    results = read(out / "demo.json")
    assert results["command"] == command
    assert {"task", "model", "base", "LoRA", "full fine-tuning", "merging", "switching", "seconds"} <= results.keys()
    assert {"minilora", "python", "numpy", "machine", "date"} <= results.keys()
    assert results["LoRA"]["trainable"] < 0.1 * results["full fine-tuning"]["trainable"]
    assert results["full fine-tuning"]["trainable"] == results["model"]["parameters"]
    assert results["LoRA"]["file"]["bytes"] < results["full fine-tuning"]["file"]["bytes"] / 5
    assert results["LoRA"]["loss"] != results["base"]["loss"] != results["full fine-tuning"]["loss"]
    assert results["switching"] == {"base_to_the_bit": True, "adapter_from_file_to_the_bit": True}
    assert results["merging"]["unmerged_to_the_bit"] and results["merging"]["largest_logit_difference"] < 1e-5
    assert {path.name for path in out.iterdir()} == {"demo.json", "loss.png", "singular_values.png", "phi.png"}
    assert all(path.read_bytes().startswith(PNG) for path in out.glob("*.png"))
    assert (runs / "lora" / "adapter.safetensors").is_file() and (runs / "full" / "model.safetensors").is_file()


def test_a_fact_that_does_not_hold_is_printed_as_no(demo):
    results = read(demo[1] / "demo.json")
    results["switching"]["base_to_the_bit"] = False
    assert re.search(r"the base to the bit: NO", report(results, "figures"))


def test_demo_on_the_user_s_own_text(tmp_path):
    printed = minilora_prints(
        "demo", "--text", "notes.txt", "--steps", 2, "--out", tmp_path / "out", "--runs", tmp_path / "runs"
    )
    assert read(tmp_path / "out" / "demo.json")["task"]["name"] == "notes.txt"
    assert "test loss, bits per byte" in printed and "slot" not in printed
    assert len(re.findall(r"to the bit: yes", printed)) == 3


# ---- pretrain

TINY = ("--steps", "2", "--layers", "1", "--width", "16", "--heads", "2")


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """The folder of a run of three steps, with the checkpoint that it made after two."""
    config = DECODER.config
    shape = {"n_layer": 1, "d_model": 16, "n_head": 2, "d_mlp": 64}
    config = replace(config, model=replace(config.model, **shape), train=replace(config.train, steps=3))
    folder = tmp_path_factory.mktemp("pretrained")
    run_pretraining(DECODER, config, folder, checkpoint_every=2)
    return folder


def test_pretrain(tmp_path, pretrained):
    printed = minilora_prints("pretrain", *TINY, "--out", tmp_path)
    recipe = read(tmp_path / "decoder.json")
    assert recipe["command"] == shlex.join(["minilora", "pretrain", *TINY, "--out", str(tmp_path)])
    assert recipe["config"]["model"] | {"n_layer": 1, "d_model": 16, "n_head": 2} == recipe["config"]["model"]
    assert recipe["config"]["train"]["steps"] == 2 and recipe["tokens_seen"] == 2 * 8 * 256
    assert recipe["corpus"].keys() == {"id", "bytes"} and len(recipe["train_bits_per_byte"]) == 1
    assert [point["step"] for point in recipe["validation"]] == [2]
    assert recipe["validation"][0]["bits_per_byte"] == pytest.approx(recipe["bits_per_byte"]["valid"])
    assert 7 < recipe["bits_per_byte"]["test"] < 9 and 2 < recipe["gzip_bits_per_byte"]["test"] < 4
    assert f"{recipe['bits_per_byte']['test']:.3f} bits per byte" in printed
    assert (tmp_path / "decoder.png").read_bytes().startswith(PNG)
    arrays, about = load_arrays(tmp_path / "decoder.safetensors", "gpt")
    assert {a.dtype for a in arrays.values()} == {np.dtype("float16")}
    assert about["corpus"] == recipe["corpus"]["id"] and about["command"] == recipe["command"]
    assert minilora_prints("generate", "A", "--model", tmp_path / "decoder.safetensors", "--max-tokens", 2)


def test_pretrain_an_encoder(tmp_path):
    printed = minilora_prints("pretrain", "--kind", "encoder", *TINY, "--out", tmp_path)
    recipe = read(tmp_path / "encoder.json")
    shape = {"n_layer": 1, "d_model": 16, "n_head": 2, "d_mlp": 64, "vocab_size": 260, "n_positions": 256}
    assert recipe["config"]["model"] | shape == recipe["config"]["model"]
    assert recipe["config"]["train"] == json.loads(json.dumps(asdict(replace(ENCODER.config.train, steps=2))))
    assert recipe["tokens_seen"] == 2 * 8 * 256 and recipe["command"].startswith("minilora pretrain --kind encoder ")
    assert 7 < recipe["bits_per_byte"]["test"] < 9 and 4 < recipe["unigram_bits_per_byte"]["test"] < 5
    unigram = recipe["unigram_bits_per_byte"]["test"]
    assert f"{recipe['bits_per_byte']['test']:.3f} bits per byte on held-out text; unigram: {unigram:.3f}" in printed
    assert (tmp_path / "encoder.png").read_bytes().startswith(PNG)
    assert type(load_model(tmp_path / "encoder.safetensors")) is RobertaForMaskedLM


@pytest.mark.parametrize(("arguments", "kind"), [((), DECODER), (("--kind", "encoder"), ENCODER)])
def test_pretrain_s_defaults_are_those_of_the_bundled_model(arguments, kind, monkeypatch, capsys):
    ran = []

    def spy(*given, **options):
        ran.append(given)
        raise KeyboardInterrupt

    monkeypatch.setattr("minilora.experiments.pretrain.run", spy)
    with contextlib.suppress(KeyboardInterrupt):
        main(["pretrain", *arguments])
    assert ran == [(kind, kind.config, f"runs/{kind.name}")]
    with pytest.raises(SystemExit):
        main(["pretrain", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert all(str(n) in text for n in (kind.config.train.steps, kind.config.model.d_model))


def test_pretrain_goes_on_where_it_stopped(tmp_path, pretrained):
    """To the same weights; a mark in the checkpoint's history shows that it did not begin anew."""
    arrays, about = load_arrays(pretrained / "checkpoint.safetensors", "run")
    assert about["step"] == 2
    about["history"]["losses"][0] = 100.0
    save_arrays(tmp_path / "checkpoint.safetensors", arrays, about)
    minilora_prints("pretrain", *TINY, "--steps", 3, "--out", tmp_path)
    history, uninterrupted = read(tmp_path / "history.json"), read(pretrained / "history.json")
    assert history["losses"] == [100.0, *uninterrupted["losses"][1:]] and len(history["losses"]) == 3
    ours, theirs = (load_arrays(run / "decoder.safetensors", "gpt")[0] for run in (tmp_path, pretrained))
    assert same_bits(ours, theirs)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (("--steps", "4"), "steps"),
        (("--seed", "1"), "seed"),
        (("--layers", "2"), "layer"),
        (("--width", "32"), "width|d_model"),
        (("--heads", "4"), "head"),
        (("--corpus", "code"), "corpus"),
        (("--kind", "encoder"), "pad_id"),
    ],
)
def test_pretrain_does_not_go_on_with_other_options(pretrained, change, names, capsys):
    before = {path.name: path.read_bytes() for path in pretrained.iterdir()}
    try:
        assert main(["pretrain", *TINY, "--steps", "3", *change, "--out", str(pretrained)]) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith("minilora pretrain: ") and re.search(names, line.replace(str(pretrained), ""))
        assert {path.name: path.read_bytes() for path in pretrained.iterdir()} == before
    finally:
        for name, content in before.items():
            (pretrained / name).write_bytes(content)


# ---- finetune and evaluate


def measures(printed):
    """What `finetune` and `evaluate` both print: the measures."""
    return [line for line in printed.splitlines() if line.startswith(("loss", "slot-exact"))]


@pytest.mark.parametrize("task", ["mini-e2e", "sums.csv", "sums.jsonl", "notes.txt"])
@pytest.mark.parametrize(("method", "file"), [("lora", "adapter.safetensors"), ("full", "model.safetensors")])
def test_finetune_then_evaluate_gives_the_same_numbers(tmp_path, task, method, file):
    arguments = ["finetune", *MODEL, "--task", task, "--method", method, *QUICK, "--out", str(tmp_path)]
    printed = minilora_prints(*arguments)
    result = read(tmp_path / "result.json")
    assert result["command"] == shlex.join(["minilora", *arguments])
    assert result["task"]["name"] == task and ("slot_exact" in result) == (task == "mini-e2e")
    assert result["config"]["method"] == method and result["config"]["train"]["steps"] == 2
    digest = hashlib.sha256((tmp_path / file).read_bytes()).hexdigest()
    assert result["file"] == {"name": file, "bytes": (tmp_path / file).stat().st_size, "sha256": digest}
    assert {path.name for path in tmp_path.iterdir()} == {file, "result.json", "config.json", "history.json"}
    assert len(read(tmp_path / "history.json")["losses"]) == 2

    of_what = [*MODEL, "--adapter", tmp_path / file] if method == "lora" else ["--model", tmp_path / file]
    again = minilora_prints("evaluate", *of_what, "--task", task)
    assert measures(again) == measures(printed) and f"loss {result['loss']:.4f} nats" in again
    assert measures(minilora_prints("evaluate", *MODEL, "--task", task)) != measures(printed)


OTHER_METHODS = {
    "rslora": ("--rank 2 --targets q_proj", {"rank": 2, "targets": ["q_proj"], "rslora": True, "dora": False}),
    "dora": ("--rank 2 --dora-exact", {"rank": 2, "alpha": 8, "dora": True, "dora_exact": True}),
    "pissa": ("--rank 3 --alpha 3", {"rank": 3, "alpha": 3, "init": "pissa"}),
    "top-k": ("--blocks 1", {"k": 1}),
    "bitfit": ("", {}),
    "adapter-h": ("--size 3", {"kind": "houlsby", "size": 3, "leave_out": 0}),
    "adapter-l": ("", {"kind": "lin", "size": 8, "leave_out": 0}),
    "adapter-p": ("--size 2", {"kind": "pfeiffer", "size": 2, "leave_out": 0}),
    "adapter-d": ("--leave-out 0", {"kind": "pfeiffer", "size": 8, "leave_out": 0}),
    "prefix-embedding": ("--before 3 --after 0", {"kind": "embedding", "before": 3, "after": 0}),
    "prefix-layer": ("--before 2", {"kind": "layer", "before": 2, "after": 5}),
}


def test_every_method_is_tested_and_has_a_learning_rate():
    assert {"lora", "full", *OTHER_METHODS} == minilora.METHODS.keys() == OF_TEXTS.keys()


@pytest.mark.parametrize(("method", "options", "settings"), [(m, *of) for m, of in OTHER_METHODS.items()])
def test_finetune_by_every_other_method_then_evaluate_and_generate(tmp_path, method, options, settings):
    arguments = [*MODEL, "--task", "sums.csv", "--method", method, *options.split(), *QUICK, "--out", tmp_path]
    printed = minilora_prints("finetune", *arguments)
    result = read(tmp_path / "result.json")
    assert result["config"]["method"] == method and result["config"]["settings"].items() >= settings.items()
    assert result["file"]["name"] == "adapter.safetensors" and 0 < result["trainable"] < 4000
    adapted = [*MODEL, "--adapter", tmp_path]
    assert measures(minilora_prints("evaluate", *adapted, "--task", "sums.csv")) == measures(printed)
    assert minilora_prints("generate", "5 plus 1", *adapted, "--source", "--max-tokens", 5)


def test_a_prefix_leaves_less_room_for_running_text(tmp_path):
    prefix = ["--method", "prefix-layer", "--before", 100, "--after", 50]
    printed = minilora_prints("finetune", *MODEL, "--text", "notes.txt", *prefix, *QUICK, "--out", tmp_path)
    again = minilora_prints("evaluate", *MODEL, "--text", "notes.txt", "--adapter", tmp_path)
    assert measures(again) == measures(printed)


def test_what_bitfit_has_learned_merges_into_a_model(tmp_path):
    minilora_prints("finetune", *MODEL, "--task", "sums.csv", "--method", "bitfit", *QUICK, "--out", tmp_path)
    minilora_prints("merge", *MODEL, "--adapter", tmp_path, "--out", tmp_path / "merged.safetensors")
    merged, base = weights_of(minilora.load_model(tmp_path / "merged.safetensors")), weights_of(byte_gpt())
    assert {name for name in base if not same_bits(base[name], merged[name])} == {n for n in base if "bias" in n}


def test_the_options_of_finetune_arrive(tmp_path):
    options = "--rank 3 --alpha 6 --targets q_proj,fc_in --dropout 0.25 --rslora --steps 3 --batch-size 4"
    options += " --accumulation 2 --lr 0.02 --lr-ratio-b 4 --schedule cosine --threads 1 --seed 5"
    minilora_prints("finetune", *MODEL, "--task", "sums.csv", *options.split(), "--out", tmp_path)
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
        minilora_prints("finetune", *MODEL, "--task", "sums.csv", *QUICK, "--seed", seed, "--out", tmp_path / name)
    one, same, other = ((tmp_path / name / "adapter.safetensors").read_bytes() for name in ("one", "same", "other"))
    assert one == same != other


def test_finetune_on_a_text_whose_test_document_is_short(tmp_path):
    """There is nothing to continue then, but there is a loss."""
    minilora_prints("finetune", *MODEL, "--text", "short_ending.txt", *QUICK, "--out", tmp_path)
    assert read(tmp_path / "result.json")["loss"] > 0


def test_evaluate_on_another_split():
    test, valid = (minilora_prints("evaluate", *MODEL, "--task", "sums.csv", "--split", s) for s in ("test", "valid"))
    assert measures(test) and measures(test) != measures(valid)
    assert measures(test) == measures(minilora_prints("evaluate", *MODEL, "--task", "sums.csv"))


# ---- generate


def test_generate_begins_with_the_prompt_and_repeats_with_its_seed():
    drawn = ["generate", "Grüße", *MODEL, "--temperature", "1", "--max-tokens", "20"]
    one, same, other = (minilora_prints(*drawn, "--seed", seed) for seed in (0, 0, 1))
    assert one.startswith("Grüße") and len(one) > len("Grüße\n")
    assert one == same != other


def test_generate_is_greedy_by_default_and_top_k_1_is_greedy():
    greedy = minilora_prints("generate", "The ", *MODEL, "--max-tokens", 20)
    drawn = [*MODEL, "--max-tokens", 20, "--temperature", 1]
    assert minilora_prints("generate", "The ", *drawn, "--top-k", 1) == greedy
    assert minilora_prints("generate", "The ", *drawn, "--top-p", 1e-9) == greedy
    assert minilora_prints("generate", "The ", *drawn) != greedy


def test_generate_with_an_adapter_and_with_the_bundled_decoder():
    own = minilora_prints("generate", "The ", *MODEL, "--max-tokens", 20)
    assert minilora_prints("generate", "The ", *MODEL, "--adapter", "adapter.safetensors", "--max-tokens", 20) != own
    bundled = minilora_prints("generate", "The function returns ", "--max-tokens", 8)
    assert re.fullmatch(r"The function returns [a-z ]+", bundled.rstrip("\n"))


def test_as_a_module():
    module = [sys.executable, "-m", "minilora"]
    done = subprocess.run([*module, "generate", "The ", *MODEL, "--max-tokens", "5"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == minilora_prints("generate", "The ", *MODEL, "--max-tokens", 5)
    wrong = subprocess.run([*module, "generate", "", *MODEL], capture_output=True, text=True)
    assert wrong.returncode == 2 and wrong.stdout == "" and len(wrong.stderr.splitlines()) == 1


def test_printing_where_not_every_character_can_be_printed():
    """A model of bytes writes what is no UTF-8 and shown as U+FFFD, which Windows' own encoding lacks."""
    command = [sys.executable, "-m", "minilora", "generate", "The ", *MODEL, "--temperature", "1"]
    environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(command, capture_output=True, env=environment)
    assert "\ufffd" in minilora_prints("generate", "The ", *MODEL, "--temperature", 1)
    assert (done.returncode, done.stderr) == (0, b"") and done.stdout.startswith(b"The ")


# ---- merge


def test_merge(tmp_path):
    minilora_prints("finetune", *MODEL, "--task", "sums.csv", *QUICK, "--steps", 10, "--out", tmp_path)
    adapter, merged = tmp_path / "adapter.safetensors", tmp_path / "merged.safetensors"
    arguments = ["merge", *MODEL, "--adapter", str(adapter), "--out", str(merged)]
    assert str(merged) in minilora_prints(*arguments)
    about = load_arrays(merged, "gpt")[1]
    assert about["command"] == shlex.join(["minilora", *arguments])

    model, beside, base = minilora.load_model(merged), byte_gpt(), byte_gpt()
    minilora.load_adapter(beside, adapter)
    assert not lora_layers(model) and weights_of(model).keys() == weights_of(base).keys()
    ids = np.random.default_rng(0).integers(1, 256, (2, 40))
    logits, expected, unadapted = (m.forward(ids)[0] for m in (model, beside, base))
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert np.abs(unadapted - expected).max() > 1e-2 * np.abs(expected).max(), "the adapter has learned something"

    task = ("--task", "sums.csv")
    losses = [
        float(measures(minilora_prints("evaluate", *of_what, *task))[0].split()[1])
        for of_what in (["--model", merged], [*MODEL, "--adapter", adapter], MODEL)
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1.5e-4) and abs(losses[2] - losses[1]) > 1e-2


def test_source_puts_the_line_break_of_training_after_the_prompt_and_prints_the_answer_alone():
    drawn = ("--max-tokens", "40", "--temperature", "3", *MODEL)
    answer = minilora_prints("generate", "1 + 2", "--source", *drawn)
    assert "1 + 2\n" + answer == minilora_prints("generate", "1 + 2\n", *drawn)
    assert "1 + 2" + answer != minilora_prints("generate", "1 + 2", *drawn)


def test_an_adapter_is_found_in_its_folder(tmp_path):
    minilora_prints("finetune", *MODEL, "--task", "sums.csv", *QUICK, "--out", tmp_path)
    evaluate = ("evaluate", *MODEL, "--task", "sums.csv")
    by_folder, by_file, base = (
        minilora_prints(*evaluate, *adapter)
        for adapter in (["--adapter", tmp_path], ["--adapter", tmp_path / "adapter.safetensors"], [])
    )
    assert by_folder == by_file != base


# ---- what users get wrong


FINETUNE = ("finetune", *MODEL, "--task", "sums.csv", *QUICK, "--out", "out")
ON_TEXT = ("finetune", *MODEL, *QUICK, "--out", "out", "--text")
PROMPT = ("generate", "The ", *MODEL)
MERGE = ("merge", *MODEL, "--out", "out")
DEMO = ("demo", "--out", "out", "--runs", "out")
PRETRAIN = ("pretrain", "--out", "out")
WRONG = {
    "bench of what is not there": (["bench", "walk"], r"parts held 'walk'; .* train, generate, memory, scaling"),
    "bench of no shape": (["bench", "--shapes", "S9"], r"shapes held 'S9'; .* S1, S2, S3, gpt2-small"),
    "bench in no round": (["bench", "--rounds", "0"], r"--rounds was 0; it must be an integer from 1 to 10,000$"),
    "bench against what is not installed": (
        ["bench", "--against", "torch", "--peer-python", "nowhere/python"],
        r"--against torch needs .* nowhere/python is not there: make it with: python3 -m venv .*pip install torch",
    ),
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
    "merge adapters": ([*MERGE, "--adapter", "houlsby.safetensors"], r"what cannot be merged, adapters or a prefix"),
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
    "evaluate, no such file": (
        ["evaluate", *MODEL, "--task", "none.csv"],
        r"--task was none.csv, but there is no such file",
    ),
    "adapter is a model": (
        ["evaluate", *MODEL, "--adapter", "model.safetensors"],
        r"--adapter was model.safetensors, which is a whole model; give it as --model$",
    ),
    "adapter of another shape": (["evaluate", *MODEL, "--adapter", "wider.safetensors"], r"wider.safeten.* \(2, 24\)"),
    "prompt empty": (["generate", "", *MODEL], r"the prompt was empty; it must have 1 to 255 bytes"),
    "prompt too long": (["generate", "x" * 256, *MODEL], r"the prompt had 256 bytes; it must have 1 to 255"),
    "prompt not UTF-8": (["generate", "\udcff", *MODEL], r"prompt"),
    "no tokens": ([*PROMPT, "--max-tokens", "0"], r"--max-tokens was 0; .* from 1 to "),
    "temperature -1": ([*PROMPT, "--temperature", "-1"], r"--temperature was -1; .* from 0 to "),
    "temperature nan": ([*PROMPT, "--temperature", "nan"], r"--temperature was nan; .* from 0 to "),
    "top-k 0": ([*PROMPT, "--temperature", "1", "--top-k", "0"], r"--top-k was 0; .* from 1 to "),
    "top-p 2": ([*PROMPT, "--temperature", "1", "--top-p", "2"], r"--top-p was 2; it must be a number above 0, to 1$"),
    "generate seed -1": ([*PROMPT, "--seed", "-1"], r"seed was -1"),
    "merge nothing": (MERGE, r"--adapter was not given"),
    "merge into a folder": ([*MERGE[:-1], ".", "--adapter", "adapter.safetensors"], r"--out was \., a folder; "),
    "merge another shape": ([*MERGE, "--adapter", "wider.safetensors"], r"wider.safetensors: "),
    "pretrain steps 0": ([*PRETRAIN, "--steps", "0"], r"--steps was 0; .* from 1 to "),
    "pretrain layers 0": ([*PRETRAIN, "--layers", "0"], r"--layers was 0; .* from 1 to 1,000$"),
    "pretrain steps 0, encoder": ([*PRETRAIN, "--kind", "encoder", "--steps", "0"], r"--steps was 0; .* from 1 to "),
    "pretrain width 0": ([*PRETRAIN, "--kind", "encoder", "--width", "0"], r"--width was 0; .* from 1 to "),
    "pretrain heads 5": ([*PRETRAIN, "--width", "16", "--heads", "5"], r"head.* was 5; .* divide .* 16"),
    "demo steps 0": ([*DEMO, "--text", "notes.txt", "--steps", "0"], r"steps was 0; "),
    "demo, no such text": ([*DEMO, "--text", "none.txt"], r"--text was none.txt, but there is no such file"),
    "demo, Latin-1": ([*DEMO, "--text", "latin1.txt"], r"latin1.txt is not UTF-8"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_written(arguments, message, folder, capsys):
    before = sorted(folder.rglob("*"))
    try:
        status = main(arguments)
        lines = capsys.readouterr().err.splitlines()
        assert status == 2
        assert lines[-1].startswith(f"minilora {arguments[0]}: ") and re.search(message, lines[-1])
        assert len(lines) == 1
        assert sorted(folder.rglob("*")) == before
    finally:
        for path in sorted(set(folder.rglob("*")) - set(before), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()


@pytest.mark.parametrize("arguments", [FINETUNE, PROMPT, PRETRAIN, DEMO])
@pytest.mark.skipif(gpu_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(arguments, folder, capsys):
    before = sorted(folder.rglob("*"))
    assert main([*arguments, "--device", "gpu"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(r"device was 'gpu', but no CUDA device .* CuPy .* device='cpu'", line)
    assert sorted(folder.rglob("*")) == before


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

"""Nothing that a command reads is written over: it is refused before anything is computed."""

import os
import shutil

import numpy as np
import pytest

import minilora
from cli.running import check_refused, prints
from experiments.tiny import LORA, byte_gpt, csv_text, sums
from methods.tiny import with_B
from minilora.cli.paths import check_output, check_output_folder
from minilora.models.bundled import ASSETS

MODEL = ("--model", "model.safetensors")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A model, an adapter by itself and in a run folder, a tuned model's run folder, and links to them."""
    monkeypatch.chdir(tmp_path)
    minilora.save_model(byte_gpt(), tmp_path / "model.safetensors")
    minilora.save_model(byte_gpt(seed=1), tmp_path / "full" / "model.safetensors")
    model = byte_gpt()
    minilora.apply_lora(model, LORA, rng=np.random.default_rng(0))
    minilora.save_adapter(with_B(model), tmp_path / "adapter.safetensors")
    minilora.save_adapter(model, tmp_path / "run" / "adapter.safetensors")
    (tmp_path / "run" / "result.json").write_text("{}")
    (tmp_path / "sums.csv").write_text(csv_text(sums()))
    (tmp_path / "result.json").write_text("some text.\n\n" * 1000)
    (tmp_path / "link.safetensors").symlink_to("model.safetensors")
    os.link(tmp_path / "adapter.safetensors", tmp_path / "same.safetensors")
    (tmp_path / "linked").symlink_to("run")
    return tmp_path


MERGE = ("merge", *MODEL, "--adapter", "adapter.safetensors", "--out")
REFUSED = {
    "merge over its base": ([*MERGE, "model.safetensors"], "--out was model.safetensors, what --model reads;"),
    "merge over its adapter": ([*MERGE, "adapter.safetensors"], "--out was adapter.safetensors, what --adapter reads;"),
    "merge by another path": ([*MERGE, "run/../model.safetensors"], "what --model reads; it must be another path$"),
    "merge over a link to its base": ([*MERGE, "link.safetensors"], "what --model reads"),
    "merge over its adapter's other name": ([*MERGE, "same.safetensors"], "what --adapter reads"),
    "merge into its run's result": (
        ["merge", *MODEL, "--adapter", "run", "--out", "run/result.json"],
        "what --adapter reads",
    ),
    "merge into a linked run": (
        ["merge", *MODEL, "--adapter", "run", "--out", "linked/adapter.safetensors"],
        "what --adapter reads",
    ),
    "merge over the bundled decoder": (
        ["merge", "--adapter", "adapter.safetensors", "--out", str(ASSETS / "decoder.safetensors")],
        "what the bundled model reads",
    ),
    "finetune over its base": (
        ["finetune", "--model", "full/model.safetensors", "--method", "full", "--out", "full"],
        "--out was full, where model.safetensors is what --model reads",
    ),
    "finetune over its text": (
        ["finetune", *MODEL, "--text", "result.json", "--out", "."],
        "where result.json is what --text reads",
    ),
    "export over what it reads": (
        ["export-peft", "--model", "out/adapter_config.json", "--adapter", "run", "--out", "out"],
        "what --model reads",
    ),
    "import over what it reads": (
        ["import-peft", "peft", "--out", "peft/adapter_model.safetensors"],
        "what the command reads",
    ),
    "a plot over an adapter": (
        ["rank", *MODEL, "--adapter", "adapter.safetensors", "--plot", "adapter.safetensors"],
        "what --adapter reads",
    ),
    "a plot over a tuned model": (["rank", *MODEL, "--tuned", "full", "--plot", "full/model.safetensors"], "what --t"),
    "a plot over another adapter": (
        ["subspace", *MODEL, "--adapter", "run", "--other", "same.safetensors", "--plot", "adapter.safetensors"],
        "what --other reads",
    ),
    "demo over its text": (["demo", "--text", "out/demo.json", "--out", "out"], "where demo.json is what --text reads"),
    "a file for a folder": (["finetune", *MODEL, "--out", "sums.csv/run"], "--out was sums.csv/run, but sums.csv is a"),
    "a folder for a file": (
        [*MERGE, "run"],
        "--out was run, a folder; it must be a file, such as merged.safetensors, or run/ for a Hugging Face folder$",
    ),
    "a file's folder for a file": ([*MERGE, "sums.csv/x"], "--out was sums.csv, but sums.csv is a file; it"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_read_is_not_written_over(arguments, message, folder, monkeypatch, capsys):
    for name in ("out/demo.json", "out/adapter_config.json", "peft/adapter_model.safetensors"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("{}")

    def computes(*arguments, **options):
        raise AssertionError("something was computed")

    monkeypatch.setattr(minilora, "load_model", computes)
    monkeypatch.setattr(minilora, "load_bundled", computes)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    check_refused(arguments, message, folder, capsys)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_new_files_next_to_what_is_read_are_written(folder):
    prints("merge", *MODEL, "--adapter", "run", "--out", "run/merged.safetensors")
    prints("merge", *MODEL, "--adapter", "run/adapter.safetensors", "--out", "run/result.json")
    assert minilora.load_model(folder / "run" / "result.json").config == byte_gpt().config


def test_what_is_not_read_may_be_written_over(folder):
    check_output("--out", "model.safetensors", {"--model": None, "--adapter": "run"}, example="x")
    check_output_folder("--out", "run", {"--model": "model.safetensors"}, ["adapter.safetensors"])
    shutil.rmtree(folder / "run")
    check_output("--out", "run/adapter.safetensors", {"--adapter": "run"}, example="x")

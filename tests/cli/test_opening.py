"""--model, --adapter, --task and --text: what they take, and what is said of what they do not take."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import minilora
from cli.running import check_refused, prints
from experiments.tiny import LORA, byte_gpt, csv_text, sums, words_csv
from methods.tiny import same_bits, weights_of, with_B
from minilora.cli.opening import named_model, open_model
from minilora.interop import load_gpt2

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "peft" / "gpt2"
MODEL = ("--model", "model.safetensors")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Models, adapters, run folders, and folders of Hugging Face's and of PEFT's."""
    monkeypatch.chdir(tmp_path)
    minilora.save_model(byte_gpt(), tmp_path / "model.safetensors")
    minilora.save_model(byte_gpt(seed=1), tmp_path / "full" / "model.safetensors")
    model = byte_gpt()
    minilora.apply_lora(model, LORA, rng=np.random.default_rng(0))
    minilora.save_adapter(with_B(model), tmp_path / "adapter.safetensors")
    minilora.save_adapter(model, tmp_path / "runs" / "lora" / "adapter.safetensors")
    decoder = minilora.load_bundled("decoder")
    minilora.apply_lora(decoder, minilora.LoRAConfig(rank=1), rng=np.random.default_rng(0))
    minilora.save_adapter(decoder, tmp_path / "decoders.safetensors")
    encoder = minilora.models.new_classifier(minilora.load_bundled("encoder"), 3, np.random.default_rng(0))
    minilora.apply_lora(encoder, minilora.LoRAConfig(rank=1), rng=np.random.default_rng(0))
    minilora.save_adapter(encoder, tmp_path / "encoders.safetensors")
    shutil.copytree(GOLDEN, tmp_path / "gpt2", ignore=shutil.ignore_patterns("*.npz"))
    shutil.copytree(GOLDEN / "c_attn", tmp_path / "peft")
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text(json.dumps({"model_type": "bert\x1b[2J"}))
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes").mkdir()
    for i in range(7):
        (tmp_path / "notes" / f"{i}.txt").write_text("a")
    (tmp_path / "sums.csv").write_text(csv_text(sums()))
    (tmp_path / "words.csv").write_text(words_csv())
    return tmp_path


def test_a_model_by_each_of_its_names(folder):
    assert same_bits(weights_of(named_model("decoder").model), weights_of(minilora.load_bundled("decoder")))
    assert same_bits(weights_of(named_model("encoder").model), weights_of(minilora.load_bundled("encoder")))
    assert same_bits(weights_of(named_model("gpt2").model), weights_of(load_gpt2("gpt2")))
    assert same_bits(weights_of(named_model("model.safetensors").model), weights_of(byte_gpt()))
    assert same_bits(weights_of(named_model("full").model), weights_of(byte_gpt(seed=1)))


def test_without_a_name_it_is_the_bundled_one_for_the_adapter(folder):
    assert isinstance(open_model(None).model, minilora.GPT)
    assert isinstance(open_model(None, "decoders.safetensors").model, minilora.GPT)
    assert isinstance(open_model(None, "encoders.safetensors").model, minilora.RobertaForClassification)


def test_a_hugging_face_folder_is_counted_looked_at_and_merged_into(folder):
    assert "parameters" in prints("count", "--model", "gpt2", "--rank", 2)
    assert "blocks.0.attn.q_proj" in prints("rank", "--model", "gpt2", "--weights", "--layers", "q_proj")
    prints("import-peft", "peft", "--model", "gpt2", "--out", "theirs.safetensors")
    prints("merge", "--model", "gpt2", "--adapter", "theirs.safetensors", "--out", "merged.safetensors")
    merged = minilora.load_model("merged.safetensors")
    assert not same_bits(weights_of(merged), weights_of(load_gpt2("gpt2")))


EVALUATE = ("evaluate", *MODEL, "--task", "sums.csv", "--adapter")
REFUSED = {
    "an adapter for a model": (
        ["generate", "a", "--model", "adapter.safetensors"],
        "--model was adapter.safetensors, which is an adapter; give it as --adapter, together with ",
    ),
    "a run folder for a model": (
        ["generate", "a", "--model", "runs/lora"],
        "--model was runs/lora, the run folder of an adapter; give it as ",
    ),
    "PEFT's folder for a model": (
        ["generate", "a", "--model", "peft"],
        "--model was peft, an adapter that PEFT saved; .* minilora import-peft ",
    ),
    "another library's model": (
        ["count", "--model", "bert"],
        r"--model was bert, a model of type 'bert\\x1b\[2J'; it must be one of gpt2, llama, mistral, qwen2, roberta",
    ),
    "a folder above an adapter": (
        ["count", "--model", "runs"],
        "a model; did you mean --adapter runs/lora[?]$",
    ),
    "a folder of other things": (
        ["count", "--model", "notes"],
        "a folder without a model; it holds 0.txt, 1.txt, 2.txt, 3.txt, 4.txt, ...$",
    ),
    "an empty folder": (["count", "--model", "empty"], "--model was empty, a folder without a model; it is empty$"),
    "no model": (["count", "--model", "none"], "--model was none; there is no such file or folder$"),
    "a name that is nearly right": (["count", "--model", "decodr"], "--model was decodr; .*; did you mean decoder[?]$"),
    "a folder without a tokenizer": (
        ["finetune", "--model", "gpt2", "--task", "sums.csv", "--out", "out"],
        "there is no file gpt2/tokenizer.json, no tokenizer.model, and not both of vocab.json and merges.txt$",
    ),
    "a folder without a tokenizer, asked": (
        ["generate", "a", "--model", "gpt2"],
        "there is no file gpt2/tokenizer.json",
    ),
    "no adapter": ([*EVALUATE, "none"], "--adapter was none; there is no such file or folder$"),
    "another model's adapter without its model": (
        ["evaluate", "--task", "sums.csv", "--adapter", "adapter.safetensors"],
        "adapter.safetensors does not fit the model: .*; --model was not given, and this is the bundled decoder$",
    ),
    "PEFT's adapter without its model": (
        ["import-peft", "peft", "--out", "theirs.safetensors"],
        "; --model was not given, and this is the bundled decoder$",
    ),
    "a model for an adapter": ([*EVALUATE, "model.safetensors"], "which is a whole model; give it as --model$"),
    "a model's folder for an adapter": (
        [*EVALUATE, "full"],
        "--adapter was full, the folder of a whole model; ",
    ),
    "PEFT's folder for an adapter": (
        [*EVALUATE, "peft"],
        "--adapter was peft, which PEFT saved; make it minilora's with:  minilora import-peft peft --out adapter.safet",
    ),
    "PEFT's file for an adapter": (
        [*EVALUATE, "peft/adapter_model.safetensors"],
        "which PEFT saved; make it",
    ),
    "the folder above": (
        [*EVALUATE, "runs"],
        "--adapter was runs, a folder without adapter.safetensors; did you mean --adapter runs/lora[?]$",
    ),
    "a decoder's adapter for classes": (
        ["evaluate", "--task", "words.csv", "--adapter", "decoders.safetensors"],
        "--adapter decoders.safetensors has no head for classes; words.csv is a classification task$",
    ),
    "an encoder's adapter for texts": (
        ["evaluate", "--adapter", "encoders.safetensors"],
        "--adapter encoders.safetensors has a head for 3 classes; mini-e2e is a text task: give --task$",
    ),
    "an encoder's adapter to generate": (
        ["generate", "a", "--adapter", "encoders.safetensors"],
        "is a classifier's; this command needs a decoder's$",
    ),
    "an empty prompt": (["generate", "", *MODEL], "the prompt was empty; it must have 1 to 255 tokens"),
    "no text": (
        ["evaluate", "--text", "nofile.txt"],
        "--text was nofile.txt, but there is no such file",
    ),
    "no task": (
        ["evaluate", "--task", "nofile.txt"],
        "--task was nofile.txt, but there is no such file",
    ),
    "a folder for a text": (["evaluate", "--text", "notes"], "--text was notes, a folder; it must be a file$"),
    "a task that is nearly right": (
        ["evaluate", "--task", "mini-e2"],
        "--task was mini-e2; .*; did you mean mini-e2e",
    ),
    "no PEFT folder": (["import-peft", "none", "--out", "a"], "the folder was none; there is no such folder$"),
    "our adapter for PEFT's": (["import-peft", "runs/lora", "--out", "a"], "the folder was runs/lora, which minilora "),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_opened_is_said_in_the_user_s_words(arguments, message, folder, capsys):
    check_refused(arguments, message, folder, capsys)

"""`minilora info`: what it says of each kind of file, and that the norms are delta W's."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import minilora
from cli.running import QUICK, check_refused, prints, read
from experiments.tiny import LORA, byte_gpt
from interop.peft_golden import GPT2, gpt2
from methods.tiny import with_B
from minilora.analysis import delta_weights
from minilora.cli.info import norms_by_block
from minilora.interop.description import describe


@pytest.fixture(autouse=True)
def folder(gpt_folder, monkeypatch):
    monkeypatch.chdir(gpt_folder)
    return gpt_folder


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"rslora": True},
        {"init": "pissa"},
        {"freeze_A": True},
        {"alpha_pattern": {"fc_in": 7.0}, "rank_pattern": {"v_proj": 3}},
    ],
)
def test_the_norms_are_those_of_delta_W(settings, tmp_path):
    model = byte_gpt()
    minilora.apply_lora(model, minilora.LoRAConfig(**{**vars(LORA), **settings}), rng=np.random.default_rng(0))
    with_B(model)
    minilora.save_adapter(model, tmp_path / "a.safetensors")
    told = describe(tmp_path / "a.safetensors")
    expected = {path: np.linalg.norm(W) for path, W in delta_weights(model).items()}
    assert told["norms"].keys() == expected.keys() and len(expected) == 3
    assert told["norms"] == pytest.approx(expected, rel=1e-5)
    named = {"rslora": "rslora", "init": "pissa", "freeze_A": "lora-fa"}.get(next(iter(settings), ""), "lora")
    assert (told["holds"], told["method"], told["settings"]["targets"]) == ("adapter", named, list(LORA.targets))


@pytest.mark.parametrize("adapter", ["c_attn", "patterns"])
def test_an_adapter_of_peft_s_has_the_norms_that_it_has_here(adapter):
    model = gpt2("float64")
    minilora.load_peft(model, GPT2 / adapter)
    ours = delta_weights(model)
    told = describe(GPT2 / adapter)
    assert told["format"] == "PEFT"
    # a fused c_attn is one matrix there and three here
    total = np.sqrt(sum(np.linalg.norm(W) ** 2 for W in ours.values()))
    assert np.sqrt(sum(norm**2 for norm in told["norms"].values())) == pytest.approx(total, rel=1e-6)


def test_an_ia3_in_each_format_says_so(tmp_path):
    model = gpt2()
    minilora.methods.apply_method(model, "ia3")
    minilora.save_adapter(model, tmp_path / "ours.safetensors")
    minilora.save_peft(model, tmp_path / "peft")
    for path, settings in ((tmp_path / "ours.safetensors", "targets k_proj/v_proj"), (tmp_path / "peft", "c_attn")):
        printed = prints("info", path)
        assert "ia3" in printed and settings in printed


def test_a_run_says_what_it_was_trained_on(tmp_path):
    out = tmp_path / "run"
    prints("finetune", "--model", "model.safetensors", "--task", "sums.csv", *QUICK, "--out", out)
    result, printed = read(out / "result.json"), prints("info", out)
    told = json.loads(prints("info", out, "--json"))
    assert told["trained_on"]["task"] == "sums.csv" and told["trained_on"]["loss"] == result["loss"]
    assert told["command"] == result["command"] and told["trained"] == result["trainable"]
    assert told == json.loads(prints("info", out / "adapter.safetensors", "--json"))
    lines = {line[2:20].strip(): line[20:] for line in printed.splitlines() if line.startswith("  ")}
    assert lines["adapter"] == "lora, in minilora's format" and "task sums.csv, steps 2" in lines["trained on"]
    assert re.search(r"block +q_proj +v_proj\n-+\n0 +\S+ +\S+\n", printed)
    shutil.copy("adapter.safetensors", out)  # another one: the run's result is not about it
    assert "trained_on" not in describe(out)


def test_models():
    told = describe("model.safetensors")
    assert (told["holds"], told["kind"], told["shape"]["d_model"]) == ("model", "gpt", 16)
    assert told["parameters"] == sum(p.data.size for p in byte_gpt().parameters())
    told = describe(GPT2)
    assert (told["holds"], told["kind"], told["format"]) == ("model", "gpt2", "Hugging Face")
    assert told["parameters"] == sum(p.data.size for p in gpt2("float32").parameters())
    assert prints("info", "decoder").startswith("decoder\n  model             gpt, in minilora's format\n")
    told = describe("houlsby.safetensors")
    assert told["method"] == "adapter" and "norms" not in told


def test_norms_stand_in_the_row_of_their_block_and_the_column_of_their_layer():
    norms = {f"blocks.{i}.mlp.{name}": 10 * i + j for i in range(11) for j, name in enumerate("abcdefgh")}
    lines = norms_by_block({**norms, "head.dense": 5.0})
    assert lines[-1] == "head.dense  5" and max(map(len, lines)) <= 80
    assert lines[0].split() == ["block", *"abcdefg"] and lines[12].split() == ["10", *(f"{100 + j}" for j in range(7))]
    assert lines[13].split() == ["block", "h"] and lines[-2].split() == ["10", "107"]


def test_no_control_character_of_a_file_is_printed(tmp_path):
    shutil.copytree(GPT2 / "c_attn", tmp_path / "peft")
    config = tmp_path / "peft" / "adapter_config.json"
    config.write_text(json.dumps(read(config) | {"base_model_name_or_path": "\x1b[2Jbase" + "e" * 10_000}))
    printed = prints("info", tmp_path / "peft")
    assert "\x1b" not in printed and "\\x1b[2Jbase" in printed and max(map(len, printed.splitlines())) < 400


REFUSED = {
    "nothing": (["info", "none"], "the path was none; there is no such file or folder$"),
    "nearly a name": (["info", "decodr"], "did you mean decoder[?]$"),
    "a folder of other things": (["info", "."], "path was ., a folder with neither a model nor an adapter in it$"),
    "a text": (["info", "sums.csv"], "sums.csv is not a safetensors file, or it is damaged"),
    "noise": (["info", "noise.safetensors"], "noise.safetensors is not a safetensors file"),
    "another's": (["info", "theirs.safetensors"], "is not a file of a model or an adapter that minilora wrote$"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_described_is_said_in_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    for name in ("sums.csv", "noise.safetensors"):
        shutil.copy(name, tmp_path)
    shutil.copy(GPT2 / "c_attn" / "adapter_model.safetensors", tmp_path / "theirs.safetensors")
    monkeypatch.chdir(tmp_path)
    check_refused(arguments, message, Path(), capsys)

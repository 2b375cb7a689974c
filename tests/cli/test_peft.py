"""`minilora import-peft` and `export-peft`: adapters of PEFT in and out, on the command line."""

import json
import re

import numpy as np
import pytest

import minilora
from interop.peft_golden import GPT2, expected, gpt2, logits
from methods.tiny import same_bits, with_B
from minilora.cli import main
from minilora.files import load_arrays


@pytest.fixture(autouse=True)
def model_file(tmp_path, monkeypatch):
    """The tiny GPT-2 as model.safetensors in a folder of its own, which is the current one."""
    monkeypatch.chdir(tmp_path)
    minilora.save_model(gpt2("float32"), "model.safetensors")


def run(*arguments):
    return main([*arguments, "--model", "model.safetensors"])


@pytest.mark.parametrize("adapter", ["patterns", "one_layer"])  # the second with modules and biases of its own
def test_an_adapter_of_peft_comes_in_and_goes_out_again(adapter, tmp_path, capsys):
    assert run("import-peft", str(GPT2 / adapter), "--out", "adapter.safetensors") == 0
    model = minilora.load_model("model.safetensors")
    minilora.load_adapter(model, "adapter.safetensors")
    golden = expected()
    np.testing.assert_allclose(logits(model, golden["ids"]), golden[adapter], rtol=1e-4, atol=1e-4)

    assert run("export-peft", "--adapter", "adapter.safetensors", "--out", "peft", "--base", "gpt2") == 0
    assert capsys.readouterr().out == "adapter.safetensors: the adapter\npeft: the adapter for PEFT\n"
    assert json.loads((tmp_path / "peft" / "adapter_config.json").read_text())["base_model_name_or_path"] == "gpt2"
    assert run("import-peft", "peft", "--out", "again.safetensors") == 0
    first, again = (load_arrays(f"{name}.safetensors", "lora")[0] for name in ("adapter", "again"))
    assert same_bits(first, again)


def test_an_adapter_of_the_bundled_decoder_goes_out_and_comes_in(tmp_path):
    model = minilora.load_bundled()
    minilora.apply_lora(model, minilora.LoRAConfig(rank=2), rng=np.random.default_rng(0))
    with_B(model)
    minilora.save_adapter(model, "ours.safetensors")
    assert main(["export-peft", "--adapter", "ours.safetensors", "--out", "peft"]) == 0
    assert main(["import-peft", "peft", "--out", "back.safetensors"]) == 0
    ours, back = (load_arrays(f"{name}.safetensors", "lora")[0] for name in ("ours", "back"))
    assert same_bits(ours, back)


WRONG = {
    "no such folder": (["import-peft", "none", "--out", "a"], "the folder was none; there is no such folder"),
    "out is a folder": (["import-peft", str(GPT2 / "c_attn"), "--out", "."], r"--out was \., a folder; it must be"),
    "no adapter": (["export-peft", "--out", "peft"], "--adapter was not given"),
    "a model for an adapter": (
        ["export-peft", "--adapter", "model.safetensors", "--out", "peft"],
        "--adapter was model.safetensors, which is a whole model; give it as --model",
    ),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_written(arguments, message, tmp_path, capsys):
    assert run(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"minilora {arguments[0]}: ") and re.search(message, line)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]

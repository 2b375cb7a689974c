"""`minilora merge`: LoRA and BitFit become part of the model."""

import shlex

import numpy as np
import pytest

import minilora
from cli.running import QUICK, check_refused, measures, prints
from experiments.tiny import byte_gpt
from methods.tiny import same_bits, weights_of
from minilora.files import load_arrays
from minilora.methods import lora_layers


@pytest.fixture(autouse=True)
def folder(gpt_folder, monkeypatch):
    monkeypatch.chdir(gpt_folder)
    return gpt_folder


MODEL = ("--model", "model.safetensors")
MERGE = ("merge", *MODEL, "--out", "out")


def test_merge(tmp_path):
    prints("finetune", *MODEL, "--task", "sums.csv", *QUICK, "--steps", 10, "--out", tmp_path)
    adapter, merged = tmp_path / "adapter.safetensors", tmp_path / "merged.safetensors"
    arguments = ["merge", *MODEL, "--adapter", str(adapter), "--out", str(merged)]
    assert str(merged) in prints(*arguments)
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
        float(measures(prints("evaluate", *of_what, *task))[0].split()[1])
        for of_what in (["--model", merged], [*MODEL, "--adapter", adapter], MODEL)
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1.5e-4) and abs(losses[2] - losses[1]) > 1e-2


def test_what_bitfit_has_learned_merges_into_a_model(tmp_path):
    prints("finetune", *MODEL, "--task", "sums.csv", "--method", "bitfit", *QUICK, "--out", tmp_path)
    prints("merge", *MODEL, "--adapter", tmp_path, "--out", tmp_path / "merged.safetensors")
    merged, base = weights_of(minilora.load_model(tmp_path / "merged.safetensors")), weights_of(byte_gpt())
    assert {name for name in base if not same_bits(base[name], merged[name])} == {n for n in base if "bias" in n}


WRONG = {
    "merge adapters": (
        [*MERGE, "--adapter", "houlsby.safetensors"],
        r"--adapter was houlsby.safetensors, which cannot be merged",
    ),
    "merge nothing": (MERGE, r"--adapter was not given"),
    "merge into a folder": (
        [*MERGE[:-1], "./", "--adapter", "adapter.safetensors"],
        "--out was ./, where model.safetensors is what ",
    ),
    "merge another shape": ([*MERGE, "--adapter", "wider.safetensors"], r"wider.safetensors: "),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_written(arguments, message, folder, capsys):
    check_refused(arguments, message, folder, capsys)

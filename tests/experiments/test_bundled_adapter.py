"""The bundled adapter's file belongs to its decoder, is small, and says how it was made."""

import json

import numpy as np
import pytest

from minilora.experiments import bundled_adapter
from minilora.experiments.bundled_adapter import ADAPTER, main, run
from minilora.methods import bundled_adapter as bundled_adapter_file
from minilora.methods import load_adapter
from minilora.models import GPT, GPTConfig, save_model, weights_hash

CONFIG = GPTConfig(vocab_size=256, n_positions=256, n_layer=1, d_model=16, n_head=2)


def tiny_model(seed=0):
    return GPT(CONFIG, np.random.default_rng(seed))


def test_the_adapter_gives_its_answers_on_the_decoder_that_it_was_made_for(tmp_path):
    model = tiny_model()
    record = run(tmp_path, model, steps=2, batch_size=2, n_prompts=2, command="the command")
    assert json.loads((tmp_path / ADAPTER).with_suffix(".json").read_text()) == json.loads(json.dumps(record))
    assert record["command"] == "the command" and record["base"] == weights_hash(tiny_model())
    assert record["bytes"] == (tmp_path / ADAPTER).stat().st_size and len(record["valid"]["samples"]) == 2
    assert record["train"]["batch_size"] == 2 and record["settings"]["rank"] == 16
    again, ids = tiny_model(), np.arange(20)[None]
    before = again.forward(ids)[0]
    load_adapter(again, tmp_path / ADAPTER)
    assert np.array_equal(again.forward(ids)[0], model.forward(ids)[0]) and not np.allclose(
        before, again.forward(ids)[0]
    )
    with pytest.raises(ValueError, match="base"):
        load_adapter(tiny_model(1), tmp_path / ADAPTER)


def test_an_adapter_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(bundled_adapter, "MOST_BYTES", 1000)
    with pytest.raises(ValueError, match="it must have at most 1,000"):
        run(tmp_path, tiny_model(), steps=1, batch_size=2, n_prompts=2)
    assert not (tmp_path / ADAPTER).with_suffix(".json").exists()


def test_the_file_that_is_bundled_is_small_and_good():
    """Most of valid's sentences are right; `test_demo.py` holds that it gives the answers of its record."""
    record = json.loads(bundled_adapter_file().with_suffix(".json").read_text())
    assert bundled_adapter_file().stat().st_size == record["bytes"] <= bundled_adapter.MOST_BYTES
    assert record["valid"]["slot_exact"] >= 0.6 and len(record["valid"]["samples"]) == 96


def test_the_command_line_trains_on_a_model_file(tmp_path, capsys):
    save_model(tiny_model(), tmp_path / "model.safetensors")
    main(["--out", str(tmp_path), "--model", str(tmp_path / "model.safetensors"), "--steps", "1", "--batch-size", "2"])
    assert "slot-exact" in capsys.readouterr().out and (tmp_path / ADAPTER).exists()
    record = json.loads((tmp_path / ADAPTER).with_suffix(".json").read_text())
    assert record["command"].endswith("--steps 1 --batch-size 2") and record["train"]["steps"] == 1

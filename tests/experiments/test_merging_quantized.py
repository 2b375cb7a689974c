"""The three ways to merge an adapter that was trained beside a quantised base."""

import numpy as np
import pytest

from experiments.tiny import byte_gpt, sum_task
from minilora.experiments import merging_quantized as experiment
from minilora.files import read_json
from minilora.methods import HoulsbyConfig, LoRAConfig, apply_lora, apply_method, quantize, save_adapter
from minilora.models import GPTConfig, save_model

CONFIG = GPTConfig(vocab_size=256, n_positions=256, n_layer=1, d_model=32, n_head=2)
LORA = LoRAConfig(rank=2, alpha=4, targets=("q_proj", "v_proj", "fc_in"))


def open_base(bits):
    model = byte_gpt(config=CONFIG)
    if bits is not None:
        quantize(model, bits)
    return model


@pytest.fixture
def adapter(tmp_path):
    model = open_base(4)
    apply_lora(model, LORA, rng=np.random.default_rng(0))
    for p in model.trainable_parameters():
        p.data += 0.2 * np.random.default_rng(1).standard_normal(p.shape).astype("float32")
    save_adapter(model, tmp_path / "adapter.safetensors")
    return tmp_path / "adapter.safetensors"


def test_the_ways_differ_as_they_must(adapter):
    rows = experiment.merging_table(open_base, adapter, sum_task(), n_prompts=2, max_tokens=3)
    assert tuple(row["way"] for row in rows) == experiment.WAYS
    trained, into_four, again, original = rows
    assert trained["logits_error"] == 0 and trained["same_token"] == 1
    assert 0 < into_four["logits_error"] < 1e-5 and into_four["loss"] == pytest.approx(trained["loss"], rel=1e-5)
    assert again["logits_error"] > 1e-3 and original["logits_error"] > 1e-3
    lines = experiment.table_lines(rows)
    assert len(lines) == 6 and lines[0].split() == ["merged", "logits_error", "same_token", "loss"]


def test_the_models_are_what_their_names_say(adapter):
    models = dict(experiment.merged_models(open_base, adapter, 4))
    W, W_q = open_base(None).blocks[0].attn.q_proj.W.data, open_base(4).blocks[0].attn.q_proj.W.data
    layer = models[experiment.REFERENCE].blocks[0].attn.q_proj
    into_four, original = (
        models[way].blocks[0].attn.q_proj.W.data for way in ("into dequant(W_q)", experiment.ORIGINAL)
    )
    assert np.array_equal(into_four, W_q + layer.delta_W())
    assert np.array_equal(original, W + layer.delta_W())
    again = models[experiment.AGAIN].blocks[0].attn.q_proj.W
    assert again.packed.kind == "nf4" and not np.array_equal(again.data, into_four)


def test_the_command_writes_the_table(tmp_path, capsys):
    base = byte_gpt(config=CONFIG)
    save_model(base, tmp_path / "base.safetensors")
    quantize(base)
    apply_lora(base, LORA, rng=np.random.default_rng(0))
    save_adapter(base, tmp_path / "adapter.safetensors")
    names = ["--model", tmp_path / "base.safetensors", "--adapter", tmp_path / "adapter.safetensors"]
    experiment.main([*map(str, names), "--prompts", "2", "--out", str(tmp_path / "table.json")])
    assert "into the original W" in capsys.readouterr().out
    told = read_json(tmp_path / "table.json")
    assert [row["way"] for row in told["rows"]] == list(experiment.WAYS) and "slot_exact" in told["rows"][0]
    assert told["quantization"]["matrices"] == {"nf4": 6}


def test_an_adapter_that_cannot_be_merged_is_refused(tmp_path):
    model = open_base(4)
    apply_method(model, HoulsbyConfig("houlsby", size=2))
    save_adapter(model, tmp_path / "adapter.safetensors")
    with pytest.raises(ValueError, match="which holds no LoRA; only a delta_W can be merged"):
        experiment.merging_table(open_base, tmp_path / "adapter.safetensors", sum_task())

import numpy as np
import pytest

from device_array import to_fake_device
from minilora import GPT, GPTConfig, LoRAConfig, apply_lora, merge_lora, set_adapter
from minilora.analysis import adapter_factors, delta_weights, weight_changes

CONFIG = GPTConfig(vocab_size=7, n_positions=4, n_layer=2, d_model=8, n_head=2, d_mlp=12)


def adapted_model(**lora):
    rng = np.random.default_rng(0)
    model = GPT(CONFIG, rng)
    apply_lora(model, LoRAConfig(**lora), rng=rng)
    for p in model.trainable_parameters():
        p.data[...] = rng.standard_normal(p.data.shape)
    return model


def test_delta_weights_are_scale_B_A_of_every_adapted_layer():
    model = adapted_model(rank=3, alpha=6, targets=("v_proj", "fc_in"))
    deltas = delta_weights(model)
    assert list(deltas) == ["blocks.0.attn.v_proj", "blocks.0.mlp.fc_in", "blocks.1.attn.v_proj", "blocks.1.mlp.fc_in"]
    layer = dict(model.named_modules())["blocks.1.mlp.fc_in"]
    delta_W = deltas["blocks.1.mlp.fc_in"]
    assert delta_W.shape == (12, 8)
    assert delta_W.dtype == np.float64
    np.testing.assert_allclose(delta_W, layer.delta_W(), rtol=1e-5, atol=1e-5)
    assert np.linalg.matrix_rank(delta_W) == 3


def test_delta_weights_are_those_of_the_active_adapter_merged_or_not():
    model = adapted_model(rank=2, targets=("q_proj",))
    first = delta_weights(model)
    apply_lora(model, LoRAConfig(rank=2, targets=("v_proj",)), rng=np.random.default_rng(1), name="second")
    assert list(delta_weights(model)) == ["blocks.0.attn.v_proj", "blocks.1.attn.v_proj"]
    set_adapter(model, "default")
    merge_lora(model)
    for path, delta_W in delta_weights(model).items():
        np.testing.assert_array_equal(delta_W, first[path])


def test_factors_are_copies():
    model = adapted_model(rank=2)
    factors = adapter_factors(model)["blocks.0.attn.q_proj"]
    factors.A[...] = 0
    assert dict(model.named_parameters())["blocks.0.attn.q_proj.A"].data.all()


def test_a_model_without_an_active_adapter_is_refused():
    with pytest.raises(ValueError, match="no active LoRA adapter"):
        delta_weights(GPT(CONFIG, np.random.default_rng(0)))
    model = adapted_model(rank=2)
    set_adapter(model, None)
    with pytest.raises(ValueError, match="no active LoRA adapter"):
        delta_weights(model)


def test_nan_in_an_adapter_is_found():
    model = adapted_model(rank=2)
    model.trainable_parameters()[0].data[0, 0] = np.nan
    with pytest.raises(ValueError, match=r"blocks\.0\.attn\.q_proj\.A holds NaN"):
        delta_weights(model)


def test_weight_changes_are_the_differences_of_the_matrices():
    rng = np.random.default_rng(0)
    before = {"W": rng.standard_normal((3, 5)).astype(np.float32), "bias": rng.standard_normal(3)}
    added = rng.standard_normal((3, 5)).astype(np.float32)
    changes = weight_changes(before, {"W": before["W"] + added, "bias": before["bias"] + 1})
    assert list(changes) == ["W"]
    assert changes["W"].dtype == np.float64
    np.testing.assert_allclose(changes["W"], added, atol=1e-6)


def test_weight_changes_come_to_the_host():
    W = np.arange(6.0).reshape(2, 3)
    changes = weight_changes({"W": to_fake_device(W)}, {"W": to_fake_device(2 * W)})
    assert type(changes["W"]) is np.ndarray
    np.testing.assert_array_equal(changes["W"], W)


def test_weight_changes_refuse_what_does_not_match():
    W = np.ones((2, 3))
    with pytest.raises(ValueError, match=r"differ in the names \['V', 'W'\]"):
        weight_changes({"W": W}, {"V": W})
    with pytest.raises(ValueError, match=r"W had shape \(2, 3\) before and \(3, 2\) after"):
        weight_changes({"W": W}, {"W": W.T})
    with pytest.raises(ValueError, match=r"after\['W'\] holds NaN or infinite"):
        weight_changes({"W": W}, {"W": W * np.inf})

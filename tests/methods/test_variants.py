"""DoRA and PiSSA in a model: how they start, what they learn, merging, switching, and beside plain LoRA."""

import copy

import numpy as np
import pytest

from methods.every import EVERY, tiny_adapted
from methods.tiny import (
    EVERYWHERE,
    gradients_of,
    logits_of,
    rng,
    same_bits,
    some_batch,
    tiny_gpt,
    tiny_lora,
    trainable_names,
    weights_of,
)
from minilora.analysis import adapter_factors, delta_weights
from minilora.files import load_arrays, save_arrays
from minilora.gradcheck import GradientError, check_model
from minilora.methods import (
    LoRAConfig,
    adapter_dropout,
    adapter_names,
    apply_lora,
    load_adapter,
    lora_layers,
    merge_lora,
    save_adapter,
    set_adapter,
    unmerge_lora,
)
from minilora.methods.lora import variants as lora_variants
from minilora.ops.fast import dora_linear_backward, linear_backward, linear_forward, lora_fa_linear_backward, row_norm
from minilora.training import AdamW

DORA, PISSA, LORA_FA = EVERY["dora"], EVERY["pissa"], EVERY["lora-fa"]
VARIANTS = [DORA, EVERY["dora, exact"], PISSA, LORA_FA, EVERY["lora-ga"]]
each_variant = pytest.mark.parametrize("config", VARIANTS, ids=["dora", "dora, exact", "pissa", "lora-fa", "lora-ga"])


# ---- DoRA


def test_doras_m_starts_as_the_lengths_of_ws_rows_and_stays_the_lengths_of_what_is_merged():
    for path, layer in lora_layers(tiny_adapted(DORA, learned=False)).items():
        assert np.allclose(layer.factors.m.data, np.linalg.norm(layer.base.W.data, axis=1), rtol=1e-14), path
    model = tiny_adapted(DORA)
    merge_lora(model)
    for path, layer in lora_layers(model).items():
        assert np.allclose(row_norm(layer.base.W.data), np.abs(layer.factors.m.data), rtol=0, atol=1e-12), path


def test_doras_row_of_merged_W_points_where_V_points():
    model = tiny_adapted(DORA)
    layer = model.blocks[0].mlp.fc_in
    V = layer.base.W.data + layer.scale * layer.B.data @ layer.A.data
    merged = layer.base.W.data + layer.delta_W()
    cosines = (V * merged).sum(axis=1) / np.linalg.norm(V, axis=1) / np.linalg.norm(merged, axis=1)
    assert np.allclose(np.abs(cosines), 1.0, rtol=0, atol=1e-14)


def test_doras_constant_norm_leaves_dm_and_dx_and_drops_a_part_of_dA_and_dB():
    """What is dropped lies along V: the exact gradient of a row of V is orthogonal to that row."""
    model = tiny_adapted(DORA)
    layer = model.blocks[0].mlp.fc_in
    x, dy = rng(5).standard_normal((4, 6)), rng(6).standard_normal((4, 10))
    grads = {}
    for exact in (False, True):
        layer.factors.exact = exact
        layer.zero_grad()
        dx = layer.backward(dy, layer.forward(x)[1])
        grads[exact] = {"x": dx, "A": layer.A.grad, "B": layer.B.grad, "m": layer.factors.m.grad}
    same = {name for name in "xABm" if np.array_equal(grads[False][name], grads[True][name])}
    assert same == {"x", "m"}
    V = layer.base.W.data + layer.scale * layer.B.data @ layer.A.data
    gain = (layer.factors.m.data / row_norm(V))[:, None]
    dV = gain * linear_backward(dy, linear_forward(x, V)[1])[1]  # norm a constant
    unit = V / row_norm(V)[:, None]
    exact_dV = dV - (dV * unit).sum(axis=1, keepdims=True) * unit
    assert np.allclose(grads[False]["B"], layer.scale * dV @ layer.A.data.T, rtol=0, atol=1e-12)
    assert np.allclose(grads[True]["B"], layer.scale * exact_dV @ layer.A.data.T, rtol=0, atol=1e-12)
    assert np.allclose(grads[True]["A"], layer.scale * layer.B.data.T @ exact_dV, rtol=0, atol=1e-12)


def test_doras_dropout_acts_on_loras_branch_alone():
    model = tiny_gpt()
    apply_lora(model, LoRAConfig(rank=2, targets=("fc_in",), dora=True, dropout=0.5), rng=rng(1))
    layer, x = model.blocks[0].mlp.fc_in, rng(5).standard_normal((4, 6))
    with adapter_dropout(model, rng(2)):
        assert same_bits(layer.forward(x)[0], layer.base.forward(x)[0])  # B is zero
        layer.B.data[...] = 1.0
        dropped, cache = layer.forward(x)
    assert not np.isclose(dropped, layer.forward(x)[0]).any() and set(np.unique(cache.inner.dropout_mask)) == {0.0, 2.0}


@pytest.mark.parametrize(
    "mutant",
    [
        lambda dx, dA, dB, dm: (dx, dA, dB, 0.0 * dm),
        lambda dx, dA, dB, dm: (dx, dA, 2.0 * dB, dm),
        lambda dx, dA, dB, dm: (dx, -dA, dB, dm),
        lambda dx, dA, dB, dm: (0.9 * dx, dA, dB, dm),
    ],
)
def test_a_wrong_backward_of_dora_fails(monkeypatch, mutant):
    monkeypatch.setattr(
        lora_variants, "dora_linear_backward", lambda dy, cache: mutant(*dora_linear_backward(dy, cache))
    )
    with pytest.raises(GradientError, match="backward says"):
        check_model(tiny_adapted(EVERY["dora, exact"]), some_batch(), rng=rng(4))


def test_doras_delta_W_is_of_full_rank_and_has_no_factors():
    model = tiny_adapted(DORA)
    for path, delta in delta_weights(model).items():
        layer = lora_layers(model)[path]
        assert np.array_equal(delta, layer.delta_W())
        assert np.linalg.matrix_rank(delta) == min(delta.shape) > 2
    with pytest.raises(
        ValueError, match="the delta_W of .* is not a product of .*; delta_weights gives it as a matrix"
    ):
        adapter_factors(model)


# ---- LoRA-FA


def test_lora_fa_is_lora_whose_A_does_not_move():
    model, plain = tiny_adapted(LORA_FA), tiny_gpt()
    apply_lora(plain, EVERY["lora"], rng=rng(1))
    names = trainable_names(model)
    assert all(name.endswith(".B") for name in names) and len(names) == 12
    for path, layer in lora_layers(model).items():
        other = lora_layers(plain)[path]
        assert same_bits(layer.A.data, other.A.data), path  # the same draw
        other.B.data[...] = layer.B.data
    assert same_bits(logits_of(model), logits_of(plain))
    with_all = gradients_of(plain)
    assert all(same_bits(grad, with_all[name]) for name, grad in gradients_of(model).items())


def test_lora_fa_keeps_no_input():
    layer, x = tiny_adapted(LORA_FA).blocks[0].mlp.fc_in, rng(5).standard_normal((4, 6))
    cache = layer.forward(x)[1].inner
    assert not any(array is x or array.shape == x.shape for array in cache if hasattr(array, "shape"))


@pytest.mark.parametrize("mutant", [lambda dx, dB: (dx, 2.0 * dB), lambda dx, dB: (0.9 * dx, dB)])
def test_a_wrong_backward_of_lora_fa_fails(monkeypatch, mutant):
    monkeypatch.setattr(
        lora_variants, "lora_fa_linear_backward", lambda dy, cache: mutant(*lora_fa_linear_backward(dy, cache))
    )
    with pytest.raises(GradientError, match="backward says"):
        check_model(tiny_adapted(LORA_FA), some_batch(), rng=rng(4))


def test_a_constant_cannot_be_made_trainable():
    A = tiny_adapted(LORA_FA).blocks[0].mlp.fc_in.A
    with pytest.raises(ValueError, match=r"blocks.0.mlp.fc_in.A was made trainable; it must stay as it was drawn"):
        A.trainable = True


# ---- PiSSA


@pytest.mark.parametrize("rslora", [False, True])
def test_pissa_starts_with_the_best_approximation_of_W_by_rank_r(rslora):
    model = tiny_gpt()
    config = LoRAConfig(rank=2, alpha=3, targets=EVERYWHERE, init="pissa", rslora=rslora)
    apply_lora(model, config, rng=rng())
    for path, layer in lora_layers(model).items():
        W, start = layer.base.W.data, layer.scale * layer.B.data @ layer.A.data
        s = np.linalg.svd(W, compute_uv=False)
        assert np.linalg.matrix_rank(start) == 2, path
        assert np.linalg.norm(W - start) == pytest.approx(np.sqrt((s[2:] ** 2).sum()), rel=1e-12), path
        assert np.allclose(layer.factors.W_res, W - start, rtol=0, atol=1e-14), path
        balance = layer.A.data @ layer.A.data.T, layer.B.data.T @ layer.B.data  # both S_r / scale
        assert all(np.allclose(gram, np.diag(s[:2]) / layer.scale, rtol=0, atol=1e-12) for gram in balance), path


def test_pissa_keeps_the_bases_W_to_the_bit():
    model = tiny_adapted(PISSA, learned=False)
    before = {path: layer.base.W.data.copy() for path, layer in lora_layers(model).items()}
    optimizer = AdamW(model.parameters(), lr=0.1)
    for _ in range(3):
        gradients_of(model)
        optimizer.step()
    assert all(same_bits(layer.base.W.data, before[path]) for path, layer in lora_layers(model).items())
    assert all((layer.A.data != layer.factors.A0).all() for layer in lora_layers(model).values())
    set_adapter(model, None)
    assert same_bits(logits_of(model), logits_of(tiny_gpt()))


def test_on_pissas_first_step_both_A_and_B_have_gradients():
    """Unlike LoRA, whose A stands still while B is zero."""
    grads = gradients_of(tiny_adapted(PISSA, learned=False))
    assert all(grad.all() for grad in grads.values()) and len(grads) == 2 * 6 * 2


def test_pissas_gradients_are_projections_of_full_fine_tunings():
    model = tiny_adapted(PISSA)
    layer = model.blocks[1].attn.v_proj
    x, dy = rng(5).standard_normal((4, 6)), rng(6).standard_normal((4, 6))
    layer.backward(dy, layer.forward(x)[1])
    G = dy.T @ x
    assert np.allclose(layer.B.grad, layer.scale * G @ layer.A.data.T, rtol=0, atol=1e-12)
    assert np.allclose(layer.A.grad, layer.scale * layer.B.data.T @ G, rtol=0, atol=1e-12)


def test_pissas_delta_W_is_zero_at_the_start_and_of_rank_2r_after():
    start = delta_weights(tiny_adapted(PISSA, learned=False))
    assert all(np.abs(delta).max() < 1e-14 for delta in start.values())
    model = tiny_adapted(PISSA)
    for path, delta in delta_weights(model).items():
        layer = lora_layers(model)[path]
        f = layer.factors
        assert np.allclose(delta, layer.scale * (f.B.data @ f.A.data - f.B0 @ f.A0), rtol=0, atol=1e-13), path
        assert np.linalg.matrix_rank(delta) == 4, path


def test_a_replica_shares_pissas_constants_and_not_its_gradients():
    factors = tiny_adapted(PISSA).blocks[0].attn.q_proj.factors
    twin = copy.deepcopy(factors)
    assert twin.W_res is factors.W_res and twin.A0 is factors.A0 and twin.B0 is factors.B0
    assert twin.A is not factors.A


def test_pissas_start_does_not_depend_on_the_rng():
    one, other = tiny_gpt(), tiny_gpt()
    apply_lora(one, PISSA, rng=rng(1))
    apply_lora(other, PISSA, rng=rng(2))
    assert same_bits(weights_of(one), weights_of(other))


# ---- what holds for each


@each_variant
@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-5), ("float64", 1e-12)])
def test_merged_the_logits_are_the_same_and_unmerging_restores_the_bits(config, dtype, bound):
    model = tiny_adapted(config, dtype)
    before, weights = logits_of(model), weights_of(model)
    merge_lora(model)
    assert np.abs(logits_of(model) - before).max() <= bound * np.abs(before).max()
    unmerge_lora(model)
    assert same_bits(weights_of(model), weights) and same_bits(logits_of(model), before)


@each_variant
def test_it_stands_beside_plain_lora_on_one_base(config, tmp_path):
    model = tiny_lora(LoRAConfig(rank=2, alpha=3, targets=("q_proj", "fc_in")))
    plain = logits_of(model)
    save_adapter(tiny_adapted(config), tmp_path / "variant")
    load_adapter(model, tmp_path / "variant", name="variant")
    assert same_bits(logits_of(model), logits_of(tiny_adapted(config)))
    assert trainable_names(model) == trainable_names(tiny_adapted(config))
    set_adapter(model, "default")
    assert same_bits(logits_of(model), plain)
    assert all(name.endswith((".A", ".B")) for name in trainable_names(model))
    set_adapter(model, None)
    assert same_bits(logits_of(model), logits_of(tiny_gpt()))
    assert adapter_names(model) == ["default", "variant"]


@each_variant
def test_a_file_without_one_of_its_arrays_is_refused(config, tmp_path):
    save_adapter(tiny_adapted(config), tmp_path / "file")
    arrays, about = load_arrays(tmp_path / "file", "lora")
    missing = "blocks.0.attn.q_proj." + ("m" if config.dora else "A" if config.freeze_A else "A0")
    del arrays[missing]
    save_arrays(tmp_path / "file", arrays, about)
    with pytest.raises(ValueError, match=f"does not fit the model: {missing} is only in one of them"):
        load_adapter(tiny_gpt(), tmp_path / "file")


def test_a_file_of_plain_lora_that_knows_no_variants_still_loads(tmp_path):
    """As it was written before there were any: without the settings that say so."""
    model, other = tiny_lora(), tiny_gpt()
    save_adapter(model, tmp_path / "file")
    arrays, about = load_arrays(tmp_path / "file", "lora")
    for setting in ("dora", "dora_exact"):
        del about["config"][setting]
    save_arrays(tmp_path / "file", arrays, about)
    load_adapter(other, tmp_path / "file")
    assert same_bits(weights_of(other), weights_of(model))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dora": True, "init": "pissa"}, "dora and init='pissa' are mutually exclusive"),
        ({"dora": True, "freeze_A": True}, "freeze_A was True, beside dora, which trains A"),
        ({"init": "pissa", "freeze_A": True}, "freeze_A was True, beside init='pissa', which trains A"),
        ({"init": "lora-ga", "dora": True}, "dora and init='lora-ga' are mutually exclusive"),
        ({"init": "lora-ga", "gamma": 0}, "gamma was 0; it must be a number above 0"),
        ({"freeze_A": 1}, "freeze_A was 1; it must be True or False"),
        ({"dora_exact": True}, "dora_exact was True, but dora was False"),
        (
            {"init": "pissa", "alpha": 0},
            "init was 'pissa', which divides by alpha; each alpha must be a number above 0",
        ),
        ({"init": "pissa", "alpha_pattern": {"q_proj": -1}}, "init was 'pissa', which divides by alpha"),
        ({"init": "olora"}, "init was 'olora'; it must be one of 'uniform', 'gaussian', 'pissa'"),
    ],
)
def test_settings_that_contradict_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        LoRAConfig(**settings)

"""VeRA in a model: what is drawn and shared, what is learned, its file, its product, and wrong gradients."""

import numpy as np
import pytest

from methods.every import EVERY, tiny_adapted
from methods.tiny import EVERYWHERE, logits_of, rng, same_bits, some_batch, tiny_gpt, trainable_names, weights_of
from minilora.files import load_arrays, save_arrays
from minilora.gradcheck import GradientError, check_model
from minilora.methods import (
    VeRAConfig,
    adapter_dropout,
    apply_method,
    combine_adapters,
    load_adapter,
    lora_layers,
    merge_lora,
    method_of,
    save_adapter,
    set_adapter,
    unmerge_lora,
)
from minilora.methods import vera as module
from minilora.methods.vera import draw_projections
from minilora.ops.fast import vera_linear_backward

VERA = EVERY["vera"]


def test_A_and_B_are_one_pair_for_all_layers_as_wide_as_the_widest():
    layers = list(lora_layers(tiny_adapted(VERA)).values())
    A, B = layers[0].A, layers[0].B
    assert all(layer.A is A and layer.B is B for layer in layers)
    assert A.shape == (7, 10) and B.shape == (10, 7)
    assert not A.trainable and not B.trainable


def test_A_and_B_have_the_bounds_of_kaiming_and_fill_them():
    A, B = draw_projections(50, 40, 30, seed=1)
    for matrix, fan_in in ((A, 30), (B, 50)):
        bound = np.sqrt(6 / fan_in)
        assert 0.99 * bound < np.abs(matrix).max() < bound and abs(matrix.mean()) < 0.05 * bound
        assert matrix.std() == pytest.approx(bound / np.sqrt(3), rel=0.05)


def test_the_draw_is_the_same_for_ever():
    """A file holds the seed alone: another stream would make another model of it."""
    A, B = draw_projections(2, 3, 2, seed=5)
    assert A.reshape(-1).tolist() == pytest.approx(EXPECTED_A, abs=1e-15)
    assert B.reshape(-1)[:2].tolist() == pytest.approx(EXPECTED_B, abs=1e-15)
    assert draw_projections(2, 3, 2, seed=6)[0][0, 0] != A[0, 0]


EXPECTED_A = [1.056561120768109, 1.0667381870929835, 0.0530893007589763, -0.7420057851969466]
EXPECTED_B = [-1.5452293743430676, -0.4040220484462103]


def test_delta_W_is_the_papers_and_merging_adds_it():
    model = tiny_adapted(VERA)
    for path, layer in lora_layers(model).items():
        f, (O, I) = layer.factors, layer.base.W.shape
        expected = np.diag(f.b.data) @ f.B.data[:O] @ np.diag(f.d.data) @ f.A.data[:, :I]
        assert np.allclose(layer.delta_W(), expected, rtol=0, atol=1e-14), path
    before, weights = logits_of(model), weights_of(model)
    merge_lora(model)
    assert np.abs(logits_of(model) - before).max() < 1e-12
    unmerge_lora(model)
    assert same_bits(weights_of(model), weights)


def test_at_the_start_d_has_no_gradient_and_b_has_one():
    """Because b is 0; like LoRA's A and B."""
    model = tiny_adapted(VERA, learned=False)
    assert all((layer.factors.d.data == 0.1).all() for layer in lora_layers(model).values())
    _, cache = model.loss(some_batch())
    model.backward_loss(1.0, cache)
    for p in model.trainable_parameters():
        assert p.grad.any() == p.name.endswith(".b")


def test_its_file_has_d_and_b_alone_unless_A_and_B_came_from_elsewhere(tmp_path):
    model = tiny_adapted(VERA)
    save_adapter(model, tmp_path / "small")
    assert set(load_arrays(tmp_path / "small", "vera")[0]) == set(trainable_names(model))
    model = tiny_adapted(VeRAConfig(rank=7, targets=EVERYWHERE, seed=4, save_projection=True))
    first = lora_layers(model)["blocks.0.attn.q_proj"]
    first.A.data[...] = rng(9).standard_normal(first.A.shape)  # as if PEFT had drawn it
    save_adapter(model, tmp_path / "large")
    arrays = load_arrays(tmp_path / "large", "vera")[0]
    assert set(arrays) - set(trainable_names(model)) == {"blocks.0.attn.q_proj.A", "blocks.0.attn.q_proj.B"}
    other = tiny_gpt()
    load_adapter(other, tmp_path / "large")
    assert same_bits(logits_of(other), logits_of(model)) and method_of(other) == method_of(model)


def test_a_file_of_an_endless_rank_is_refused_before_anything_is_drawn(tmp_path, monkeypatch):
    save_adapter(tiny_adapted(VERA), tmp_path / "file")
    arrays, about = load_arrays(tmp_path / "file", "vera")
    about["config"]["rank"] = 10**12
    save_arrays(tmp_path / "file", arrays, about)
    monkeypatch.setattr(module, "draw_projections", None)  # it would have to be called
    with pytest.raises(ValueError, match=r"has shape \(7,\); model and configuration want \(1000000000000,\)"):
        load_adapter(tiny_gpt(), tmp_path / "file")


def test_without_a_seed_one_is_drawn_and_the_configuration_has_it():
    one, other = tiny_gpt(), tiny_gpt()
    for model, seed in ((one, 1), (other, 2)):
        apply_method(model, VeRAConfig(rank=3), rng=rng(seed))
        assert isinstance(method_of(model).seed, int)
    assert method_of(one) != method_of(other)


def test_two_adapters_on_one_model_have_each_their_own_A_and_B():
    model = tiny_adapted(VERA)
    first = logits_of(model)
    apply_method(model, VeRAConfig(rank=3, seed=1), name="other")
    assert same_bits(logits_of(model), logits_of(tiny_gpt()))
    set_adapter(model, "vera")
    assert same_bits(logits_of(model), first)


def test_as_a_product_it_becomes_plain_lora():
    model = tiny_adapted(VeRAConfig(rank=3, targets=("q_proj", "fc_in"), seed=2))
    before = logits_of(model)
    combine_adapters(model, ["vera"], [1.0])
    assert np.abs(logits_of(model) - before).max() < 1e-12


def test_dropout_acts_on_its_branch_alone():
    model = tiny_gpt()
    apply_method(model, VeRAConfig(rank=3, targets=("fc_in",), dropout=0.5, seed=1))
    layer, x = model.blocks[0].mlp.fc_in, rng(5).standard_normal((4, 6))
    with adapter_dropout(model, rng(2)):
        assert same_bits(layer.forward(x)[0], layer.base.forward(x)[0])  # b is zero
        layer.factors.b.data[...] = 1.0
        dropped, cache = layer.forward(x)
    assert not np.isclose(dropped, layer.forward(x)[0]).any() and set(np.unique(cache.inner.dropout_mask)) == {0.0, 2.0}


@pytest.mark.parametrize(
    "mutant",
    [lambda dx, dd, db: (dx, 2.0 * dd, db), lambda dx, dd, db: (dx, dd, -db), lambda dx, dd, db: (0.9 * dx, dd, db)],
)
def test_a_wrong_backward_fails(monkeypatch, mutant):
    monkeypatch.setattr(module, "vera_linear_backward", lambda dy, cache: mutant(*vera_linear_backward(dy, cache)))
    with pytest.raises(GradientError, match="backward says"):
        check_model(tiny_adapted(VERA), some_batch(), rng=rng(4))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, "rank was 0; it must be an integer of at least 1"),
        ({"targets": ()}, "targets was"),
        ({"d_initial": 0}, "d_initial was 0; it must be a finite number other than 0"),
        ({"dropout": 1}, "dropout was 1; it must be 0 <= dropout < 1"),
        ({"seed": -1}, "seed was -1; it must be an integer of at least 0"),
        ({"save_projection": 1}, "save_projection was 1; it must be True or False"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        VeRAConfig(**settings)

"""LoRA-GA: it starts at the base's function, and its first step is the closest of rank 2 r to full fine-tuning's."""

import numpy as np
import pytest

from methods.every import EVERY, tiny_adapted
from methods.tiny import gradients_of, logits_of, rng, same_bits, some_batch, tiny_gpt, trainable_names, weights_of
from minilora.analysis import low_rank_approximation
from minilora.methods import FullConfig, LoRAConfig, apply_method, load_adapter, lora_layers, save_adapter, set_adapter
from minilora.methods.lora import apply as lora_apply
from minilora.methods.lora.gradient_start import gradient_start, weight_gradients

LORA_GA = EVERY["lora-ga"]
BATCHES = [some_batch(seed=3), some_batch(seed=4)]


def started(config=LORA_GA, batches=BATCHES):
    model = tiny_gpt()
    apply_method(model, config, batches=batches)
    return model


def gradients_of_full():
    """G of every matrix: the mean of those of the two batches."""
    model = tiny_gpt()
    apply_method(model, FullConfig())
    one, other = (gradients_of(model, batch) for batch in BATCHES)
    return {name: (one[name] + other[name]) / 2 for name in one}


def first_order_change(model):
    """What a short step of gradient descent on A and B changes each W by, divided by minus the rate."""
    one, other = (gradients_of(model, batch) for batch in BATCHES)
    changes = {}
    for path, layer in lora_layers(model).items():
        dA, dB = ((one[f"{path}.{letter}"] + other[f"{path}.{letter}"]) / 2 for letter in "AB")
        changes[path] = layer.scale * (dB @ layer.A.data + layer.B.data @ dA)
    return changes


def test_the_gradients_are_those_of_full_fine_tuning_and_the_model_is_as_it_was():
    model = tiny_gpt()
    apply_method(model, "bitfit")
    before, trained = weights_of(model), trainable_names(model)
    weights = {path: p for path, p in model.named_parameters() if path.endswith("q_proj.W")}
    found, full = weight_gradients(model, weights, BATCHES), gradients_of_full()
    assert len(found) == 2 and same_bits(weights_of(model), before) and trainable_names(model) == trained
    assert all(p.grad is None for p in model.parameters())
    model = tiny_gpt()
    weights = {path: p for path, p in model.named_parameters() if path in full and path.endswith("_proj.W")}
    found = weight_gradients(model, weights, BATCHES)
    for path, G in found.items():
        np.testing.assert_allclose(G, full[path], rtol=0, atol=1e-14)


def test_the_first_step_is_the_best_approximation_of_G_of_rank_2r_times_a_number():
    full, (scale, gamma) = gradients_of_full(), (3 / 2, 4)
    for path, change in first_order_change(started()).items():
        G = full[f"{path}.W"]
        factor = scale**2 * G.shape[0] ** 0.5 / gamma
        best = low_rank_approximation(G, 4).product
        np.testing.assert_allclose(change, factor * best, rtol=0, atol=1e-12, err_msg=path)


MUTANTS = {
    "the same directions for both": lambda U, Vt, a: (a * U[:, :2], a * Vt[:2]),
    "singular values in B": lambda U, Vt, a: (a * U[:, 2:4] * np.array([2.0, 1.0]), a * Vt[:2]),
    "rows of U for columns": lambda U, Vt, a: (a * U.T[:, 2:4][: len(U)], a * Vt[:2]),
    "half the scale in A": lambda U, Vt, a: (a * U[:, 2:4], 0.5 * a * Vt[:2]),
}


@pytest.mark.parametrize("start", MUTANTS.values(), ids=MUTANTS)
def test_another_start_is_not(start, monkeypatch):
    def wrong(G, rank, gamma):
        U, _, Vt = np.linalg.svd(G)
        return start(U, Vt, G.shape[0] ** 0.25 / gamma**0.5)

    monkeypatch.setattr(lora_apply, "gradient_start", wrong)
    with pytest.raises(AssertionError, match="Not equal"):
        test_the_first_step_is_the_best_approximation_of_G_of_rank_2r_times_a_number()


def test_of_all_starts_of_this_length_it_is_the_closest_to_G():
    """Among random A0 and B0 with orthogonal rows and columns of the same length."""
    G, draw = rng(1).standard_normal((7, 6)), rng(2)
    B0, A0 = gradient_start(G, 2, gamma=7**0.5)  # a = 1
    assert np.allclose(A0 @ A0.T, np.eye(2)) and np.allclose(B0.T @ B0, np.eye(2))

    def distance(B, A):
        return np.linalg.norm(G - G @ A.T @ A - B @ B.T @ G)

    best = distance(B0, A0)
    assert best == pytest.approx(np.linalg.norm(G - low_rank_approximation(G, 4).product), rel=1e-12)
    for _ in range(200):
        B, A = (np.linalg.qr(draw.standard_normal((n, 2)))[0] for n in (7, 6))
        assert distance(B, A.T) > best


def test_it_starts_at_the_bases_function_and_the_base_keeps_its_W():
    model = started()
    assert np.abs(logits_of(model) - logits_of(tiny_gpt())).max() < 1e-12
    assert all(np.abs(layer.delta_W()).max() < 1e-14 for layer in lora_layers(model).values())
    set_adapter(model, None)
    assert same_bits(logits_of(model), logits_of(tiny_gpt()))


def test_its_file_needs_no_batches(tmp_path):
    model, other = tiny_adapted(LORA_GA), tiny_gpt()
    save_adapter(model, tmp_path / "file")
    load_adapter(other, tmp_path / "file")
    assert same_bits(weights_of(other), weights_of(model)) and same_bits(logits_of(other), logits_of(model))


@pytest.mark.parametrize(
    ("config", "batches", "message"),
    [
        (LORA_GA, None, "init was 'lora-ga', which starts from the gradient of some batches; batches must hold"),
        (LORA_GA, [], "batches must hold at least one"),
        (
            LoRAConfig(rank=4, targets=("fc_in",), init="lora-ga"),
            BATCHES,
            "rank was 4 for blocks.0.mlp.fc_in, whose W is 10 x 6; it must be from 1 to 3, as LoRA-GA needs 2 r",
        ),
    ],
)
def test_what_cannot_be_is_refused_and_the_model_stays_as_it_was(config, batches, message):
    model = tiny_gpt()
    with pytest.raises(ValueError, match=message):
        apply_method(model, config, batches=batches)
    assert same_bits(weights_of(model), weights_of(tiny_gpt())) and not lora_layers(model)

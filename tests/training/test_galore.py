"""GaLore: the best r directions, a small state, and LoRA's steps in the mirror."""

import itertools
import tracemalloc

import numpy as np
import pytest

from methods.tiny import CONFIG, same_bits, some_batch, tiny_gpt
from minilora.methods import LoRAConfig, apply_full, apply_lora, lora_layers
from minilora.ops import galore_back, galore_project, galore_projector
from minilora.parameter import Parameter
from minilora.training import SGD, AdamW, GaLore, TrainConfig, Trainer, galore_values, loss_and_backward
from minilora.training.checkpoint import CHECKPOINT, resume_run

BATCH = some_batch()
SHAPES = [(7, 4), (4, 7), (5, 5)]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


# ---- the projection


def best_of_rank(G, r):
    """By Eckart and Young."""
    U, S, Vt = np.linalg.svd(G, full_matrices=False)
    return (U[:, :r] * S[:r]) @ Vt[:r]


@each_shape
def test_what_comes_back_is_the_best_approximation_of_rank_r(shape):
    G = draw(*shape)
    P = galore_projector(G, 2)
    assert P.shape == (min(shape), 2) and np.allclose(P.T @ P, np.eye(2), rtol=0, atol=1e-14)
    R = galore_project(G, P)
    assert R.shape == ((2, shape[1]) if shape[0] <= shape[1] else (shape[0], 2))
    assert np.allclose(galore_back(R, P, shape), best_of_rank(G, 2), rtol=0, atol=1e-13)


def of_the_smallest(G, rank):
    U, _, Vt = np.linalg.svd(G, full_matrices=False)
    return U[:, -rank:] if len(G) <= G.shape[1] else Vt[-rank:].T


def of_the_longer_side(G, rank):
    return galore_projector(G.T, rank)


@pytest.mark.parametrize("mutant", [of_the_smallest, of_the_longer_side, lambda G, r: 2 * galore_projector(G, r)])
def test_other_directions_are_no_best_approximation(mutant):
    G = draw(4, 4)
    P = mutant(G, 2)
    assert not np.allclose(galore_back(galore_project(G, P), P, (4, 4)), best_of_rank(G, 2), atol=1e-2)


def test_float32_stays_float32():
    G = draw(5, 4).astype("float32")
    P = galore_projector(G, 2)
    assert {P.dtype, galore_project(G, P).dtype, galore_back(galore_project(G, P), P, G.shape).dtype} == {G.dtype}


# ---- the mirror: LoRA's steps are GaLore's with LoRA's own directions

LAYER = "blocks.0.attn.q_proj"


def adapted(train):
    """A tiny GPT whose q_proj has a LoRA of scale 1 with orthonormal directions; `train` is the one that is trained."""
    model = tiny_gpt()
    apply_lora(model, LoRAConfig(rank=2, alpha=2, targets=(LAYER,)), rng=np.random.default_rng(1))
    layer, C = lora_layers(model)[LAYER], CONFIG.d_model
    Q, _ = np.linalg.qr(draw(C, 2, seed=3))
    layer.A.data[...], layer.B.data[...] = (Q.T, 0) if train == "B" else (0, Q)
    layer.A.trainable, layer.B.trainable = train == "A", train == "B"
    return model, layer, Q


def of_full(model):
    """The same base, of which this one W is trained."""
    full = tiny_gpt()
    apply_full(full)
    W = dict(full.named_parameters())[f"{LAYER}.W"]
    for p in full.parameters():
        p.trainable = p is W
    return full, W


@pytest.mark.parametrize("train", ["A", "B"])
def test_the_gradients_of_A_and_B_are_projections_of_the_full_gradient(train):
    model, layer, Q = adapted(train)
    full, W = of_full(model)
    loss_and_backward(model, BATCH)
    loss_and_backward(full, BATCH)
    # dB = G A^T and dA = B^T G, and GaLore's R is one of these two
    of_lora, expected = (layer.B.grad, W.grad @ Q) if train == "B" else (layer.A.grad, Q.T @ W.grad)
    assert np.allclose(of_lora, expected, rtol=0, atol=1e-14) and np.abs(of_lora).max() > 1e-4
    if train == "A":  # W is square, so that GaLore projects its rows
        assert np.allclose(galore_project(W.grad, Q), of_lora, rtol=0, atol=1e-14)


def trained_both(train, G_to_P, steps=8):
    """W0 + B A after LoRA's steps with one of the two fixed, and W after GaLore's with given directions."""
    model, layer, Q = adapted(train)
    full, W = of_full(model)
    if train == "B":  # GaLore projects the shorter side, and of a square W the rows: so W^T is what it trains here
        W = Transposed(W)
    mine = AdamW(model.trainable_parameters(), lr=0.02)
    mirror = GaLore([W], lr=0.02, rank=2, every=3, scale=1.0, projector=lambda G, r: G_to_P(G, r, Q))
    for _ in range(steps):
        for which, optimizer in ((model, mine), (full, mirror)):
            which.zero_grad()
            loss_and_backward(which, BATCH)
            optimizer.step()
    return layer.frozen.data + layer.delta_W(), dict(full.named_parameters())[f"{LAYER}.W"].data, layer.frozen.data


class Transposed(Parameter):
    """W^T as a parameter: views of another one's data and gradient."""

    __slots__ = ("of",)

    def __init__(self, p):
        self.of = p
        super().__init__(p.data.T)

    @property
    def grad(self):
        return None if self.of.grad is None else self.of.grad.T

    @grad.setter
    def grad(self, value):
        assert value is None


@pytest.mark.parametrize("train", ["A", "B"])
def test_with_LoRAs_directions_galore_takes_LoRAs_steps_with_AdamW_too(train):
    of_lora, of_galore, before = trained_both(train, lambda G, r, Q: Q)
    assert np.allclose(of_lora, of_galore, rtol=0, atol=1e-12) and np.abs(of_lora - before).max() > 0.05


def test_with_its_own_directions_it_goes_elsewhere_and_further_than_rank_r():
    of_lora, of_galore, before = trained_both("A", lambda G, r, Q: galore_projector(G, r))
    assert np.abs(of_lora - of_galore).max() > 0.01
    assert np.linalg.matrix_rank(of_lora - before, tol=1e-10) == 2
    assert np.linalg.matrix_rank(of_galore - before, tol=1e-10) > 2


def test_a_step_of_SGD_on_B_is_the_projected_gradient():
    model, layer, Q = adapted("B")
    full, W = of_full(model)
    loss_and_backward(model, BATCH)
    loss_and_backward(full, BATCH)
    SGD([layer.B], lr=0.1).step()
    assert np.allclose(layer.delta_W(), -0.1 * W.grad @ Q @ Q.T, rtol=0, atol=1e-14)


# ---- the optimizer


def all_trained(dtype="float64"):
    model = tiny_gpt(dtype)
    apply_full(model)
    return model


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_lowers_the_loss(dtype):
    model = all_trained(dtype)
    optimizer, losses = GaLore(model.parameters(), lr=0.02, rank=2, every=4, scale=1.0), []
    for _ in range(12):
        model.zero_grad()
        losses.append(float(loss_and_backward(model, BATCH)))
        optimizer.step()
    assert losses[-1] < 0.7 * losses[0]
    assert all(p.data.dtype == dtype for p in model.parameters())
    assert all(array.dtype == dtype for state in optimizer.state for array in state.values())


def test_with_a_rank_that_no_matrix_exceeds_it_is_AdamW_to_the_bit():
    models = [all_trained(), all_trained()]
    for model, optimizer in zip(
        models, (GaLore(models[0].parameters(), 0.01, rank=99), AdamW(models[1].parameters(), 0.01))
    ):
        for _ in range(3):
            model.zero_grad()
            loss_and_backward(model, BATCH)
            optimizer.step()
    assert all(same_bits(a.data, b.data) for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True))


def test_the_directions_are_new_every_so_many_updates():
    p = Parameter(draw(4, 6))
    optimizer, seen = GaLore([p], 0.01, rank=2, every=3), []
    for step in range(7):
        p.grad = draw(4, 6, seed=step)
        optimizer.step()
        seen.append(optimizer.state[0]["P"].copy())
    changed = [not np.array_equal(a, b) for a, b in itertools.pairwise(seen)]
    assert changed == [False, False, True, False, False, True]


def test_the_step_is_scaled_and_decayed():
    W = draw(4, 6)
    p, q = Parameter(W.copy()), Parameter(W.copy())
    for parameter, scale, decay in ((p, 1.0, 0.0), (q, 0.25, 0.5)):
        parameter.grad = draw(4, 6, seed=1)
        GaLore([parameter], 0.01, rank=2, scale=scale, weight_decay=decay).step()
    assert np.allclose(q.data, W * (1 - 0.01 * 0.5) + 0.25 * (p.data - W), rtol=0, atol=1e-15)


def test_its_state_is_as_large_as_the_formula_says_and_is_measured_to_be():
    shapes = [(40, 64), (64, 40), (40, 40), (64,), (3, 64)]
    assert galore_values(shapes, 4) == 4 * (40 + 128) * 2 + 4 * (40 + 80) + 2 * 64 + 2 * 3 * 64
    parameters = [Parameter(draw(*shape)) for shape in shapes]
    tracemalloc.start()
    optimizer = GaLore(parameters, 0.01, rank=4)
    measured = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    exact = sum(array.size for state in optimizer.state for array in state.values())
    assert exact == galore_values(shapes, 4)
    assert 8 * exact <= measured <= 8 * exact + 20_000  # beside the arrays there are lists and dicts
    of_adamw = 2 * sum(p.size for p in parameters)
    assert exact < 0.2 * of_adamw


def test_a_run_goes_on_from_its_checkpoint_to_the_bit(tmp_path):
    """P, too: the run is interrupted between two choices of it."""

    def trainer(draws, **options):
        model = all_trained()
        left = iter(range(draws))

        def sample_batch(rng):
            next(left)  # StopIteration: the power fails
            return BATCH

        optimizer = GaLore(model.parameters(), 0.01, rank=2, every=4)
        config = TrainConfig(steps=6, lr=0.01, batch_size=3)
        return Trainer(model, sample_batch, config, optimizer=optimizer, **options)

    whole, first, rest = trainer(6), trainer(3, folder=tmp_path, checkpoint_every=2), trainer(6)
    whole.run(progress=False)
    with pytest.raises(StopIteration):
        first.run(progress=False)
    resume_run(rest, tmp_path / CHECKPOINT)
    assert rest.step == 2
    rest.run(progress=False)
    pairs = zip(whole.model.parameters(), rest.model.parameters(), strict=True)
    assert all(same_bits(a.data, b.data) for a, b in pairs)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, "rank was 0; it must be an integer of at least 1"),
        ({"every": 0}, "every was 0; it must be an integer of at least 1"),
        ({"scale": -1.0}, "scale was -1.0; it must be a finite number of at least 0"),
    ],
)
def test_what_cannot_be_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        GaLore([Parameter(draw(4, 6))], 0.01, **settings)

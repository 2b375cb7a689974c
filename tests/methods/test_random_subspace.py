"""Training in a random subspace: P keeps norms, its subspace is as good as any, and theta is all that is learned."""

import numpy as np
import pytest

from methods.every import EVERY, tiny_adapted
from methods.tiny import EVERYWHERE, gradients_of, rng, same_bits, some_batch, tiny_gpt, trainable_names, weights_of
from minilora.gradcheck import GradientError, check_model
from minilora.interop import save_peft
from minilora.methods import (
    FullConfig,
    RandomSubspaceConfig,
    adapter_names,
    adapters_per_row,
    apply_lora,
    apply_method,
    load_adapter,
    lora_layers,
    merge_lora,
    method_of,
    remove_adapter,
    remove_lora,
    save_adapter,
    set_adapter,
)
from minilora.methods import random_subspace as module
from minilora.methods.random_subspace import apply_random_subspace, draw_index
from minilora.ops.fast import random_subspace_backward, random_subspace_forward
from minilora.training import SGD, loss_and_backward

SHORT = some_batch(T=4)
SUBSPACE = EVERY["random-subspace"]
D = 2 * (4 * 36 + 2 * 60)  # entries of all W of the tiny GPT's linear maps


def dense_P(model):
    """P as a matrix (D, d), from what forward makes of each unit vector."""
    columns = []
    layers = [layer.factors for layer in lora_layers(model).values()]
    for unit in np.eye(len(layers[0].theta.data)):
        deltas = [random_subspace_forward(unit, f.index, f.root_counts)[0] for f in layers]
        columns.append(np.concatenate([delta.reshape(-1) for delta in deltas]))
    return np.array(columns).T


def applied(dimension, seed=3, targets=EVERYWHERE, dtype="float64"):
    model = tiny_gpt(dtype)
    apply_method(model, RandomSubspaceConfig(dimension, targets, seed))
    return model


# ---- P


@pytest.mark.parametrize("dimension", [1, 7, 264, D - 1, D])
def test_the_columns_of_P_are_orthonormal_so_norms_are_kept(dimension):
    P = dense_P(applied(dimension))
    assert P.shape == (D, dimension)
    assert np.allclose(P.T @ P, np.eye(dimension), rtol=0, atol=1e-14)


def test_each_number_of_W_moves_with_one_of_theta_and_each_of_these_has_its_share():
    P = dense_P(applied(7))
    assert ((P != 0).sum(axis=1) == 1).all()
    assert sorted((P != 0).sum(axis=0)) == sorted([D // 7 + (j < D % 7) for j in range(7)])


def test_a_gradient_keeps_the_share_d_by_D_of_its_squared_length_as_in_a_uniform_subspace():
    """Mean and variance over many P, for a gradient that no construction favours, and those of a dense random one."""
    d, n, draws = 6, 60, 4000
    g = rng(5).standard_normal(n)
    g /= np.linalg.norm(g)
    roots = np.full(d, np.sqrt(n / d))
    kept = np.array([kept_by(g, draw_index(n, 0, d, (seed,)), roots) for seed in range(draws)])
    assert kept.mean() == pytest.approx(d / n, abs=5 * kept.std() / np.sqrt(draws))
    uniform = 2 * d * (n - d) / (n**2 * (n + 2))  # the variance of phi for a line and d dimensions
    assert kept.var() == pytest.approx(uniform, rel=0.2)


def kept_by(g, index, roots):
    _, cache = random_subspace_forward(np.zeros(len(roots)), index, roots)
    return np.sum(random_subspace_backward(g, cache) ** 2)


def test_without_signs_the_mean_of_a_gradient_would_be_kept_and_nothing_else():
    """Why there are signs: all entries of a group of one sign see the sum of the gradient, whatever is drawn."""
    g = np.ones(60) / np.sqrt(60)
    roots = np.full(6, np.sqrt(10))
    unsigned = [kept_by(g, draw_index(60, 0, 6, (seed,)) % 6, roots) for seed in range(50)]
    signed = [kept_by(g, draw_index(60, 0, 6, (seed,)), roots) for seed in range(50)]
    assert np.allclose(unsigned, 1) and np.mean(signed) < 0.2


def test_the_draw_is_the_same_for_ever():
    """A file holds the seed alone: another stream would make another model of it."""
    assert draw_index(8, 3, 4, (0, 1)).tolist() == EXPECTED
    assert draw_index(8, 3, 4, (0, 1)).dtype == np.int32
    assert draw_index(8, 3, 4, (0, 2)).tolist() != EXPECTED


EXPECTED = [5, 2, 0, 2, 0, 1, 7, 3]


# ---- training


def test_of_the_whole_space_a_step_of_SGD_is_that_of_full_fine_tuning():
    """With d = D, P is a permutation with signs."""
    model, full = applied(D), tiny_gpt()
    apply_method(full, FullConfig())
    for which in (model, full):
        loss_and_backward(which, SHORT)
        SGD(which.trainable_parameters(), lr=0.1).step()
    of_full = dict(full.named_parameters())
    for path, layer in lora_layers(model).items():
        assert np.allclose(layer.frozen.data + layer.delta_W(), of_full[f"{path}.W"].data, rtol=0, atol=1e-14), path


def test_dtheta_is_the_projection_of_the_full_gradient():
    """P^T vec(dW), summed over all matrices."""
    model, full = applied(7), tiny_gpt()
    apply_method(full, FullConfig())
    dW = gradients_of(full, SHORT)
    whole = np.concatenate([dW[f"{path}.W"].reshape(-1) for path in lora_layers(model)])
    (dtheta,) = gradients_of(model, SHORT).values()
    assert np.allclose(dtheta, dense_P(model).T @ whole, rtol=0, atol=1e-14)


def of_the_first_row(dW, cache):
    return random_subspace_backward(dW[:1], cache._replace(index=cache.index[:1]))


MUTANTS = {
    "zero": lambda dW, c: 0 * random_subspace_backward(dW, c),
    "the other way round": lambda dW, c: random_subspace_backward(dW, c)[::-1],
    "the signs forgotten": lambda dW, c: random_subspace_backward(dW, c._replace(index=c.index % len(c.root_counts))),
    "the first row alone": of_the_first_row,
    "of W transposed": lambda dW, c: random_subspace_backward(dW, c._replace(index=c.index.T.copy())),
}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_a_wrong_backward_fails(monkeypatch, mutant):
    model = tiny_adapted(SUBSPACE)
    monkeypatch.setattr(module, "random_subspace_backward", mutant)
    with pytest.raises(GradientError, match="theta"):
        check_model(model, SHORT, rng=rng(4))


def test_the_change_has_full_rank_even_for_one_number():
    """A square matrix of random signs is singular with a chance that falls exponentially with its size."""
    for seed in range(5):
        index = draw_index(64 * 48, 0, 1, (seed,)).reshape(64, 48)
        delta_W, _ = random_subspace_forward(np.ones(1), index, np.full(1, 64 * 48) ** 0.5)
        assert np.linalg.matrix_rank(delta_W) == 48 and np.linalg.norm(delta_W) == pytest.approx(1.0)


def test_theta_is_one_parameter_and_the_head_of_a_classifier_its_own():
    model = applied(7)
    assert trainable_names(model) == ["blocks.0.attn.q_proj.theta"]
    assert len({id(layer.factors.theta) for layer in lora_layers(model).values()}) == 1


def test_a_replica_shares_P_and_has_a_theta_of_its_own_for_all_layers():
    model = applied(7)
    twin = model.replica()
    layers = [(a.factors, b.factors) for a, b in zip(lora_layers(model).values(), lora_layers(twin).values())]
    assert all(a.index is b.index and a.theta.data is b.theta.data and a.theta is not b.theta for a, b in layers)
    assert len({id(b.theta) for _, b in layers}) == 1


# ---- its file, its name, its seed


def test_without_a_seed_it_is_drawn_and_kept(tmp_path):
    model = tiny_gpt()
    apply_random_subspace(model, RandomSubspaceConfig(7), rng=rng(8))
    seed = method_of(model).seed
    assert seed == int(rng(8).integers(2**32))
    save_adapter(model, tmp_path / "file")
    other = tiny_gpt()
    load_adapter(other, tmp_path / "file")
    assert method_of(other).seed == seed
    assert all(
        same_bits(a.factors.index, b.factors.index)
        for a, b in zip(lora_layers(model).values(), lora_layers(other).values())
    )


def test_merged_it_is_the_adapted_model_and_removed_the_base():
    model = tiny_adapted(SUBSPACE)
    logits = model.forward(SHORT.ids)[0]
    merge_lora(model)
    assert np.allclose(model.forward(SHORT.ids)[0], logits, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="a merged adapter cannot be trained"):
        loss_and_backward(model, SHORT)
    remove_lora(model)
    assert np.allclose(model.forward(SHORT.ids)[0], logits, rtol=0, atol=1e-12) and not lora_layers(model)

    model = tiny_adapted(SUBSPACE)
    remove_adapter(model, "random-subspace")
    assert same_bits(weights_of(model), weights_of(tiny_gpt()))


def test_it_stands_beside_lora_and_in_the_rows_of_a_batch():
    model = tiny_adapted(SUBSPACE)
    alone = model.forward(SHORT.ids)[0]
    apply_lora(model, EVERY["lora"], rng=rng(1))
    assert adapter_names(model) == ["random-subspace", "default"]
    with adapters_per_row(model, ["random-subspace", None, "default"]):
        rows = model.forward(SHORT.ids)[0]
    assert np.allclose(rows[0], alone[0], rtol=0, atol=1e-12)
    set_adapter(model, None)
    assert np.allclose(rows[1], model.forward(SHORT.ids)[0][1], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dimension": 0}, "dimension was 0; it must be an integer of at least 1"),
        (
            {"dimension": D + 1},
            f"dimension was {D + 1}; it must be from 1 to {D}, the number of entries",
        ),
        ({"targets": "q_proj"}, "targets was 'q_proj'; it must be several names"),
        ({"targets": ("magic",)}, "targets named 'magic', which is not a linear layer"),
        ({"seed": -1}, "seed was -1; it must be an integer of at least 0"),
        ({"seed": 2**64}, "seed was .*; it must be below 2"),
    ],
)
def test_what_cannot_be_is_refused_and_the_model_stays_as_it_was(settings, message):
    model = tiny_gpt()
    with pytest.raises(ValueError, match=message):
        apply_method(model, RandomSubspaceConfig(**{"dimension": 5, "targets": EVERYWHERE} | settings))
    assert adapter_names(model) == [] and same_bits(weights_of(model), weights_of(tiny_gpt()))


def test_pefts_format_has_no_place_for_it(tmp_path):
    with pytest.raises(ValueError, match="RandomSubspaceFactors; save_peft writes LoRA and DoRA"):
        save_peft(tiny_adapted(SUBSPACE), tmp_path / "folder")
    assert not list(tmp_path.iterdir())

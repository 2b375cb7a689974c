"""A report's numbers against dense computation on small matrices."""

import math

import numpy as np
import pytest

from experiments.tiny import adapted
from minilora.analysis import Factors, adapter_factors, amplification_factor, effective_rank, stable_rank
from minilora.analysis.changes import as_array
from minilora.experiments.report.other import compare
from minilora.experiments.report.own import own_numbers
from minilora.experiments.report.report import make_report
from minilora.experiments.report.weights import against_weights
from minilora.methods import LoRAConfig, apply_lora, lora_layers


def rng(seed=0):
    return np.random.default_rng(seed)


def factors(O=9, r=3, I=14, scale=0.5, seed=0):
    draw = rng(seed)
    return Factors(draw.standard_normal((O, r)), draw.standard_normal((r, I)), scale)


def test_own_numbers_are_those_of_the_dense_matrix():
    f = factors()
    (own,) = own_numbers({"q": f}, rng=rng()).values()
    delta_W = as_array(f)
    S = np.linalg.svd(delta_W, compute_uv=False)[:3]
    np.testing.assert_allclose(own.singular_values, S, rtol=1e-12)
    assert (own.shape, own.r, own.scale, own.rank) == ((9, 14), 3, 0.5, 3)
    assert own.norm == pytest.approx(np.linalg.norm(delta_W)) and own.norm_A == pytest.approx(np.linalg.norm(f.A))
    assert own.effective_rank == pytest.approx(effective_rank(S)) and own.stable_rank == pytest.approx(stable_rank(S))
    assert own.used == pytest.approx(effective_rank(S) / 3)
    unrelated = 0.5 * np.linalg.norm(f.B) * np.linalg.norm(f.A) / math.sqrt(3)
    assert own.alignment == pytest.approx(np.linalg.norm(delta_W) / unrelated)
    assert 1 < own.random.effective_rank <= 3 and own.random.spectrum[0] == 1.0


def test_factors_that_meet_in_one_direction_have_the_largest_alignment():
    u = rng(1).standard_normal(4)
    f = Factors(np.outer(rng(2).standard_normal(7), u), np.outer(u, rng(3).standard_normal(6)), 2.0)
    (own,) = own_numbers({"q": f}, rng=rng()).values()
    assert own.alignment == pytest.approx(2.0) and own.rank == 1 and own.used == pytest.approx(0.25)


def test_an_adapter_that_has_learned_nothing():
    zero = factors()._replace(B=np.zeros((9, 3)))
    (own,) = own_numbers({"q": zero}, rng=rng()).values()
    assert (own.norm, own.alignment, own.rank, own.effective_rank, own.directions) == (0, 0, 0, 0, 0)
    assert compare({"q": zero}, {"q": factors()}, "other") == {}


def test_the_rank_can_be_larger_than_the_matrix():
    (own,) = own_numbers({"q": factors(O=3, r=8, I=5)}, rng=rng()).values()
    assert len(own.singular_values) == 3 == len(own.random.spectrum) and 0 < own.used <= 1


# ---- another adapter


def test_two_adapters_against_dense_computation():
    f, g = factors(seed=1), factors(r=2, scale=3.0, seed=2)
    (pair,) = compare({"q": f}, {"q": g, "more": g}, "other").values()
    (U1, _, V1), (U2, _, V2) = (np.linalg.svd(as_array(h), full_matrices=False) for h in (f, g))
    assert pair.ranks == (3, 2)
    assert pair.input.phi == pytest.approx(np.linalg.norm(V1[:3] @ V2[:2].T) ** 2 / 2)
    assert pair.output.phi == pytest.approx(np.linalg.norm(U1[:, :3].T @ U2[:, :2]) ** 2 / 2)
    assert pair.input.random == pytest.approx(3 / 14) and pair.output.random == pytest.approx(3 / 9)
    assert pair.input.z == pytest.approx((pair.input.phi - 3 / 14) / pair.input.deviation)
    cosine = np.vdot(as_array(f), as_array(g)) / np.linalg.norm(as_array(f)) / np.linalg.norm(as_array(g))
    assert pair.cosine == pytest.approx(cosine)
    assert pair.input.grid.shape == (3, 2) == pair.input.random_grid.shape


def test_an_adapter_and_itself_agree_far_beyond_chance():
    f = factors(O=40, I=50)
    (pair,) = compare({"q": f}, {"q": f._replace(B=-f.B)}, "other").values()
    assert pair.input.phi == pytest.approx(1) and pair.output.phi == pytest.approx(1)
    assert pair.input.z > 20 and pair.cosine == pytest.approx(-1)


def test_strangers_are_within_chance():
    z = [
        compare({"q": factors(60, 4, 70, seed=s)}, {"q": factors(60, 4, 70, seed=-s % 997)}, "o")["q"].input.z
        for s in range(1, 41)
    ]
    assert abs(np.mean(z)) < 0.5 and 0.6 < np.std(z) < 1.5


def test_a_whole_space_has_no_z():
    (pair,) = compare({"q": factors(O=3, I=14)}, {"q": factors(O=3, I=14, seed=4)}, "other").values()
    assert pair.output.phi == pytest.approx(1) == pair.output.random and math.isnan(pair.output.z)


def test_adapters_of_other_models_are_refused():
    with pytest.raises(
        ValueError, match="--other was b, which changes v; it must change a matrix of the adapter's: q$"
    ):
        compare({"q": factors()}, {"v": factors()}, "b")
    with pytest.raises(ValueError, match=r"--other was b, in which q is \(9, 15\); it must be \(9, 14\)$"):
        compare({"q": factors()}, {"q": factors(I=15)}, "b")


# ---- next to W


def against(W, delta_W, ranks=1):
    return against_weights({"q": W}, {"q": delta_W}, {"q": ranks}, rng=rng(5))


def test_a_planted_intruder_is_found_and_an_old_direction_is_none():
    """W has directions e_i; the sum of all 20 has a cosine of 20^(-1/2) = 0.22 with each."""
    W = np.diag(np.arange(20.0, 0.0, -1.0)) @ np.eye(20, 30)
    new = Factors(np.ones((20, 1)), 40 * np.eye(30)[25:26], 1.0)
    old = Factors(np.eye(20)[:, 4:5], 40 * np.eye(30)[25:26], 1.0)
    found, not_found = against(W, new)["q"], against(W, old)["q"]
    assert found.intruders >= 1 and found.cosines[0] < 0.3
    assert not_found.intruders == 0 and not_found.cosines.min() == pytest.approx(1)
    assert not_found.random_intruders >= 1, "in random directions the same delta_W makes intruders"
    assert 0.3 < found.chance < 0.7


def test_the_larger_decomposition_says_the_same(monkeypatch):
    W, delta_W = rng(1).standard_normal((40, 50)), factors(40, 2, 50, scale=3.0)
    whole = against(W, delta_W)["q"]
    monkeypatch.setattr("minilora.experiments.report.weights.SMALL", 0)
    np.testing.assert_allclose(against(W, delta_W)["q"].cosines, whole.cosines, atol=1e-6)


def test_relative_size_and_amplification():
    W, f = rng(1).standard_normal((9, 14)), factors()
    found = against(W, f)["q"]
    assert found.relative == pytest.approx(np.linalg.norm(as_array(f)) / np.linalg.norm(W))
    assert found.amplification.factor == pytest.approx(amplification_factor(W, f))
    S = np.linalg.svd(W, compute_uv=False)
    assert found.amplification.weight == pytest.approx(np.linalg.norm(S[:3]))
    random_norm = 3 / math.sqrt(9 * 14) * np.linalg.norm(W)
    assert found.random_factor == pytest.approx(np.linalg.norm(as_array(f)) / random_norm)
    assert against(W, f._replace(B=np.zeros((9, 3)))) == {}


@pytest.mark.parametrize("settings", [{}, {"dora": True}, {"init": "pissa"}])
def test_a_model_with_its_adapter(settings):
    model = adapted(LoRAConfig(rank=2, targets=("q_proj", "fc_in"), **settings))
    f = {} if settings.get("dora") else adapter_factors(model)
    parts = {
        path: Factors(a.B.data, a.A.data, a.scale)
        for path, layer in lora_layers(model).items()
        for a in layer.adapters.values()
    }
    report = make_report("a", {}, f or parts, model="m", adapted=model)
    assert list(report.against) == list(report.own) == ["blocks.0.attn.q_proj", "blocks.0.mlp.fc_in"]
    layer = lora_layers(model)["blocks.0.attn.q_proj"]
    expected = np.linalg.norm(layer.delta_W()) / np.linalg.norm(layer.base.W.data)
    assert report.against["blocks.0.attn.q_proj"].relative == pytest.approx(expected, rel=1e-5)
    assert report.against["blocks.0.attn.q_proj"].amplification.r == 2


def test_layers_are_chosen_by_their_ends():
    f = {"blocks.0.q": factors(), "blocks.1.q": factors(), "blocks.1.v": factors()}
    assert list(make_report("a", {}, f, layers=("1.q", "v")).own) == ["blocks.1.q", "blocks.1.v"]
    with pytest.raises(ValueError, match="--layers was k; there are blocks.0.q, blocks.1.q, blocks.1.v$"):
        make_report("a", {}, f, layers=("k",))


def test_an_unlearned_adapter_of_a_model():
    model = adapted(B=0.0)
    apply_lora(model, LoRAConfig(rank=2), rng=rng(), name="second")
    report = make_report("a", {}, adapter_factors(model), model="m", adapted=model)
    assert report.against == {} and len(report.own) == 2

"""The rank of delta W, and delta W along training: what is measured is right, and claims follow the numbers."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.paper.made_up import verdicts
from experiments.tiny import byte_gpt, in_place_of_the_bundled_decoder
from minilora.analysis import (
    Factors,
    adapter_factors,
    amplification_factor,
    low_rank_approximation,
    rank_measures,
    stable_rank,
    subspace_similarity,
    svd_of,
)
from minilora.experiments.adapt import adapted_decoder, decoder_trainer
from minilora.experiments.paper import along_training, delta_rank
from minilora.experiments.paper.mini_e2e import Training, at
from minilora.experiments.paper.snapshots import Snapshots, keep_along_training, read_snapshots
from minilora.experiments.sweep import Sweep

SMALL = Training(steps=4, batch_size=2, seeds=(0, 1, 2), n_held_out=4)
Q, V = "blocks.0.attn.q_proj", "blocks.0.attn.v_proj"


@pytest.fixture
def sweep(monkeypatch, tmp_path, tmp_path_factory):
    in_place_of_the_bundled_decoder(tmp_path_factory.mktemp("assets"), monkeypatch)
    return Sweep(tmp_path, progress=False)


# ---- the rank of delta W


def test_what_was_trained_is_measured_layer_by_layer(sweep):
    config = delta_rank.Config(SMALL, rank=2, full=(1e-3,), lora=(1e-2,))
    results = delta_rank.run(config, sweep)
    ranks = results["ranks"]
    kinds = ["q_proj", "k_proj", "v_proj", "o_proj", "fc_in", "fc_out"]
    assert all([path.split(".")[-1] for path in rows] == kinds for rows in ranks.values())

    tuned = adapted_decoder(sweep, at(SMALL.of("full"), 1e-3, 2))
    W, W_tuned = (model.blocks[0].attn.v_proj.W.data.astype(np.float64) for model in (byte_gpt(), tuned))
    assert not np.array_equal(W, W_tuned)
    assert ranks[delta_rank.FULL][V][2] == pytest.approx(rank_measures({V: W_tuned - W})[V]._asdict())
    assert ranks[delta_rank.WEIGHT][V] == [rank_measures({V: W})[V]._asdict()] * 3
    assert {m["rank"] for of_seeds in ranks[delta_rank.LORA].values() for m in of_seeds} == {2}
    first, second, _ = ranks[delta_rank.RANDOM][V]
    assert first["rank"] == 16 and first != second, "other random numbers for each seed"

    low = low_rank_approximation(W_tuned - W, 2).product
    share = (np.linalg.norm(low) / np.linalg.norm(W_tuned - W)) ** 2
    assert results["kept"][V][2] == pytest.approx(share)
    cut = results["truncated"]["valid"]
    assert len(cut) == 3 and 0 < results["training"][delta_rank.FULL]["valid"]["values"][2] != cut[2]
    assert len(delta_rank.table(results)) > 24 and len(verdicts(delta_rank, results)) == 4
    rows = delta_rank.plot(results).axes[0].get_yticklabels()
    assert [row.get_text() for row in rows][::5] == ["$W_q$", "fc_out"]


def rank_results(full=20, weight=40, random=100, lora=5, q=None, kept=0.5, spread=1, cut=1.05):
    """Counts of directions: those of full fine-tuning for W_v, and for W_q if not others are given."""

    def seeds(n, step=spread):
        numbers = {"rank": 192, "stable_rank": n / 3, "effective_rank": 2 * n, "norm": 1.0}
        return [numbers | {"directions": n + d} for d in (-step, 0, step)]

    counts = {
        delta_rank.RANDOM: (random, random),
        delta_rank.WEIGHT: (weight, weight),
        delta_rank.FULL: (full if q is None else q, full),
        delta_rank.LORA: (lora, lora),
    }
    paths = {path.replace("0", str(block)): kind for block in (0, 1) for path, kind in ((Q, 0), (V, 1))}
    ranks = {label: {path: seeds(of[kind]) for path, kind in paths.items()} for label, of in counts.items()}
    ranks[delta_rank.WEIGHT] = {path: seeds(weight, 0) for path in paths}
    trained = {
        "lr": 0.01,
        "valid_by_lr": [[0.01, 1.0]],
        "valid": {"mean": 1.0, "std": 0.1, "values": [0.99, 1.0, 1.01]},
    }
    results = {"rank": 8, "training": {delta_rank.FULL: trained, delta_rank.LORA: trained}, "ranks": ranks}
    return results | {"kept": {path: [kept] * 3 for path in paths}, "truncated": {"base": 2.0, "valid": [cut] * 3}}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "+++?"),
        ({"weight": 20}, "?++?"),
        ({"weight": 19}, "-++?"),
        ({"random": 38}, "+-+?"),
        ({"cut": 1.2}, "++-?"),
        ({"cut": 1.1}, "++??"),  # with the seeds' spread
        ({"q": 30}, "++++"),
        ({"q": 10}, "+++-"),
    ],
)
def test_the_claims_on_the_rank_of_delta_W_follow_the_counts(changes, expected):
    assert verdicts_without_symbols(rank_results(**changes)) == expected


def test_the_matrices_are_what_is_counted_where_W_is_compared():
    """Of four matrices two have fewer directions than W, and two have more: no spread over the seeds decides that."""
    results = rank_results(full=45, q=20, spread=0)
    differences = delta_rank.below(results, delta_rank.WEIGHT)
    assert {d.n for d in differences} == {4} and differences[0].mean == pytest.approx((20 + 20 - 5 - 5) / 4)
    assert verdicts_without_symbols(results)[0] == "?"


def test_results_of_before_have_no_loss_of_the_truncated_change():
    results = rank_results()
    del results["truncated"]
    assert verdicts_without_symbols(results) == "++??"


def verdicts_without_symbols(results):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delta_rank, "SYMBOLS", {kind: delta_rank.SYMBOLS[kind] for kind in ("q_proj", "v_proj")})
        return verdicts(delta_rank, results)


# ---- along training


def test_the_adapters_that_are_kept_are_those_after_each_step(sweep):
    settings = at(SMALL.lora(2), 1e-2, 1)
    sweep(keep_along_training, [Snapshots(settings, (3, 1))], model="decoder")
    kept = read_snapshots(sweep.file_of(keep_along_training, Snapshots(settings, (3, 1))))
    assert sorted(kept) == [1, 3, 4] and kept[1].keys() == {Q, V}

    model, _, trainer = decoder_trainer(replace(settings, train=replace(settings.train, eval_every=1)))
    passed = {}
    trainer.validate = lambda: passed.update({trainer.step: adapter_factors(model)}) or 0.0
    trainer.run(progress=False)
    for step, layers in kept.items():
        for path, factors in layers.items():
            assert np.array_equal(factors.A, passed[step][path].A) and np.array_equal(factors.B, passed[step][path].B)
            assert factors.scale == passed[step][path].scale == 32 / 2


def factors(seed, O=9, I=14, r=3):
    draw = np.random.default_rng(seed)
    return Factors(draw.standard_normal((O, r)), draw.standard_normal((r, I)), 0.5)


def test_what_is_measured_of_an_adapter():
    W, now, end = np.random.default_rng(9).standard_normal((9, 14)), factors(0), factors(1)
    seen, (U, S, Vt) = along_training.of_adapter(W, now, end), svd_of(now)
    assert seen["end_first"] == pytest.approx((Vt[0] @ svd_of(end).Vt[0]) ** 2)
    assert seen["end_all"] == pytest.approx(subspace_similarity(now.A, end.A)[-1, -1])
    assert seen["amplification"] == pytest.approx(amplification_factor(W, now))
    assert seen["stable_rank"] == stable_rank(S)
    delta_W = 0.5 * now.B @ now.A
    assert seen["size"] == pytest.approx(np.linalg.norm(delta_W) / np.linalg.norm(W))
    assert seen["norm_A"] == np.linalg.norm(now.A) and seen["norm_B"] == np.linalg.norm(now.B)
    assert seen["beside_chance"] == pytest.approx(np.linalg.norm(U.T @ W @ Vt.T) / np.linalg.norm(W) / (3 / 126**0.5))
    itself = along_training.of_adapter(W, now, now)
    assert itself["end_first"] == pytest.approx(1) and itself["end_all"] == pytest.approx(1)


def test_random_directions_have_as_much_of_W_as_chance_gives():
    W = np.random.default_rng(9).standard_normal((9, 14))
    squares = [along_training.of_adapter(W, factors(seed), factors(0))["beside_chance"] ** 2 for seed in range(400)]
    assert np.mean(squares) == pytest.approx(1, abs=0.05)


def test_seeds_are_measured_one_by_one_and_two_by_two_and_averaged_over_the_layers():
    weights = {path: np.random.default_rng(9).standard_normal((9, 14)) for path in (Q, V)}
    seeds = [{Q: factors(n), V: factors(n + 10)} for n in range(3)]
    found = along_training.over_layers(weights, seeds, seeds)
    assert {name: len(values) for name, values in found.items()} == dict.fromkeys(along_training.COLUMNS, 3)
    pair = [along_training.of_two(seeds[0][path], seeds[2][path]) for path in (Q, V)]
    assert found["seeds_first"][1] == pytest.approx(np.mean([phi["seeds_first"] for phi in pair]))
    assert found["stable_rank"][2] == pytest.approx(np.mean([stable_rank(svd_of(seeds[2][p]).S) for p in (Q, V)]))


def test_training_is_followed_to_its_end(sweep):
    config = along_training.Config(SMALL, rank=2, steps=(1, 3))
    results = along_training.run(config, sweep)
    assert results["chance"] == {"first": 1 / 16, "all": 2 / 16}
    for by_step in results["measured"].values():
        assert list(by_step) == ["1", "3", "4"]
        assert by_step["4"]["end_all"] == pytest.approx([1] * 3) and len(by_step["1"]["seeds_all"]) == 3
        assert np.mean(by_step["1"]["norm_B"]) < np.mean(by_step["4"]["norm_B"])
    assert len(along_training.table(results)) > 10 and len(verdicts(along_training, results)) == 3
    assert len(along_training.plot(results).axes) == 8


@pytest.mark.parametrize("steps", [(), (0, 1), (1, 4)])
def test_each_step_is_one_of_those_before_the_end(steps):
    with pytest.raises(ValueError, match=r"steps was .*; each must be from 1 to 3, before the end"):
        along_training.Config(SMALL, steps=steps)


def test_three_pairs_of_seeds_are_wanted():
    with pytest.raises(ValueError, match=r"seeds was \(0, 1\); it must be at least 3"):
        along_training.Config(replace(SMALL, seeds=(0, 1)), steps=(1,))


def training_results(**changes):
    """What is measured at the first step, after an eighth of them, and at the end: means, of three seeds."""
    rising = {"seeds_all": (0.1, 0.2, 0.4), "end_first": (0.1, 0.7, 1.0), "end_all": (0.3, 0.6, 1.0)}
    rising |= {"beside_chance": (1.0, 1.5, 2.0), "stable_rank": (1.5, 2.0, 3.0)} | changes
    measured = {
        str(step): {
            name: [rising.get(name, (1.0,) * 3)[place] + d for d in (-0.01, 0.0, 0.01)]
            for name in along_training.COLUMNS
        }
        for place, step in enumerate((1, 13, 100))
    }
    return {"rank": 4, "chance": {"first": 0.02, "all": 0.2}, "measured": {"q_proj": measured, "v_proj": measured}}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "+++"),
        ({"seeds_all": (0.1, 0.1, 0.1)}, "?++"),
        ({"seeds_all": (0.01, 0.02, 0.03)}, "-++"),  # more than before, less than chance
        ({"end_all": (0.6, 0.8, 1.0)}, "+-+"),
        ({"beside_chance": (2.0, 2.0, 2.0)}, "++?"),
        ({"beside_chance": (0.5, 0.6, 0.8)}, "++-"),
    ],
)
def test_the_claims_on_training_follow_the_numbers(changes, expected):
    assert verdicts(along_training, training_results(**changes)) == expected


def test_the_small_print_counts_seeds_and_not_pairs():
    results = training_results()
    for measured in results["measured"].values():
        for row in measured.values():
            row["seeds_all"] = row["seeds_first"] = [0.1] * 6  # the pairs of four seeds
    figure = along_training.plot(results)
    (said,) = (text.get_text() for text in figure.texts if "Band" in text.get_text())
    assert "highest of 3 seeds" in " ".join(said.split())


def test_both_projections_have_to_hold():
    results, equal = training_results(), (1.0, 1.0, 1.0)
    other = training_results(seeds_all=(1.0, 1.0, 0.5), end_all=equal, beside_chance=(3.0, 2.0, 2.0))
    results["measured"]["v_proj"] = other["measured"]["v_proj"]
    assert verdicts(along_training, results) == "---"

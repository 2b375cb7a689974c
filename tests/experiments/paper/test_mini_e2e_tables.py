"""Tables 3 and 18 and the learning rates: claims follow the numbers, and small runs give all that they need."""

import math

import numpy as np
import pytest

from experiments.paper.made_up import row, verdicts
from experiments.tiny import in_place_of_the_bundled_decoder
from minilora.experiments.adapt import decoder_trainer
from minilora.experiments.paper import learning_rates, mini_e2e, table3, table18
from minilora.experiments.paper.mini_e2e import Training, rates_line
from minilora.experiments.sweep import Sweep

SMALL = Training(steps=2, batch_size=2, seeds=(0, 1), n_held_out=4)


def methods(**bleu):
    """Table 3's results: LoRA, full fine-tuning, a small prefix and a large adapter."""
    scores = {"LoRA": 50.0, "full fine-tuning": 45.0, "prefix-layer": 40.0, "Adapter^H": 45.0} | bleu
    trainable = {"LoRA": 1000, "full fine-tuning": 100_000, "prefix-layer": 1200, "Adapter^H": 9000}
    return {"methods": {label: row(bleu=b, trainable=trainable[label]) for label, b in scores.items()}}


def test_the_line_on_rates_names_each_range_or_if_there_are_many_the_widest():
    def lines(n):
        return " ".join(rates_line([{"valid_by_lr": [(10.0**-i, 1.0), (3 * 10.0**-i, 1.0)]} for i in range(n)], "row"))

    assert "from 0.1 to 0.3 or from 1 to 3 (" in lines(2)
    assert "of rates of its own, between 0.0001 and 3 (" in lines(5) and "or from" not in lines(5)


@pytest.mark.parametrize(
    ("bleu", "expected"),
    [
        ({}, "+++"),
        ({"full fine-tuning": 51.0}, "++-"),  # within the margin
        ({"full fine-tuning": 52.0}, "?+-"),  # on it
        ({"full fine-tuning": 60.0}, "-+-"),
        ({"prefix-layer": 60.0}, "+--"),
        ({"prefix-layer": 50.0}, "+??"),
        ({"Adapter^H": 60.0}, "++-"),
    ],
)
def test_table_3_claims_what_its_scores_say(bleu, expected):
    assert verdicts(table3, methods(**bleu)) == expected + "??", "LoRA on all layers was not run"


@pytest.mark.parametrize(("bleu", "expected"), [(20.0, "--"), (44.0, "-+"), (49.0, "-+"), (90.0, "++")])
def test_lora_elsewhere_is_no_other_method(bleu, expected):
    found = methods()
    found["methods"]["LoRA, all layers"] = row(bleu=bleu, trainable=1000)
    assert verdicts(table3, found) == "+++" + expected


def test_no_line_joins_lora_in_two_places():
    found = methods()
    found["methods"] |= {label: row(bleu=40.0, trainable=n) for n, label in enumerate(table3.METHODS, 1000)}
    points = {c.get_label(): len(c.lines[0].get_xdata()) for c in table3.plot(found).axes[0].containers}
    assert points["LoRA"] == points["LoRA, all layers"] == 1 and points["Adapter^L"] == 2


def test_table_3_sets_the_paper_s_scores_beside_ours():
    lines = table3.table(methods())
    (lora,) = [line for line in lines if line.startswith("LoRA")]
    assert "50.0 ± 1.0" in lora and lora.endswith("70.4 / 8.85 / 46.8")
    assert any("0.01 " in line for line in lines), "a rate in the middle of those tried has no mark"
    edge = methods()
    edge["methods"]["LoRA"]["lr"] = 0.03
    assert any("0.03*" in line for line in table3.table(edge))


def ranks(losses, bleus):
    keys = ("1", "4", "16", "64")
    return {"ranks": {k: row(bleu=b, valid=v) for k, v, b in zip(keys, losses, bleus, strict=True)}}


@pytest.mark.parametrize(
    ("losses", "bleus", "expected"),
    [
        ((1.3, 1.2, 1.1, 1.1), (60, 70, 69, 69), "+++"),
        ((1.3, 1.2, 1.1, 1.081), (60, 70, 70.7, 69), "+++"),  # a tenth of 0.2, and 0.77 of BLEU
        ((1.1, 1.1, 1.1, 1.1), (60, 70, 70.8, 69), "??-"),
        ((1.3, 1.2, 1.1, 1.0), (60, 70, 69, 80), "+--"),
        ((1.0, 1.2, 1.1, 1.1), (60, 70, 69, 69), "--+"),
    ],
)
def test_table_18_claims_what_its_losses_say(losses, bleus, expected):
    assert verdicts(table18, ranks(losses, bleus)) == expected


def test_ranks_that_were_not_trained_leave_their_claims_undecided():
    results = ranks((1.3, 1.2, 1.1, 1.1), (60, 70, 69, 69))
    del results["ranks"]["16"]
    assert verdicts(table18, results) == "??+"
    del results["ranks"]["4"]
    assert verdicts(table18, results) == "???"


def rates(full, lora, diverging=()):
    """Valid losses of three seeds, parabolas in log lr that are lowest near these rates, a little apart by seed."""

    def loss(lr, best, seed):
        return None if lr in diverging else math.log(lr / best / (1 + 0.01 * seed)) ** 2 + seed

    return {
        "valid": {
            label: {
                f"{lr:g}": [loss(lr, best, seed) for seed in range(3)] for lr in (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
            }
            for label, best in ((learning_rates.FULL, full), (learning_rates.LORA, lora))
        }
    }


@pytest.mark.parametrize(
    ("full", "lora", "mark"),
    [
        (1e-3, 1e-2, "+"),
        (1e-3, 6e-3, "+"),
        (6e-4, 11e-3, "+"),
        (1e-3, 4e-3, "-"),
        (4e-4, 9.6e-3, "-"),
        (1e-3, 1e-3, "-"),
    ],
)
def test_the_best_rates_decide_whether_one_is_about_ten_times_the_other(full, lora, mark):
    results = rates(full, lora)
    assert verdicts(learning_rates, results) == mark
    (difference,) = learning_rates.ratio_beside_ten(results)
    assert f"fine-tuning's, {lora / full:.1f} in the geometric mean" in difference.label
    assert difference.mean == pytest.approx(math.log2(lora / full / 10))
    assert any("3 of 3 seeds" in line for line in learning_rates.table(results))


def test_a_best_rate_at_the_edge_of_those_that_were_tried_decides_nothing():
    results = rates(1e-3, 1.0)
    assert verdicts(learning_rates, results) == "?"
    assert learning_rates.ratio_beside_ten(results).startswith("the best rate of LoRA is the lowest or highest")


def test_each_seed_has_the_lowest_point_of_its_own_parabola():
    losses = rates(2e-3, 1e-2)["valid"][learning_rates.FULL]
    assert learning_rates.best_rates(losses) == pytest.approx([2e-3, 2.02e-3, 2.04e-3])
    assert [learning_rates.lowest_for(losses, lr) for lr in losses] == [0, 0, 0, 3, 0, 0]
    diverged = rates(2e-3, 1e-2, diverging=(1e-3, 1e-2))["valid"][learning_rates.FULL]
    assert learning_rates.best_rates(diverged) == [3e-3] * 3, "no parabola beside a rate that diverged"
    assert learning_rates.best_rates({"0.1": [1.0], "0.2": [1.0], "0.4": [1.0]}) == [0.1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Training(seeds=(0,)), r"seeds was \(0,\); it must be at least 2"),
        (lambda: table18.Config(ranks=(4,)), "ranks was"),
        (lambda: table3.Config(methods=("LoRA", "magic")), "methods was"),
        (lambda: table3.Config(n_rates=4), "n_rates was 4"),
        (lambda: learning_rates.Config(full=(1e-3, 3e-3)), "as many as the other has"),
    ],
)
def test_a_configuration_that_allows_no_comparison_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.fixture
def tiny(monkeypatch, tmp_path_factory):
    """The experiments on a decoder of one small block, with made-up text scores."""
    in_place_of_the_bundled_decoder(tmp_path_factory.mktemp("assets"), monkeypatch)
    for module in (table3, table18):
        monkeypatch.setattr(module, "need_text_scores", lambda: None)
    monkeypatch.setattr(mini_e2e, "mini_e2e_scores", lambda samples: dict.fromkeys(mini_e2e.TEXT_SCORES, 1.0))


def test_a_seed_gives_every_method_the_same_batches(tiny):
    """Differences are paired: what a seed draws for both sides cancels."""

    def batches(run, n=3):
        *_, trainer = decoder_trainer(run)
        return [trainer.sample_batch(trainer.rng).ids for _ in range(n)]

    runs = [SMALL.of("full"), SMALL.of("bitfit"), SMALL.lora(1), SMALL.lora(4)]
    first, *others = (batches(mini_e2e.at(run, lr, 3)) for run, lr in zip(runs, (1e-3, 1e-2, 1e-2, 3e-2), strict=True))
    assert all(np.array_equal(a, b) for other in others for a, b in zip(first, other, strict=True))
    assert not np.array_equal(first[0], batches(mini_e2e.at(runs[0], 1e-3, 4))[0]), "another seed draws others"


def test_experiments_share_their_runs_and_keep_what_was_learned(tiny, tmp_path):
    sweep = Sweep(tmp_path, progress=False)
    config = table18.Config(SMALL, ranks=(2, 4), rates=(1e-2,))
    first = table18.run(config, sweep)
    kept = sorted((tmp_path / "adapt_and_keep").iterdir())
    assert len(kept) == 4 and {path.suffix for path in kept} == {".safetensors"}
    assert list(first["ranks"]) == ["2", "4"] and len(first["ranks"]["4"]["valid"]["values"]) == 2
    assert len(first["ranks"]["4"]["samples"]) <= mini_e2e.EXAMPLES
    table18.plot(first)

    small = learning_rates.Config(SMALL, full=(1e-3, 1e-2), lora=(1e-2, 1e-1))
    results = learning_rates.run(small, sweep)
    assert results["valid"]["LoRA"]["0.01"] == first["ranks"]["4"]["valid"]["values"]
    assert len(list((tmp_path / "adapt_and_keep").iterdir())) == 4 + 6, "LoRA at 1e-2 was there"

    kept[0].unlink()
    again = table18.run(config, sweep)
    assert kept[0].exists(), "a run whose file is gone is done again"
    assert [again["ranks"][r]["valid"] for r in ("2", "4")] == [first["ranks"][r]["valid"] for r in ("2", "4")]


def test_table_3_runs_its_methods(tiny, tmp_path):
    config = table3.Config(SMALL, methods=("BitFit", "LoRA"), n_rates=1)
    results = table3.run(config, Sweep(tmp_path, progress=False))
    assert results["methods"]["LoRA"]["lr"] == table3.usual_first("LoRA")[0] == 3e-2
    assert results["methods"]["BitFit"]["trainable"] > 0
    table3.plot(results)
    assert len(table3.table(results)) > 4 and verdicts(table3, results) == "?????", "two seeds"

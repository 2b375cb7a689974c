"""The gap against the budget: the claims follow the numbers, and a small run gives all that they need."""

from dataclasses import replace

import pytest

from experiments.paper.made_up import row, verdicts
from experiments.tiny import in_place_of_the_bundled_decoder
from minilora.experiments.paper import budget
from minilora.experiments.paper.budget import ALL_LAYERS, FULL, Config
from minilora.experiments.paper.mini_e2e import QUICK
from minilora.experiments.paper.table3 import run_of
from minilora.experiments.sweep import Sweep


def results(full, lora, exact=(0.5, 0.5)):
    """BLEU after 100, 300 and 900 steps; and the fraction of sentences that are right, of both."""
    rows = {FULL: (full, exact[0]), ALL_LAYERS: (lora, exact[1])}
    return {
        "batch_size": 8,
        "steps": {
            str(steps): {label: row(bleu=bleus[i], slot_exact=right) for label, (bleus, right) in rows.items()}
            for i, steps in enumerate((100, 300, 900))
        },
    }


@pytest.mark.parametrize(
    ("full", "lora", "exact", "expected"),
    [
        ((40, 60, 70), (20, 50, 69), (0.5, 0.48), "+++"),
        ((40, 60, 70), (20, 50, 69), (0.5, 0.4), "++-"),
        ((40, 60, 70), (35, 50, 60), (0.5, 0.6), "--+"),
        ((40, 60, 70), (36, 50, 66), (0.5, 0.5), "?-+"),
    ],
)
def test_the_claims_say_what_the_scores_say(full, lora, exact, expected):
    assert verdicts(budget, results(full, lora, exact)) == expected


def test_the_gap_is_taken_seed_by_seed():
    found = results((40, 60, 70), (20, 50, 69))
    found["steps"]["900"][ALL_LAYERS]["bleu"]["values"] = [70.0, 66.0, 71.0]
    assert budget.gap(found, "bleu")[900] == [-1.0, 4.0, 0.0]
    lines = budget.table(found)
    (last,) = [line for line in lines if line.startswith("900") and ALL_LAYERS in line]
    assert last.endswith("1.0 ± 2.6"), "the mean and spread of the three"


def test_the_curves_are_the_scores():
    drawn = [
        [line.get_ydata().tolist() for line in axes.get_lines() if len(line.get_ydata()) == 3]
        for axes in budget.plot(results((40, 60, 70), (20, 50, 69), (0.5, 0.4))).axes
    ]
    expected = [[1.0] * 3], [[40.0, 60.0, 70.0], [20.0, 50.0, 69.0]], [[50.0] * 3, [40.0] * 3]
    for lines, curves in zip(drawn, expected, strict=True):
        assert all(any(line == pytest.approx(curve) for line in lines) for curve in curves), lines


def test_a_longer_run_is_a_run_of_its_own(tmp_path, tmp_path_factory, monkeypatch):
    in_place_of_the_bundled_decoder(tmp_path_factory.mktemp("assets"), monkeypatch)
    config = Config(QUICK, budgets=(2, 3), n_rates=2)
    found = budget.run(config, Sweep(tmp_path, progress=False))
    assert list(found["steps"]) == ["2", "3"]
    for steps, rows in found["steps"].items():
        assert list(rows) == [FULL, ALL_LAYERS], steps
        assert [len(method_row["valid_by_lr"]) for method_row in rows.values()] == [2, 2]
        assert rows[FULL]["trainable"] > rows[ALL_LAYERS]["trainable"]
    seen = [run_of(replace(QUICK, steps=steps), ALL_LAYERS).train.steps for steps in (2, 3)]
    assert seen == [2, 3], "whose schedule ends at its own end"
    assert found["steps"]["2"][FULL]["valid"] != found["steps"]["3"][FULL]["valid"]
    budget.table(found)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"budgets": (3,)}, "budgets was"),
        ({"budgets": (3, 2)}, "budgets was"),
        ({"budgets": (0, 2)}, "budgets was"),
    ],
)
def test_a_configuration_that_compares_nothing_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        Config(**given)

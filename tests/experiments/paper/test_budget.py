"""The gap against the budget: the claims follow the numbers, and a small run gives all that they need."""

from dataclasses import replace

import pytest

from experiments.paper.made_up import row, verdicts
from experiments.tiny import in_place_of_the_bundled_decoder
from minilora.experiments.paper import budget
from minilora.experiments.paper.budget import FULL, LORA, NARROW, Config
from minilora.experiments.paper.mini_e2e import QUICK
from minilora.experiments.sweep import Sweep


def results(full, lora, narrow=None):
    """BLEU after 100, 300 and 900 steps."""
    rows = {FULL: full, LORA: lora} | ({} if narrow is None else {NARROW: narrow})
    return {
        "batch_size": 8,
        "steps": {
            str(steps): {label: row(bleu=bleus[i]) for label, bleus in rows.items()}
            for i, steps in enumerate((100, 300, 900))
        },
    }


@pytest.mark.parametrize(
    ("full", "lora", "narrow", "expected"),
    [
        ((40, 60, 70), (20, 50, 69), (10, 20, 30), "+++"),
        ((40, 60, 70), (20, 50, 69), (10, 20, 75), "++-"),
        ((40, 60, 70), (35, 50, 60), (10, 20, 30), "--+"),
        ((40, 60, 70), (36, 50, 66), None, "?-?"),
    ],
)
def test_the_claims_say_what_the_scores_say(full, lora, narrow, expected):
    assert verdicts(budget, results(full, lora, narrow)) == expected


def test_the_gap_is_taken_seed_by_seed():
    found = results((40, 60, 70), (20, 50, 69))
    found["steps"]["900"][LORA]["bleu"]["values"] = [70.0, 66.0, 71.0]
    assert budget.gap(found, "bleu")[900] == [-1.0, 4.0, 0.0]
    lines = budget.table(found)
    (last,) = [line for line in lines if line.startswith("900") and LORA in line]
    assert last.endswith("1.0 ± 2.6"), "the mean and spread of the three"


def test_a_longer_run_is_a_run_of_its_own(tmp_path, tmp_path_factory, monkeypatch):
    in_place_of_the_bundled_decoder(tmp_path_factory.mktemp("assets"), monkeypatch)
    config = Config(QUICK, steps=(2, 3), n_rates=2)
    found = budget.run(config, Sweep(tmp_path, progress=False))
    assert list(found["steps"]) == ["2", "3"]
    for steps, rows in found["steps"].items():
        assert list(rows) == [FULL, LORA, NARROW], steps
        assert [len(method_row["valid_by_lr"]) for method_row in rows.values()] == [2, 2, 2]
        assert rows[FULL]["trainable"] > rows[LORA]["trainable"] > rows[NARROW]["trainable"]
    seen = [budget.of_training(replace(QUICK, steps=steps), LORA).train.steps for steps in (2, 3)]
    assert seen == [2, 3], "whose schedule ends at its own end"
    assert found["steps"]["2"][FULL]["valid"] != found["steps"]["3"][FULL]["valid"]
    budget.table(found)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": (3,)}, "steps was"),
        ({"steps": (3, 2)}, "steps was"),
        ({"steps": (0, 2)}, "steps was"),
        ({"methods": (LORA,)}, "methods was"),
        ({"methods": (FULL, LORA, "dora")}, "methods was"),
    ],
)
def test_a_configuration_that_compares_nothing_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        Config(**given)

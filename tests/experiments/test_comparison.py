"""Equal terms: rates chosen on valid alone, as many for each, the same seeds; and no spread of one run."""

from dataclasses import dataclass

import pytest

from minilora.experiments.comparison import best_of_rates, mean_and_spread, plus_minus, rate
from minilora.experiments.sweep import Sweep
from minilora.training import TrainConfig

VALID = {"a": {0.1: 0.5, 0.2: 0.9, 0.3: 0.7}, "b": {1.0: 0.8, 2.0: 0.6, 3.0: None}}
RATES = {label: tuple(row) for label, row in VALID.items()}


@dataclass(frozen=True)
class Settings:
    label: str
    train: TrainConfig = TrainConfig(steps=7)


def made_up(settings):
    """The better on valid, the worse on test."""
    train = settings.train
    valid = VALID[settings.label][train.lr]
    return {"valid": valid, "test": None if valid is None else 1 - valid + 0.01 * train.seed, "steps": train.steps}


def compare(folder, function=made_up, rates=RATES, seeds=(3, 4, 5)):
    settings = {label: Settings(label) for label in rates}
    sweep = Sweep(folder, progress=False)
    return best_of_rates(sweep, function, settings, rates, seeds=seeds, score=lambda run: run["valid"], model="decoder")


def test_the_rate_is_chosen_on_valid_whatever_test_says(tmp_path):
    best = compare(tmp_path)
    assert {label: row["lr"] for label, row in best.items()} == {"a": 0.2, "b": 1.0}
    assert best["a"]["valid_by_lr"] == [(0.1, 0.5), (0.2, 0.9), (0.3, 0.7)]
    assert [run["test"] for run in best["a"]["runs"]] == pytest.approx([0.13, 0.14, 0.15])


def test_each_has_the_same_number_of_runs_and_the_settings_that_it_came_with(tmp_path):
    done = []

    def noted(settings):
        done.append((settings.label, settings.train.lr, settings.train.seed))
        return made_up(settings)

    assert all(run["steps"] == 7 for row in compare(tmp_path, noted).values() for run in row["runs"])
    assert [run[1:] for run in done if run[0] == "a"] == [(0.1, 3), (0.2, 3), (0.3, 3), (0.2, 4), (0.2, 5)]
    assert [run[1:] for run in done if run[0] == "b"] == [(1.0, 3), (2.0, 3), (3.0, 3), (1.0, 4), (1.0, 5)]


def test_a_rate_at_which_training_diverges_is_no_choice(tmp_path):
    assert compare(tmp_path)["b"]["valid_by_lr"][-1] == (3.0, None)
    with pytest.raises(ValueError, match="b: training diverged at every rate: 3"):
        compare(tmp_path, rates={"b": (3.0,)})


def test_a_seed_that_diverges_is_not_left_out(tmp_path):
    def diverging(settings):
        return {"valid": None} if settings.train.seed == 4 else made_up(settings)

    with pytest.raises(ValueError, match=r"a: training diverged at 0\.2 with seed 4; its rates must be lower"):
        compare(tmp_path, diverging)


@pytest.mark.parametrize("rates", [{"a": (0.1, 0.2), "b": (1.0,)}, {"a": (0.1, 0.1), "b": (1.0, 2.0)}, {"a": ()}])
def test_unequal_budgets_are_refused(tmp_path, rates):
    with pytest.raises(ValueError, match="it must have the same number of different rates for each label"):
        compare(tmp_path, rates=rates)


@pytest.mark.parametrize("seeds", [(), (1,), (1, 2, 1)])
def test_fewer_than_two_seeds_are_refused(tmp_path, seeds):
    with pytest.raises(ValueError, match=r"seeds was \(.*\); it must be at least 2 different numbers"):
        compare(tmp_path, seeds=seeds)


def test_mean_and_spread_are_those_of_a_sample():
    assert mean_and_spread([1.0, 2.0, 6.0]) == {"mean": 3.0, "std": pytest.approx(7**0.5), "values": [1.0, 2.0, 6.0]}
    assert plus_minus(mean_and_spread([0.9, 0.92, 0.94]), factor=100) == "92.0 ± 2.0"
    with pytest.raises(ValueError, match=r"values was \[0\.5\]; a spread needs at least 2"):
        mean_and_spread([0.5])


def test_a_rate_at_the_edge_of_those_that_were_tried_is_marked():
    tried = [(0.1, 0.5), (0.01, None), (1.0, 0.4)]
    assert [rate({"lr": lr, "valid_by_lr": tried}) for lr, _ in tried] == ["0.1 ", "0.01*", "1*"]
    assert rate({"lr": 0.1, "valid_by_lr": tried[:1]}) == "0.1 ", "there was no other"

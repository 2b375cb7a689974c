"""LoRA's family: whom it has, its settings, the claims from made-up scores, and a small run of all that is needed."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.paper.made_up import row, verdicts
from experiments.tiny import in_place_of_the_bundled_decoder
from minilora.accounting import count_parameters
from minilora.experiments.adapt import base_and_task
from minilora.experiments.paper import family as module
from minilora.experiments.paper.family import EMBEDDING, GALORE, PUBLISHED, TITLES, Config, family, run_of
from minilora.experiments.paper.mini_e2e import QUICK, Training
from minilora.experiments.sweep import Sweep
from minilora.methods import METHODS, apply_method
from minilora.models import load_bundled
from minilora.plots.style import method_of
from minilora.training import GaLore

SCORES = {  # BLEU, in PEFT's order
    "rslora": 45.0,
    "lora": 40.0,
    "full": 35.0,
    "dora": 42.5,
    "lora-fa": 39.5,
    "adalora": 30.0,
    "vera": 15.0,
    "lora-ga": 47.5,
}


def results(**changes):
    scores = SCORES | {name.replace("_", "-"): score for name, score in changes.items()}
    return {"methods": {name: row(bleu=score) for name, score in scores.items() if score is not None}}


def test_every_method_of_the_package_is_in_the_family_or_one_of_the_papers():
    assert {"lora", "rslora", "dora", "pissa", "full", "lora-fa", "lora-ga", "vera", "adalora"} <= set(family())
    assert {"ia3", "prompt-tuning", "trainable-tokens", EMBEDDING, GALORE} <= set(family())
    assert TITLES.keys() == set(family()) and all(method_of(title) for title in TITLES.values())
    papers = {name for name in METHODS if name not in family()}
    assert papers == {name for name in METHODS if name.startswith(("adapter-", "prefix-", "lora+"))} | {
        "top-k",
        "bitfit",
        "random-subspace",
    }


def test_the_budget_is_loras_where_the_method_can_have_it_and_every_example_fits():
    trained = {}
    base, task = base_and_task(Training().lora())
    longest = max(batch.ids.shape[1] for split in task.splits for batch in task.batches(split, 256))
    assert 200 < longest <= base.longest_input
    for name in family():
        model, run = load_bundled("decoder"), run_of(Training(), name)
        if name != "lora-ga":  # LoRA's
            apply_method(model, run.settings, rng=np.random.default_rng(0))
            trained[name] = count_parameters(model).trainable
            assert longest <= model.longest_input, name
    assert trained["lora"] == trained["rslora"] == trained["pissa"] == trained["lora-fa"] == trained["trainable-tokens"]
    assert trained[EMBEDDING] == pytest.approx(trained["lora"], rel=0.01)
    assert max(trained[name] for name in ("vera", "ia3", "prompt-tuning")) < trained["lora"]
    assert trained["dora"] < 1.1 * trained["lora"] and trained["adalora"] < 1.6 * trained["lora"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "+-+-++"),
        ({"vera": 39.5, "adalora": 45.0, "dora": 35.0, "lora_ga": 45.0, "rslora": 5.0, "full": 10.0}, "-++++-"),
        ({"vera": None, "adalora": None, "lora_fa": None, "full": None, "rslora": None, "dora": None}, "????+?"),
    ],
)
def test_the_claims_say_what_the_scores_say(changes, expected):
    assert verdicts(module, results(**changes)) == expected


def test_the_order_is_compared_with_pefts_over_the_methods_that_both_have():
    assert set(module.both_orders(results())) == set(PUBLISHED) & set(SCORES)
    rho, p = module.agreement(results())
    assert 0.8 < rho < 1 and p < 0.05
    reversed_order = {name: 1 - PUBLISHED[name] for name in SCORES if name in PUBLISHED}
    rho, p = module.agreement({"methods": {n: {"bleu": {"mean": s}} for n, s in reversed_order.items()}})
    assert rho == pytest.approx(-1) and p > 0.9
    assert any("over 7 methods" in line for line in module.table(results()))


def test_galore_is_full_fine_tuning_with_another_optimizer():
    run = run_of(replace(QUICK, n_held_out=4), GALORE)
    assert run.method == "full" and repr(run).startswith("GaLoreRun(")
    optimizer = run.optimizer(load_bundled("decoder"))
    assert type(optimizer) is GaLore and optimizer.rank == 8
    assert run_of(QUICK, "lora").optimizer(None) is None


def test_every_published_score_is_of_a_method_here():
    assert set(PUBLISHED) <= set(family())


def test_a_small_run_has_all_that_the_claims_need(tmp_path, tmp_path_factory, monkeypatch):
    in_place_of_the_bundled_decoder(tmp_path_factory.mktemp("assets"), monkeypatch)
    config = Config(replace(QUICK, n_held_out=4), methods=("lora", "lora-ga", "adalora", EMBEDDING, GALORE), n_rates=2)
    found = module.run(config, Sweep(tmp_path, progress=False))
    assert list(found["methods"]) == list(config.methods)
    for name, method_row in found["methods"].items():
        assert [lr for lr, _ in method_row["valid_by_lr"]] == list(config.rates_of(name))
        assert method_row["trainable"] > 0 < method_row["seconds"] and len(method_row["test"]["values"]) == 2
    module.table(found)
    module.plot(found)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"methods": ("dora", "vera")}, "methods was"),
        ({"methods": ("lora",)}, "methods was"),
        ({"methods": ("lora", "magic")}, "methods was"),
        ({"n_rates": 4}, "n_rates was 4"),
    ],
)
def test_a_configuration_that_compares_nothing_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Config(**settings)

"""d_90 is read off the scores as the papers define it, and the experiment runs what it says."""

import math

import pytest

from experiments.paper.made_up import spread
from experiments.tiny import byte_gpt, in_place_of_the_bundled_decoder
from minilora.experiments.claims import lines_of, verdict
from minilora.experiments.paper import intrinsic_dimension as module
from minilora.experiments.paper.mini_e2e import Training
from minilora.experiments.sweep import Sweep
from minilora.experiments.targets import entries_of_linear
from minilora.experiments.verdicts import FAILS, HOLDS, UNDECIDED
from minilora.methods import RandomSubspaceConfig, apply_method, lora_layers
from plotted import title_of


def results(full, scores, before=None):
    """Of one task, made up: full fine-tuning's score, and those of the dimensions."""
    name = module.SCORE if before is None else module.BITS
    rows = {module.FULL: full} | {f"d = {d}": score for d, score in scores.items()}
    common = {"trainable": 5, "lr": 0.1, "valid_by_lr": [[0.1, 1.0]]}
    methods = {label: common | {name: spread(score)} for label, score in rows.items()}
    return {"D": 10_000, "before": None if before is None else {name: before}, "methods": methods}


@pytest.mark.parametrize(
    ("scores", "found", "words"),
    [
        ({10: 0.1, 100: 0.5, 1000: 0.73, 10_000: 0.8}, (100, 1000), "above 100, at most 1,000"),
        ({10: 0.73, 100: 0.5}, (None, 10), "at most 10"),
        ({10: 0.1, 100: 0.71}, (100, None), "above 100"),
        ({10: 0.1, 100: 0.75, 1000: 0.6, 10_000: 0.9}, (10, 100), "above 10, at most 100"),
    ],
)
def test_d_90_is_the_smallest_dimension_with_90_percent_of_the_score(scores, found, words):
    assert module.d_90(results(0.8, scores)) == found
    assert module.as_words(*found) == words


def test_what_learned_nothing_cannot_be_reached():
    right, loss = results(0.0, {10: 0.0, 100: 0.0}), results(3.0, {10: 2.9, 100: 2.8}, before=3.0)
    assert module.d_90(right) == module.d_90(loss, module.BITS) == (None, None)
    assert module.as_words(None, None) == "none, for full fine-tuning has learned nothing"
    assert module.with_little({"tasks": {"a task": right}}) == "full fine-tuning has learned nothing of a task"


def test_of_the_loss_it_is_90_percent_of_the_way_down():
    """From 3 to 1: 1.2 is enough, 1.3 is not, though it is less than 1.9 / 0.9."""
    assert module.d_90(results(1.0, {10: 1.9, 100: 1.3, 1000: 1.19}, before=3.0), module.BITS) == (100, 1000)


def of_one_task(scores):
    return {"share": 0.9, "tasks": {"a task": results(0.8, scores)}}


def test_the_figure_shows_what_is_right_in_percent_and_the_loss_in_bits():
    both = {"a": results(0.8, {10: 0.1, 100: 0.5}), "b": results(1.0, {10: 1.9, 100: 1.3}, before=3.0)}
    right, loss = module.plot({"tasks": both}).axes
    assert title_of(right) == "right on a (%)" and title_of(loss) == "bits per byte of b"
    assert 80 <= right.dataLim.y1 < 82 and 1.9 <= loss.dataLim.y1 < 2.0


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ({10: 0.1, 100: 0.8}, HOLDS),
        ({10: 0.1, 100: 0.6, 1000: 0.8}, FAILS),
        ({10: 0.1, 100: 0.7201}, UNDECIDED),
        ({101: 0.8, 1000: 0.8}, UNDECIDED),
    ],
)
def test_the_claim_is_about_at_most_a_hundredth_of_the_entries(scores, said):
    found = of_one_task(scores)
    module.table(found), module.plot(found)
    (claim,) = module.CLAIMS
    assert verdict(claim, found) == said and lines_of(claim, found)


def test_the_rates_make_the_steps_as_long_as_full_fine_tunings():
    assert module.rates_of(100, 10_000, (1e-3, 3e-3)) == (0.01, 0.03)
    d, D = 37, 5000
    (lr,) = module.rates_of(d, D, (1e-3,))
    assert lr * math.sqrt(d) == pytest.approx(1e-3 * math.sqrt(D), rel=0.05)


def test_D_is_what_the_subspace_moves():
    model = byte_gpt()
    D = entries_of_linear(model)
    apply_method(model, RandomSubspaceConfig(3, ("q_proj", "k_proj", "v_proj", "o_proj", "fc_in", "fc_out")))
    assert D == sum(layer.frozen.data.size for layer in lora_layers(model).values())
    assert entries_of_linear(model) == D, "adapted or not"


def test_it_runs_on_a_decoder(tmp_path, tmp_path_factory, monkeypatch):
    in_place_of_the_bundled_decoder(tmp_path_factory.mktemp("assets"), monkeypatch)
    config = module.Config(
        Training(steps=2, batch_size=2, seeds=(0, 1), n_held_out=4),
        None,
        dimensions=(3, 50),
        ranks=(1,),
        full_rates=(1e-3,),
        lora_rates=(1e-2,),
    )
    found = module.run(config, Sweep(tmp_path, progress=False))
    rows = found["tasks"]["mini-e2e"]["methods"]
    assert list(rows) == [module.FULL, "LoRA, r = 1", "d = 3", "d = 50"]
    assert (rows["d = 3"]["trainable"], rows["d = 50"]["trainable"]) == (3, 50)
    module.table(found), module.with_little(found), module.plot(found)


@pytest.mark.parametrize("dimensions", [(3,), (5, 3), (3, 3), (0, 4)])
def test_dimensions_go_from_low_to_high(dimensions):
    with pytest.raises(ValueError, match="it must be at least 2 integers from 1, from low to high"):
        module.Config(dimensions=dimensions)

"""The gradients along training, forgetting, and latency: what is measured is right, and claims follow the numbers."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.paper.made_up import path, spread, verdicts
from experiments.tiny import CONFIG, adapted, byte_gpt, in_place_of_the_bundled_decoder, sum_task
from minilora.experiments.paper import forgetting, gradients, table1
from minilora.experiments.paper.gradients import compare, look, projection
from minilora.experiments.paper.mini_e2e import Training
from minilora.experiments.sweep import Sweep
from minilora.methods import LoRAConfig, lora_layers


def batch():
    return next(iter(sum_task().batches("train", batch_size=4)))


def test_the_gradients_of_A_and_B_are_projections_of_the_full_one():
    model = adapted()
    before = {name: p.data.copy() for name, p in model.named_parameters()}
    seen = look(model, batch())
    assert seen["error"] < 1e-4
    assert 0 < seen["share"] < 1 and 0 < seen["cosine"] < 1
    assert all(np.array_equal(p.data, before[name]) for name, p in model.named_parameters()), "nothing has changed"
    assert all(p.grad is None for p in model.parameters())


def test_at_the_start_only_the_rows_of_A_can_be_followed():
    model = adapted(LoRAConfig(rank=2, alpha=4, targets=("q_proj",)), B=0.0)
    assert look(model, batch())["expected"] == pytest.approx(2 / CONFIG.d_model)


def test_a_gradient_inside_the_two_spaces_is_followed_whole_and_one_outside_not_at_all():
    model = adapted(LoRAConfig(rank=2, alpha=4, targets=("q_proj",)))
    (layer,) = lora_layers(model).values()
    A, B, scale = (np.asarray(layer.A.data, float), np.asarray(layer.B.data, float), layer.scale)
    draw = np.random.default_rng(0)
    P_A, _ = projection(A.T)
    P_B, rank = projection(B)
    assert rank == 2
    any_dW = draw.standard_normal((16, 16))
    inside, outside = any_dW @ P_A, (np.eye(16) - P_B) @ any_dW @ (np.eye(16) - P_A)
    for dW, share in ((inside, 1.0), (outside, 0.0)):
        layer.A.grad, layer.B.grad = scale * B.T @ dW + (share == 0), scale * dW @ A.T
        _, found, expected, _ = compare(layer, dW)
        assert found == pytest.approx(share, abs=1e-9) and expected == pytest.approx(1 - (14 / 16) ** 2)


def test_random_subspaces_follow_the_expected_share():
    draw = np.random.default_rng(0)
    dW, shares = draw.standard_normal((8, 12)), []
    for _ in range(400):
        P_B, P_A = projection(draw.standard_normal((8, 2)))[0], projection(draw.standard_normal((12, 2)))[0]
        left_out = (np.eye(8) - P_B) @ dW @ (np.eye(12) - P_A)
        shares.append(1 - (np.linalg.norm(left_out) / np.linalg.norm(dW)) ** 2)
    assert np.mean(shares) == pytest.approx(1 - (1 - 2 / 8) * (1 - 2 / 12), abs=0.01)


def gradient_results(error=1e-6, share=0.6, expected=0.1):
    row = {"error": spread(error, error / 10), "share": spread(share), "expected": spread(expected, 0.0)}
    return {"rank": 4, "steps": {step: row | {"cosine": spread(0.5)} for step in ("0", "9")}}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "++"),
        ({"error": 0.1}, "-+"),
        ({"share": 0.105}, "+?"),
        ({"share": 0.05}, "+-"),
    ],
)
def test_the_claims_on_gradients_follow_the_numbers(changes, expected):
    assert verdicts(gradients, gradient_results(**changes)) == expected


@pytest.fixture
def tiny(monkeypatch, tmp_path_factory):
    in_place_of_the_bundled_decoder(tmp_path_factory.mktemp("assets"), monkeypatch)


def test_gradients_are_looked_at_before_the_steps_that_were_asked_for(tiny, tmp_path):
    training = Training(steps=4, batch_size=2, seeds=(0, 1))
    results = gradients.run(gradients.Config(training, steps=(0, 3)), Sweep(tmp_path, progress=False))
    assert list(results["steps"]) == ["0", "3"] and results["steps"]["3"]["error"]["mean"] < 1e-3
    with pytest.raises(ValueError, match=r"steps was \(4,\); each must be from 0 to 3"):
        gradients.Config(training, steps=(4,))


def forgetting_results(full=(1.0, 1.6), lora=(1.0, 1.1), off=1.0):
    """Both go from 2 bits of code; full fine-tuning to 1, LoRA to 1.5; prose as given, at the start and at the end."""
    methods = {
        forgetting.FULL: [path((2.0, 1.5 + 0.01 * seed, 1.0), (full[0], sum(full) / 2, full[1])) for seed in range(3)],
        forgetting.LORA: [path((2.0, 1.75, 1.5), (lora[0], sum(lora) / 2, lora[1])) for seed in range(3)],
    }
    common = {"lr": 0.01, "valid_by_lr": [[0.01, 1.0]], "off": [off] * 3}
    rows = {label: common | {"paths": paths} for label, paths in methods.items()}
    return {"methods": rows, "at_equal_gain": forgetting.equal_gain(rows)}


def test_both_are_compared_where_they_have_gained_as_much():
    found = forgetting_results()["at_equal_gain"]
    assert found[forgetting.LORA]["step"]["values"] == [2, 2, 2]
    assert found[forgetting.FULL]["step"]["values"] == pytest.approx([1, 1 + 0.01 / 0.51, 1 + 0.02 / 0.52])
    assert found[forgetting.FULL]["forgotten"]["values"][0] == pytest.approx(0.3)
    assert found[forgetting.LORA]["forgotten"]["values"] == pytest.approx([0.1] * 3)


def test_where_nothing_was_gained_nothing_was_forgotten():
    start = path((2.0, 2.5, 2.0), (1.0, 3.0, 4.0))
    assert forgetting.where(start, 2.0)["prose"] == 1.0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({}, "+++"), ({"lora": (1.0, 1.9)}, "-++"), ({"lora": (1.0, 1.3)}, "?++"), ({"off": 1.0001}, "++-")],
)
def test_the_claims_on_forgetting_follow_the_numbers(changes, expected):
    assert verdicts(forgetting, forgetting_results(**changes)) == expected


def latencies(merged=1.0, large=(1.1, 1.3)):
    """Seconds of nine rounds at two shapes; those of the large adapters as given, relative to the base's."""
    noise = 1 + 0.001 * np.arange(-4, 5)
    seconds = {}
    for shape, factor in zip(("16 x 128", "1 x 64"), large, strict=True):
        factors = {label: 1.05 for label in table1.VARIANTS} | {table1.BASE: 1.0, "LoRA, merged": merged}
        factors |= {"Adapter^L, large": factor, "Adapter^H, large": factor + 0.05}
        seconds[shape] = {label: (f * np.roll(noise, k)).tolist() for k, (label, f) in enumerate(factors.items())}
    return {"added": dict.fromkeys(table1.VARIANTS, 10), "seconds": seconds}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "+++"),
        ({"merged": 1.01}, "?++"),  # one percent, with an interval of a third
        ({"merged": 1.2}, "-++"),
        ({"large": (0.9, 1.3)}, "+-+"),
        ({"large": (1.3, 1.1)}, "++-"),
        ({"large": (1.1, 1.1)}, "++?"),
    ],
)
def test_table_1_claims_what_was_timed(changes, expected):
    assert verdicts(table1, latencies(**changes)) == expected


def test_each_round_is_compared_with_its_own_base():
    times = {table1.BASE: [1.0, 2.0, 4.0], "LoRA, merged": [1.1, 2.2, 4.4]}
    assert table1.overheads({"seconds": {"1 x 1": times}})["1 x 1"]["LoRA, merged"] == pytest.approx([10, 10, 10])


def test_latency_is_timed_for_every_variant(monkeypatch, tmp_path):
    monkeypatch.setattr(table1, "load_bundled", lambda name: byte_gpt(config=replace(CONFIG, d_model=64)))
    config = table1.Config(shapes=((2, 8), (1, 4)), rounds=(3, 4))
    results = table1.run(config, Sweep(tmp_path, progress=False))
    assert results["added"]["base"] == 0 < results["added"]["LoRA, beside W"]
    rounds = {label: len(times) for label, times in results["seconds"]["1 x 4"].items()}
    assert rounds == dict.fromkeys(table1.VARIANTS, 4)
    with pytest.raises(ValueError, match="rounds was"):
        table1.Config(rounds=(3, 3))

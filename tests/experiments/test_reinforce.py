"""A decoder's second training, from rewards: it starts where the first one ended, and is measured as it says."""

import random
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

from experiments.tiny import in_place_of_the_bundled_decoder
from methods.tiny import same_bits
from minilora.data import load_task, realise, slot_errors
from minilora.experiments import reinforce as reinforcement
from minilora.experiments.adapt import DecoderRun, adapt_and_keep, adapted_decoder, base_and_task
from minilora.experiments.reinforce import (
    REWARDS,
    ReinforceConfig,
    draw_answers,
    entropy,
    exact,
    expected_reward,
    greedy,
    measured,
    reinforce,
    slots,
)
from minilora.experiments.sweep import Sweep
from minilora.methods import FullConfig, LoRAConfig, load_adapter, lora_layers
from minilora.methods.switching import base_parameters
from minilora.training import Diverged, TrainConfig

START = DecoderRun("mini-e2e", "full", None, TrainConfig(steps=2, batch_size=2, threads=1), n_held_out=3)
TRAIN = TrainConfig(steps=2, batch_size=4, threads=1, eval_every=1, lr=0.01)
LORA = ReinforceConfig(
    START, "lora", LoRAConfig(rank=1, alpha=2, targets=("q_proj", "fc_in")), TRAIN, "slots", n_samples=2
)
FULL = replace(LORA, method="full", settings=FullConfig())
MR = {"name": "Blue Heron", "type": "cafe", "price": "low", "rating": "good"}


def low_bytes(mr, sentence):
    """The share of ASCII: a reward that a model of random bytes gets some of."""
    return sum(character.isascii() for character in sentence) / max(len(sentence), 1)


@pytest.fixture
def sweep(tmp_path, tmp_path_factory, monkeypatch):
    in_place_of_the_bundled_decoder(tmp_path_factory.mktemp("assets"), monkeypatch)
    monkeypatch.setitem(REWARDS, "slots", low_bytes)
    made = Sweep(tmp_path, progress=False)
    made(adapt_and_keep, [START], model="decoder")
    return made


@pytest.fixture(scope="module")
def task():
    return load_task("mini-e2e", length=256, n_held_out=96)


def test_a_right_sentence_is_worth_1():
    sentence = realise(MR, random.Random(0))
    assert slot_errors(MR, sentence).exact and exact(MR, sentence) == slots(MR, sentence) == 1.0


@pytest.mark.parametrize(
    ("sentence", "worth"),
    [
        ("Blue Heron is a cheap well-rated cafe", 1.0),  # without its full stop: no slot is wrong
        ("Blue Heron is a cheap cafe.", 3 / 4),
        ("Blue Heron is a pricey well-rated cafe.", 3 / 4),
        ("Blue Heron is a pricey Thai cafe.", 1 / 4),
        ("", 0.0),
    ],
)
def test_a_wrong_sentence_is_worth_its_right_slots_or_nothing(sentence, worth):
    assert slots(MR, sentence) == worth and exact(MR, sentence) == 0.0


def test_entropy_in_bits():
    assert entropy([1.0] * 5) == 0.0 and entropy([0.0, 1.0]) == 1.0 and entropy([0, 1, 2, 3]) == 2.0
    assert entropy([0.0, 0.0, 0.0, 1.0]) == pytest.approx(0.811278, abs=1e-6)


@pytest.mark.parametrize("config", [LORA, FULL], ids=["lora", "full"])
def test_a_run_goes_on_from_the_first_training(sweep, config):
    (found,) = sweep(reinforce, [config], model="decoder")
    assert [point["step"] for point in found["path"]] == [0, 1, 2] and len(found["drawn"]) == 2
    assert 0 < found["bits"] <= 2 * 4 * 2
    start = adapted_decoder(sweep, START)
    _, task = base_and_task(START)
    assert found["path"][0] == {"step": 0, **greedy(start, task, config, "valid")}

    trained = adapted_decoder(sweep, START)
    load_adapter(trained, sweep.file_of(reinforce, config))
    assert found["valid"] == expected_reward(trained, task, config, "valid")
    assert found["test"] == measured(trained, task, config)
    assert measured(trained, task, config) != measured(start, task, config)
    kept, learned = base_parameters(start), base_parameters(trained)
    same = [same_bits(learned[path].data, p.data) for path, p in kept.items()]
    if config.method == "full":
        assert not any(same)
    else:
        assert all(same) and all(layer.B.data.any() for layer in lora_layers(trained).values())


def test_a_finished_run_is_not_repeated(sweep):
    first = sweep(reinforce, [LORA], model="decoder")
    assert sweep(reinforce, [LORA], model="decoder") == first  # its seconds included


def test_without_the_first_training_there_is_no_second(tmp_path, tmp_path_factory, monkeypatch):
    in_place_of_the_bundled_decoder(tmp_path_factory.mktemp("assets"), monkeypatch)
    with pytest.raises(ValueError, match="there is no file .*adapt_and_keep"):
        Sweep(tmp_path, progress=False)(reinforce, [LORA], model="decoder")


def test_each_step_draws_several_answers_to_prompts_of_train(sweep, monkeypatch):
    steps, draw = [], draw_answers

    def seen(model, task, config, examples, rng):
        steps.append(examples)
        return draw(model, task, config, examples, rng)

    monkeypatch.setattr(reinforcement, "draw_answers", seen)
    monkeypatch.setattr(reinforcement, "expected_reward", lambda *_: 0.5)
    sweep(reinforce, [LORA], model="decoder")
    train = base_and_task(START)[1].splits["train"]
    assert [len(examples) for examples in steps] == [4 // 2] * 2
    assert all(example in train for examples in steps for example in examples)


class Drawn(NamedTuple):
    rewards: np.ndarray


def test_answers_are_drawn_to_each_prompt_and_read_as_text(task, monkeypatch):
    def draw(model, prompts, reward, *, n_samples, max_tokens, **others):
        assert [bytes(prompt.tolist()).decode() for prompt in prompts] == [f"{e.source}\n" for e in examples]
        assert n_samples == 2 and max_tokens == 160 and reward(1, []) == 0.0
        return Drawn(np.array([[reward(0, list(examples[0].target.encode()))]]))

    monkeypatch.setattr(reinforcement, "draw_episodes", draw)
    examples = task.splits["test"][:2]
    assert draw_answers(None, task, LORA, examples, np.random.default_rng(0)).rewards == 1.0


def test_the_expected_reward_is_the_mean_over_all_prompts(task, monkeypatch):
    worth = {"test": [0.0, 0.25, 1.0], "valid": [1.0, 1.0, 0.5]}  # START measures on 3 prompts, of which 2 go together
    of_example = {example: w for split, of in worth.items() for example, w in zip(task.splits[split], of, strict=False)}
    draws = []

    def draw(model, task, config, examples, rng):
        draws.append(rng.random())
        return Drawn(np.array([[of_example[example]] * 2 for example in examples]))

    monkeypatch.setattr(reinforcement, "draw_answers", draw)
    for split, of_prompts in worth.items():
        assert expected_reward(None, task, LORA, split) == pytest.approx(np.mean(of_prompts))
    assert draws[:2] == draws[2:] and len(draws) == 4, "the same random numbers for every model"


def at_step_1(*_):
    raise Diverged("the loss was nan at step 1")


def test_a_diverged_run_has_no_score(sweep, monkeypatch):
    monkeypatch.setattr(reinforcement, "draw_answers", at_step_1)
    (found,) = sweep(reinforce, [LORA], model="decoder")
    assert found["valid"] is None and found["test"] is None and [point["step"] for point in found["path"]] == [0]


def test_neither_has_one_whose_loss_overflows(sweep, monkeypatch):
    losses = iter([1.0, np.inf])
    monkeypatch.setattr(reinforcement, "greedy", lambda *_: {"reward": 0.5, "loss": next(losses)})
    (found,) = sweep(reinforce, [LORA], model="decoder")
    assert found["valid"] is None and found["path"] == [{"step": 0, "reward": 0.5, "loss": 1.0}]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": replace(START, method="lora", settings=LoRAConfig())}, "start was 'lora' on 'mini-e2e'; it must be"),
        ({"start": replace(START, task="code")}, "start was 'full' on 'code'; it must be 'full' on 'mini-e2e'"),
        ({"reward": "kindness"}, "reward was 'kindness'; it must be one of 'exact', 'slots'"),
        ({"n_samples": 1}, "n_samples was 1, for a batch_size of 4; it must be at least 2, and divide it"),
        ({"n_samples": 3}, "n_samples was 3, for a batch_size of 4"),
    ],
)
def test_a_run_that_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(LORA, **changes)

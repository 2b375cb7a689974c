"""The loop learns, writes down what happened, and does the same again from the same seed."""

import dataclasses
import functools
import json
import math

import numpy as np
import pytest

from methods.tiny import EVERYWHERE, rng, same_bits, some_batch, tiny_gpt, tiny_lora, weights_of
from minilora.data.batches import LMBatch
from minilora.methods import LoRAConfig, apply_lora, lora_layers, set_adapter
from minilora.models import GPT, GPTConfig
from minilora.training import (
    SGD,
    AdamW,
    Diverged,
    TrainConfig,
    Trainer,
    clip_gradients,
    evaluate_loss,
    loss_and_backward,
    schedule_factor,
    train_step,
)
from training.runs import EXAMPLES, run, trainer

DROPOUT = LoRAConfig(rank=2, alpha=3, targets=EVERYWHERE, dropout=0.3)


# ---- it learns

SENTENCES = np.array([[1, 5, 3, 8, 2, 0], [2, 2, 7, 1, 9, 0], [3, 8, 8, 4, 6, 0], [4, 1, 6, 6, 5, 0]])


def by_heart(sentences):
    return LMBatch(sentences[:, :-1], sentences[:, 1:], np.ones((4, 5), bool))


def test_four_sentences_are_learned_by_heart_and_with_lora_four_others_beside_them():
    four, others = by_heart(SENTENCES), by_heart(3 * SENTENCES % 10)
    model = GPT(GPTConfig(vocab_size=10, n_positions=6, n_layer=1, d_model=16, n_head=2), rng())
    run(model, sample_batch=lambda rng: four, steps=80, lr=0.02)
    known = evaluate_loss(model, [four])
    assert known < 0.1 and evaluate_loss(model, [others]) > 1.0
    apply_lora(model, LoRAConfig(rank=4, alpha=8, targets=EVERYWHERE), rng=rng(1))
    run(model, sample_batch=lambda rng: others, steps=100, lr=0.02)
    assert evaluate_loss(model, [others]) < 0.1
    set_adapter(model, None)
    assert evaluate_loss(model, [four]) == known


def test_a_step_is_forward_backward_clip_schedule_adamw():
    batches, model, by_hand = [some_batch(seed=seed) for seed in range(5)], tiny_gpt(), tiny_gpt()
    settings = {"steps": 5, "lr": 0.03, "weight_decay": 0.1, "betas": (0.8, 0.9), "warmup": 0.3, "max_norm": 0.5}
    in_turn = iter(batches)
    history = run(model, sample_batch=lambda rng: next(in_turn), schedule="cosine", **settings).history
    losses, norms = [], []
    optimizer = AdamW(by_hand.parameters(), lr=0.0, betas=(0.8, 0.9), weight_decay=0.1)
    for step, batch in enumerate(batches):
        by_hand.zero_grad()
        losses.append(loss_and_backward(by_hand, batch))
        norms.append(clip_gradients(optimizer.parameters, 0.5))
        optimizer.lr = 0.03 * schedule_factor(step, total=5, warmup=2, kind="cosine")
        optimizer.step()
    assert np.allclose(history.losses, losses, rtol=1e-13, atol=0)
    assert np.allclose(history.grad_norms, norms, rtol=1e-13, atol=0)
    assert same_bits(weights_of(model), weights_of(by_hand))


def test_a_run_is_train_step_again_and_again():
    made, by_hand = trainer(tiny_lora(DROPOUT), schedule="constant", warmup=0.0), tiny_lora(DROPOUT)
    optimizer, draws, steps = AdamW(by_hand.parameters(), lr=0.0), np.random.default_rng(0), []
    for step in range(7):
        dropout = np.random.default_rng([0, step]).spawn(1)[0]
        backward = functools.partial(loss_and_backward, rng=dropout)
        batch = made.sample_batch(draws)
        steps.append(train_step(by_hand, optimizer, batch, lr=0.01, max_norm=1.0, backward=backward))
    history = made.run(progress=False)
    assert steps == list(zip(history.losses, history.grad_norms, strict=True))
    assert same_bits(weights_of(made.model), weights_of(by_hand))


@pytest.mark.parametrize("poison", ["loss", "gradient"])
def test_train_step_changes_no_weight_if_loss_or_gradient_is_not_finite(poison):
    model = tiny_lora()
    optimizer, before = AdamW(model.parameters(), lr=0.0), weights_of(model)

    def backward(model, batch):
        loss = loss_and_backward(model, batch)
        if poison == "gradient":
            model.trainable_parameters()[0].grad[0, 0] = np.inf
        return np.nan if poison == "loss" else loss

    with pytest.raises(Diverged, match="at step 1$"):
        train_step(model, optimizer, EXAMPLES, lr=0.01, backward=backward)
    assert same_bits(weights_of(model), before) and optimizer.steps == 0


def test_lora_plus_gives_B_a_rate_of_its_own():
    plain, plus = tiny_lora(), tiny_lora()
    start = weights_of(plain)
    run(plain, steps=1)
    run(plus, steps=1, lr_ratio_B=4.0)
    for name, p in plus.named_parameters():
        ratio = 4.0 if name.endswith(".B") else 1.0
        step = dict(plain.named_parameters())[name].data - start[name]
        assert np.allclose(p.data - start[name], ratio * step, rtol=1e-12, atol=1e-14), name


# ---- it writes down what happened


def test_the_history_has_an_entry_a_step_and_a_validation_when_it_is_due():
    done = run(tiny_gpt(), validate=lambda: 1.5)
    history = done.history
    assert len(history.losses) == len(history.grad_norms) == done.step == 7
    assert history.validation == [(3, 1.5), (6, 1.5), (7, 1.5)]
    assert history.tokens == 7 * 2 * 5
    assert history.seconds > 0.0


def test_the_last_step_is_not_validated_twice():
    assert run(tiny_gpt(), validate=lambda: 1.5, steps=6).history.validation == [(3, 1.5), (6, 1.5)]


def test_without_a_validation_there_is_none():
    assert run(tiny_gpt()).history.validation == []


def test_the_folder_has_the_configuration_and_the_history(tmp_path):
    done = run(tiny_gpt("float32"), folder=tmp_path / "runs" / "first", validate=lambda: 1.5)
    read = {path.name: json.loads(path.read_text()) for path in (tmp_path / "runs" / "first").iterdir()}
    assert read == {
        name: json.loads(json.dumps(dataclasses.asdict(value)))
        for name, value in (("config.json", done.config), ("history.json", done.history))
    }
    assert read["config.json"]["seed"] == 0
    assert len(read["history.json"]["losses"]) == 7


# ---- it repeats


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_the_same_seed_gives_the_same_losses_to_the_bit(threads, accumulation):
    settings = {"threads": threads, "accumulation": accumulation, "steps": 4}
    first, again, other = (run(tiny_lora(DROPOUT), **settings, seed=seed) for seed in (1, 1, 2))
    assert first.history.losses == again.history.losses
    assert same_bits(weights_of(first.model), weights_of(again.model))
    assert not np.isclose(first.history.losses, other.history.losses).any()


def test_parts_do_not_change_what_is_learned():
    runs = [run(tiny_lora(), threads=threads, accumulation=turns) for threads, turns in ((1, 1), (2, 1), (1, 2))]
    losses = [done.history.losses for done in runs]
    assert np.allclose(losses[1:], losses[0], rtol=0, atol=1e-10)


def test_validating_does_not_change_what_is_learned():
    model = tiny_lora(DROPOUT)
    watched = run(model, validate=lambda: evaluate_loss(model, [EXAMPLES]), eval_every=1)
    assert watched.history.losses == run(tiny_lora(DROPOUT)).history.losses


def test_a_finished_run_does_nothing_more():
    done = run(tiny_gpt())
    before = weights_of(done.model)
    done.run(progress=False)
    assert done.step == len(done.history.losses) == 7
    assert same_bits(weights_of(done.model), before)


# ---- errors


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps was 0; it must be an integer of at least 1"),
        ({"batch_size": 2.5}, "batch_size was 2.5; "),
        ({"accumulation": 0}, "accumulation was 0; "),
        ({"eval_every": -1}, "eval_every was -1; "),
        ({"betas": (0.9,)}, r"betas was \(0.9,\); it must be two numbers, each 0 <= beta < 1"),
        ({"warmup": 1.5}, "warmup was 1.5; it must be a fraction of the steps, from 0 to 1"),
        ({"schedule": "step"}, "schedule was 'step'; it must be one of 'constant', 'linear', 'cosine'"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**settings)


@pytest.mark.parametrize("settings", [{"threads": 0}, {"threads": -1}, {"max_norm": 0.0}, {"max_norm": -1.0}], ids=str)
def test_a_setting_that_cannot_train_is_refused_before_the_first_step(settings):
    (name,) = settings
    with pytest.raises(ValueError, match=f"{name} was "):
        trainer(tiny_gpt(), **settings).run(progress=False)


def test_a_frozen_model_is_refused():
    model = tiny_gpt()
    model.freeze()
    with pytest.raises(ValueError, match="nothing trainable"):
        trainer(model)


def test_checkpoints_without_a_folder_are_refused_before_the_first_step():
    with pytest.raises(ValueError, match="folder"):
        trainer(tiny_gpt(), checkpoint_every=2)


@pytest.mark.parametrize("every", [0, -1, 2.5, True])
def test_steps_between_checkpoints_that_cannot_be_are_refused_before_the_first_step(every, tmp_path):
    with pytest.raises(ValueError, match=f"checkpoint_every was {every}; it must be an integer of at least 1"):
        trainer(tiny_gpt(), checkpoint_every=every, folder=tmp_path)


def test_an_error_in_a_batch_ends_the_run_and_is_the_users_to_see():
    wrong = some_batch(2, T=8)._replace(ids=np.full((2, 8), 99))
    with pytest.raises(ValueError, match="ids ran from 99 to 99; each must be from 0 to 10"):
        run(tiny_gpt(), sample_batch=lambda rng: wrong)


def test_any_optimizer_can_take_the_steps():
    model, by_hand = tiny_lora(), tiny_lora()
    config = TrainConfig(steps=1, batch_size=6, lr=0.5, warmup=0.0, schedule="constant", max_norm=math.inf, threads=1)
    Trainer(model, lambda _: EXAMPLES, config, optimizer=SGD(model.parameters(), lr=9.0)).run(progress=False)
    loss_and_backward(by_hand, EXAMPLES)
    SGD(by_hand.parameters(), lr=0.5).step()
    for p, expected in zip(model.parameters(), by_hand.parameters(), strict=True):
        np.testing.assert_allclose(p.data, expected.data, rtol=0, atol=1e-14)


def test_a_loss_that_is_not_finite_stops_the_run_and_says_what_to_try():
    model = tiny_lora()
    next(iter(lora_layers(model).values())).A.data[0, 0] = np.nan
    with pytest.raises(ValueError, match=r"the loss became nan at step 1; .*; a lower lr than 0\.01 may help"):
        run(model)

"""Nothing that is no number passes in silence; and what looks odd in a run is said."""

import math

import numpy as np
import pytest

from methods.tiny import same_bits, tiny_gpt, tiny_lora, weights_of
from minilora.files import load_arrays
from minilora.methods import lora_layers
from minilora.training import Diverged, History, Trainer, clip_gradients, diagnose
from minilora.training.checkpoint import CHECKPOINT
from minilora.training.divergence import check_gradients
from training.runs import run, trainer

LAYER = "blocks.0.attn.q_proj"


def first_A(model):
    return lora_layers(model)[LAYER].A


def test_a_loss_that_is_not_finite_names_step_parameter_and_what_to_try():
    model = tiny_lora()
    first_A(model).data[0, 0] = np.nan
    with pytest.raises(Diverged) as error:
        run(model)
    assert str(error.value) == (
        f"the loss became nan at step 1; no longer finite: {LAYER}.A; a lower lr than 0.01 may help, or a longer warmup"
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_gradient_that_is_not_finite_stops_the_run_before_the_step(value, monkeypatch):
    def spoil(parameters, max_norm):
        if len(made.history.losses) == 2:
            first_A(made.model).grad[1, 2] = value
            before.update(weights_of(made.model))
        return clip_gradients(parameters, max_norm)

    made, before = trainer(tiny_lora()), {}
    monkeypatch.setattr("minilora.training.step.clip_gradients", spoil)
    with pytest.raises(Diverged, match=rf"^the gradient of {LAYER}.A became infinite or NaN at step 3; a lower lr"):
        made.run(progress=False)
    assert same_bits(weights_of(made.model), before) and made.step == len(made.history.losses) == 2


def test_several_parameters_are_named_and_then_counted():
    parameters = tiny_gpt().parameters()
    for p in parameters:
        p.grad = np.full_like(p.data, np.nan)
    with pytest.raises(Diverged, match=rf"the gradient of wte.W, wpe.W, .* and {len(parameters) - 3} more became"):
        check_gradients(math.nan, parameters, 1)


def test_a_norm_that_overflows_is_reported_where_each_gradient_is_finite():
    with pytest.raises(Diverged, match="the norm of all gradients together became infinite or NaN at step 4"):
        check_gradients(math.inf, tiny_gpt().parameters(), 4)


def test_gradients_that_cannot_be_clipped_stay_as_they_are():
    parameters = tiny_gpt().parameters()
    for p in parameters:
        p.grad = np.ones_like(p.data)
    parameters[0].grad[0, 0] = np.inf
    assert clip_gradients(parameters, 1.0) == np.inf
    assert all((p.grad == 1.0).all() for p in parameters[1:])


def test_a_checkpoint_is_finite_the_last_good_one_stays(tmp_path):
    model = tiny_lora()
    made = trainer(model, folder=tmp_path, checkpoint_every=2)
    take_step = Trainer._take_step

    def spoiled(trainer, *arguments):
        stop = take_step(trainer, *arguments)
        if trainer.step == 4:
            first_A(model).data[0, 0] = np.inf
        return stop

    made._take_step = spoiled.__get__(made)
    with pytest.raises(Diverged, match=rf"^{LAYER}.A became infinite or NaN at step 4; a lower lr than 0.01 may help"):
        made.run(progress=False)
    assert load_arrays(tmp_path / CHECKPOINT, "run")[1]["step"] == 2


# ---- what is said of a finished run


def history(losses, norms=None, validation=()):
    return History(list(losses), list(norms or [1.0] * len(losses)), list(validation))


FALLING = [3.0 - 0.01 * i for i in range(100)]


@pytest.mark.parametrize(
    ("measured", "said"),
    [
        (history(FALLING), None),
        (history(FALLING[::-1]), "the loss rose from 2.055 to 2.955, means of 10 steps"),
        (history(FALLING[::-1][:49]), None),
        (history([*FALLING[:95], 2.2, 2.2, 2.2, 2.2, 2.2]), None),
        (history(FALLING, [1.0] * 70 + [101.0] + [1.0] * 29), "norm was 101 at step 71, where the median is 1;"),
        (history(FALLING, [1.0] * 70 + [99.0] + [1.0] * 29), None),
        (history(FALLING, validation=[(10, 2.0), (50, 1.5), (100, 1.9)]), "rose from 1.500 at step 50 to 1.900"),
        (history(FALLING, validation=[(10, 2.0), (50, 1.5), (100, 1.7)]), None),
        (history([]), None),
    ],
)
def test_what_is_odd_in_a_run_is_said(measured, said):
    found = diagnose(measured)
    assert found == [] if said is None else len(found) == 1 and said in found[0]

"""A run that is interrupted and resumed ends with the same bits as one that was not."""

import dataclasses

import numpy as np
import pytest

from methods.tiny import EVERYWHERE, same_bits, tiny_gpt, tiny_lora, weights_of
from minilora.files import load_arrays, save_arrays
from minilora.methods import LoRAConfig
from minilora.models import save_model
from minilora.training import resume_run, save_run
from minilora.training.checkpoint import CHECKPOINT, PREVIOUS
from training.runs import draw, run, trainer

MODELS = {
    "full": tiny_gpt,
    "full, float32": lambda: tiny_gpt("float32"),
    "lora": lambda: tiny_lora(),
    "lora with dropout": lambda: tiny_lora(LoRAConfig(rank=2, alpha=3, targets=EVERYWHERE, dropout=0.3)),
}
make_models = pytest.mark.parametrize("make_model", MODELS.values(), ids=MODELS.keys())


class PowerCut(Exception):
    pass


def interrupted(model, folder, at=5, **settings):
    """Train with a checkpoint every three steps, until the power fails in step `at`."""
    calls = iter(range(at))

    def sample_batch(rng):
        if next(calls, None) is None:
            raise PowerCut
        return draw(rng)

    with pytest.raises(PowerCut):
        run(model, sample_batch=sample_batch, folder=folder, checkpoint_every=3, **settings)
    return folder / CHECKPOINT


def resumed(model, path, **settings):
    made = trainer(model, **settings)
    resume_run(made, path)
    return made


def history_of(trainer):
    """All but the seconds, which no two runs have in common."""
    return dataclasses.asdict(trainer.history) | {"seconds": None}


@make_models
@pytest.mark.parametrize("threads", [1, 2])
def test_weights_losses_and_generator_end_as_without_the_interruption(make_model, threads, tmp_path):
    whole = run(make_model(), threads=threads)
    path = interrupted(make_model(), tmp_path, threads=threads)
    rest = resumed(make_model(), path, threads=threads)
    assert rest.step == len(rest.history.losses) == 3
    rest.run(progress=False)
    assert rest.history.losses == whole.history.losses
    assert rest.history.grad_norms == whole.history.grad_norms
    assert same_bits(weights_of(rest.model), weights_of(whole.model))
    assert rest.rng.bit_generator.state == whole.rng.bit_generator.state


def test_the_history_ends_as_without_the_interruption(tmp_path):
    whole = run(tiny_lora(), validate=lambda: 1.5)
    rest = resumed(tiny_lora(), interrupted(tiny_lora(), tmp_path, validate=lambda: 1.5), validate=lambda: 1.5)
    rest.run(progress=False)
    assert history_of(rest) == history_of(whole)


def test_a_model_made_from_another_seed_becomes_the_one_that_was_saved(tmp_path):
    saved = tiny_lora(dtype="float32")
    path = interrupted(saved, tmp_path, at=3)
    rest = resumed(tiny_lora(dtype="float32", seed=9), path)
    assert same_bits(weights_of(rest.model), weights_of(saved))


def test_the_file_holds_the_model_and_the_optimizers_state_of_what_is_trained(tmp_path):
    model = tiny_lora()
    arrays, about = load_arrays(interrupted(model, tmp_path), "run")
    expected = {f"model.{name}" for name, _ in model.named_parameters()}
    expected |= {f"optimizer.{slot}.{p.name}" for slot in "mv" for p in model.trainable_parameters()}
    assert arrays.keys() == expected
    assert about["step"] == 3


def test_resuming_a_finished_run_does_nothing_more(tmp_path):
    done = run(tiny_lora(), steps=6, folder=tmp_path, checkpoint_every=3)
    rest = resumed(tiny_lora(), tmp_path / CHECKPOINT, steps=6)
    rest.run(progress=False)
    assert same_bits(weights_of(rest.model), weights_of(done.model))
    assert rest.history.losses == done.history.losses


def test_the_newest_two_checkpoints_are_kept_and_nothing_else(tmp_path):
    run(tiny_gpt(), folder=tmp_path, checkpoint_every=2)
    assert {path.name for path in tmp_path.iterdir()} == {CHECKPOINT, PREVIOUS, "config.json", "history.json"}
    assert [load_arrays(tmp_path / name, "run")[1]["step"] for name in (CHECKPOINT, PREVIOUS)] == [6, 4]


# ---- errors


def is_refused_and_the_trainer_stays_as_it_was(made, path, message):
    before, state = weights_of(made.model), made.rng.bit_generator.state
    with pytest.raises(ValueError, match=message):
        resume_run(made, path)
    assert same_bits(weights_of(made.model), before)
    assert (made.step, made.history.losses, made.rng.bit_generator.state) == (0, [], state)
    return True


@pytest.mark.parametrize(
    ("changes", "fields"),
    [({"lr": 0.02}, "lr"), ({"steps": 9, "seed": 3}, "seed, steps"), ({"betas": (0.9, 0.99)}, "betas")],
    ids=str,
)
def test_another_configuration_is_refused_by_the_fields_that_differ(changes, fields, tmp_path):
    path = interrupted(tiny_lora(), tmp_path)
    message = f"{CHECKPOINT} was made with another configuration; .*; these differ: {fields}$"
    assert is_refused_and_the_trainer_stays_as_it_was(trainer(tiny_lora(), **changes), path, message)


OTHER_MODELS = {
    "the base alone": tiny_gpt,
    "another rank": lambda: tiny_lora(LoRAConfig(rank=3, targets=("q_proj", "v_proj", "fc_in"))),
    "other targets": lambda: tiny_lora(LoRAConfig(rank=2, targets=("q_proj",))),
}


@pytest.mark.parametrize("make_model", OTHER_MODELS.values(), ids=OTHER_MODELS.keys())
def test_another_model_is_refused(make_model, tmp_path):
    path = interrupted(tiny_lora(), tmp_path)
    message = f"{CHECKPOINT} holds other parameters than this model trains"
    assert is_refused_and_the_trainer_stays_as_it_was(trainer(make_model()), path, message)


DAMAGE = {
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-100]), "is not a file that minilora wrote"),
    "no safetensors": (lambda path: path.write_text("checkpoint"), "is not a file that minilora wrote"),
    "missing": (lambda path: path.unlink(), "there is no file"),
    "a model": (lambda path: save_model(tiny_gpt(), path), "holds 'gpt'; expected 'run'"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_file_is_refused(damage, message, tmp_path):
    path = interrupted(tiny_lora(), tmp_path)
    damage(path)
    assert is_refused_and_the_trainer_stays_as_it_was(trainer(tiny_lora()), path, message)


def test_the_checkpoint_is_of_the_moment_and_not_of_what_came_after(tmp_path):
    three = run(tiny_gpt(), steps=3, schedule="constant", warmup=0.0)
    path = interrupted(tiny_gpt(), tmp_path, schedule="constant", warmup=0.0)
    rest = resumed(tiny_gpt(), path, schedule="constant", warmup=0.0)
    assert same_bits(weights_of(rest.model), weights_of(three.model))
    assert np.array_equal(rest.history.losses, three.history.losses)


# ---- steps and threads


def damaged(path, **changes):
    """Write a checkpoint anew, with other fields."""
    arrays, about = load_arrays(path, "run")
    save_arrays(path, arrays, {**about, **changes})
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"step": 8}, "step was 8; the run has 7 steps"),
        ({"step": -1}, "step was -1; the run has 7 steps"),
        ({"step": True}, "step was True"),
        ({"step": 2}, "step was 2; the history has 3 losses"),
        ({"updates": {}}, "cannot|readable"),
        ({"updates": []}, "readable"),
        ({"threads": [0]}, "threads must be a list of integers from 1 to 1024"),
        ({"threads": [10**9]}, "threads must be a list of integers from 1 to 1024"),
        ({"history": {"loss": "x"}}, "a history must have the fields"),
    ],
)
def test_a_checkpoint_that_says_what_cannot_be_is_damaged(changes, message, tmp_path):
    path = damaged(interrupted(tiny_lora(), tmp_path), **changes)
    assert is_refused_and_the_trainer_stays_as_it_was(trainer(tiny_lora()), path, message)


def test_each_parameters_own_steps_are_kept(tmp_path):
    model = tiny_lora()
    made = trainer(model)
    made.optimizer.steps, made.optimizer.updates[2] = 5, 3
    made.history.losses = made.history.grad_norms = [1.0] * 5
    save_run(made, tmp_path / CHECKPOINT)
    rest = resumed(tiny_lora(), tmp_path / CHECKPOINT)
    assert rest.optimizer.updates == made.optimizer.updates and rest.step == 5


def test_a_checkpoint_that_does_not_say_them_counts_each_step_for_all(tmp_path):
    path = interrupted(tiny_lora(), tmp_path)
    arrays, about = load_arrays(path, "run")
    for field in ("updates", "threads", "device"):
        del about[field]
    save_arrays(path, arrays, about)
    rest, whole = resumed(tiny_lora(), path), run(tiny_lora())
    assert rest.optimizer.updates == [3] * len(rest.optimizer.parameters)
    rest.run(progress=False)
    assert same_bits(weights_of(rest.model), weights_of(whole.model))


def test_a_run_goes_on_with_the_threads_that_it_began_with(tmp_path, monkeypatch):
    settings = {"threads": None, "batch_size": 2}
    monkeypatch.setattr("minilora.distributed.cores", lambda: 2)
    whole = run(tiny_lora(), **settings)
    path = interrupted(tiny_lora(), tmp_path, **settings)
    monkeypatch.setattr("minilora.distributed.cores", lambda: 1)
    assert trainer(tiny_lora(), **settings).threads == [1]
    rest = resumed(tiny_lora(), path, **settings)
    assert rest.threads == [2]
    rest.run(progress=False)
    assert same_bits(weights_of(rest.model), weights_of(whole.model))

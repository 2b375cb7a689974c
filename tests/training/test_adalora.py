"""AdaLoRA's budget, importance and penalty: by hand, against PEFT's recurrences, and in training."""

import math

import numpy as np
import pytest

from methods.tiny import EVERYWHERE, gradients_of, rng, same_bits, some_batch, tiny_gpt, weights_of
from minilora.methods import AdaLoRAConfig, apply_lora, apply_method, orthogonality
from minilora.methods import adalora as methods_adalora
from minilora.methods.adalora import triplets_of
from minilora.methods.lora.config import LoRAConfig
from minilora.training import AdaLoRAAdamW, AdamW, DataParallel, TrainConfig, Trainer, loss_and_backward, resume_run
from minilora.training.adalora import budget, fixed_from

SMALL = AdaLoRAConfig(rank=1, initial_rank=3, alpha=4, targets=EVERYWHERE, interval=3)
LAYERS = 12
BATCH = some_batch()


def adapted(config=SMALL, learned=True, dtype="float64"):
    model = tiny_gpt(dtype)
    apply_method(model, config, rng=rng(1))
    if learned:
        draw = rng(2)
        for p in model.trainable_parameters():
            p.data += (0.5 * draw.standard_normal(p.shape)).astype(dtype)
    return model


def trainer_of(model, steps=30, folder=None, **more):
    def sample(rng):
        return some_batch(seed=int(rng.integers(100)))

    config = TrainConfig(steps=steps, batch_size=3, lr=1e-2, threads=1, eval_every=1000)
    return Trainer(model, sample, config, folder=folder, **more)


# ---- the budget


def test_the_budget_falls_by_the_cube_from_b0_to_bT():
    """Of 100 steps: 10 before, 40 after, and 50 in which (1 - s)^3 of what there is to lose is left."""
    config = AdaLoRAConfig(rank=2, initial_rank=6, warmup_share=0.1, final_share=0.4, interval=10)
    found = {t: budget(t, 100, config, 5) for t in range(1, 101)}
    assert fixed_from(100, config) == 60
    assert {t for t, b in found.items() if b is not None} == {20, 30, 40, 50, 60}
    assert found[20] == int(10 + 20 * 0.8**3) and found[40] == int(10 + 20 * 0.4**3) and found[60] == 10


@pytest.mark.parametrize("total", [1, 2, 7, 30, 1000])  # of a single step, it is also the warmup
def test_the_last_choice_is_made_in_any_number_of_steps_and_keeps_bT(total):
    config = AdaLoRAConfig(rank=2, initial_rank=6)
    last = fixed_from(total, config)
    assert budget(last, total, config, 5) == 10


# ---- importance


def test_the_importance_is_that_of_the_papers_equations():
    """Two steps, entry by entry; the means begin at 0."""
    model = adapted()
    optimizer = AdaLoRAAdamW(model, lr=0.01, total=1000)
    seen = []
    for seed in (1, 2):
        gradients = gradients_of(model, some_batch(seed=seed))
        seen.append({name: np.abs(weights_of(model)[name] * grad) for name, grad in gradients.items()})
        optimizer.step()
    score = {}
    for name in seen[0]:
        mean, uncertainty = np.zeros(seen[0][name].shape), np.zeros(seen[0][name].shape)
        for of_step in seen:
            mean = 0.85 * mean + 0.15 * of_step[name]
            uncertainty = 0.85 * uncertainty + 0.15 * np.abs(of_step[name] - mean)
        score[name] = mean * uncertainty
    for factors, S in zip(triplets_of(model), optimizer.importance(), strict=True):
        lam, P, Q = (score[p.name] for p in (factors.lam, factors.B, factors.A))
        expected = [lam[k] + P[:, k].mean() + Q[k].mean() for k in range(3)]
        np.testing.assert_allclose(S, expected, rtol=1e-12)


def test_the_sensitivity_is_the_change_of_the_loss_without_a_number_to_first_order():
    model = adapted()
    lam = triplets_of(model)[0].lam
    lam.data[:] = 1e-4
    gradient = gradients_of(model)[lam.name]
    before = float(model.loss(BATCH)[0])
    lam.data[1] = 0.0
    assert abs(float(model.loss(BATCH)[0]) - before) == pytest.approx(abs(1e-4 * gradient[1]), rel=1e-2)


def test_what_is_kept_are_the_most_important_of_all_layers_together():
    model = adapted()
    optimizer = AdaLoRAAdamW(model, lr=0.0, total=10)
    gradients_of(model)
    optimizer.step()
    S = np.concatenate(optimizer.importance())
    optimizer._prune(7)
    lam = np.concatenate([factors.lam.data for factors in triplets_of(model)])
    assert set(np.flatnonzero(lam)) == set(np.argsort(S)[-7:])


# ---- training


def test_in_training_the_budget_is_met_and_the_triplets_of_the_last_choice_stay():
    model = adapted(learned=False)
    trainer, alive = trainer_of(model), []
    sample = trainer.sample_batch
    trainer.sample_batch = lambda rng: alive.append(lam_of(model) != 0) or sample(rng)
    history = trainer.run(progress=False)
    alive.append(lam_of(model) != 0)
    counts = [int(mask.sum()) for mask in alive]  # after 0, 1, 2, ... steps
    assert counts[0] == 0 and counts[1] == counts[5] == 3 * LAYERS
    for t in range(1, 31):
        kept = budget(t, 30, SMALL, LAYERS)
        assert kept is None or counts[t] == kept
    last = fixed_from(30, SMALL)
    assert counts[last:] == [LAYERS] * (31 - last)
    assert all((mask == alive[last]).all() for mask in alive[last:])
    ranks = [int((f.lam.data != 0).sum()) for f in triplets_of(model)]
    assert len(set(ranks)) > 1 and sum(ranks) == LAYERS  # not each layer has the same
    assert history.losses[-1] < history.losses[0]


def lam_of(model):
    return np.concatenate([factors.lam.data for factors in triplets_of(model)])


def test_a_triplet_that_was_switched_off_can_come_back():
    model = adapted()
    optimizer = AdaLoRAAdamW(model, lr=0.01, total=1000)
    for factors in triplets_of(model):
        factors.lam.data[...] = 0.0
    loss_and_backward(model, BATCH)
    optimizer.step()
    assert (lam_of(model) != 0).all()


def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path):
    whole, first = adapted(learned=False), adapted(learned=False)
    trainer_of(whole).run(progress=False)
    trainer = trainer_of(first, folder=tmp_path, checkpoint_every=14)
    sample = trainer.sample_batch

    def stop_at_20(rng):
        if trainer.step == 20:
            raise KeyboardInterrupt
        return sample(rng)

    trainer.sample_batch = stop_at_20
    with pytest.raises(BaseException):  # noqa: B017
        trainer.run(progress=False)
    again = adapted(learned=False)
    rest = trainer_of(again, folder=tmp_path, checkpoint_every=14)
    resume_run(rest, next(path for path in tmp_path.iterdir() if "checkpoint" in path.name))
    assert rest.step == 14
    rest.run(progress=False)
    assert same_bits(weights_of(again), weights_of(whole))


# ---- the penalty


def penalty_gradients(model):
    """What `loss_and_backward` adds to the gradients of the loss."""
    with_it = gradients_of(model)
    model.zero_grad()
    _, cache = model.loss(BATCH)
    model.backward_loss(1.0, cache)
    return {name: with_it[name] - p.grad for name, p in model.named_parameters() if p.grad is not None}


def test_the_penalty_in_a_step_is_gamma_times_the_sum_of_R_and_its_gradient_the_slope():
    model = adapted()
    found, h = penalty_gradients(model), 1e-5
    for factors in triplets_of(model)[:3]:
        for p in (factors.A, factors.B):
            for index in ((0, 0), (1, 2)):
                p.data[index] += h
                above = orthogonality(model)
                p.data[index] -= 2 * h
                slope = (above - orthogonality(model)) / (2 * h)
                p.data[index] += h
                assert found[p.name][index] == pytest.approx(slope, rel=1e-6, abs=1e-9), p.name
        assert np.abs(found[factors.lam.name]).max() == 0.0
    expected = sum(
        np.sum((f.B.data.T @ f.B.data - np.eye(3)) ** 2) + np.sum((f.A.data @ f.A.data.T - np.eye(3)) ** 2)
        for f in triplets_of(model)
    )
    assert orthogonality(model) == pytest.approx(0.1 * expected)


def test_a_wrong_gradient_of_the_penalty_is_found(monkeypatch):
    wrong = methods_adalora.orthogonality_backward
    monkeypatch.setattr(
        methods_adalora, "orthogonality_backward", lambda dR, cache: tuple(0.5 * grad for grad in wrong(dR, cache))
    )
    with pytest.raises(AssertionError):
        test_the_penalty_in_a_step_is_gamma_times_the_sum_of_R_and_its_gradient_the_slope()


@pytest.mark.parametrize("options", [{"threads": 2}, {"threads": 1, "accumulation": 3}])
def test_in_parts_the_penalty_counts_once(options):
    model = adapted()
    whole = gradients_of(model)
    model.zero_grad()
    with DataParallel(model, **options) as objective:
        objective.loss_and_backward(BATCH)
    for p in model.trainable_parameters():
        np.testing.assert_allclose(p.grad, whole[p.name], rtol=0, atol=1e-12)


def test_with_the_penalty_the_vectors_become_orthonormal_and_without_it_they_do_not():
    found = {}
    for gamma in (0.0, 1.0):
        model = adapted(AdaLoRAConfig(rank=3, initial_rank=3, targets=("fc_in",), orthogonality=gamma), learned=False)
        trainer_of(model, steps=200).run(progress=False)
        Q = triplets_of(model)[0].A.data
        found[gamma] = np.linalg.norm(Q @ Q.T - np.eye(3))
    assert found[1.0] < 0.2 < 1.0 < found[0.0]


def test_other_methods_have_no_penalty():
    model = tiny_gpt()
    apply_lora(model, LoRAConfig(rank=2), rng=rng(1))
    assert orthogonality(model) == 0.0 and not triplets_of(model)
    assert all((grad == 0).all() for grad in penalty_gradients(model).values())


# ---- what cannot be


def test_the_trainer_takes_the_optimizer_that_the_method_wants():
    assert type(trainer_of(adapted()).optimizer) is AdaLoRAAdamW
    model = tiny_gpt()
    apply_method(model, LoRAConfig(rank=2))
    assert type(trainer_of(model).optimizer) is AdamW
    with pytest.raises(ValueError, match="model had no active adapter of AdaLoRA's"):
        AdaLoRAAdamW(model, 0.1, 10)
    with pytest.raises(ValueError, match=r"lr_ratio_B was 4.0; for AdaLoRA it must be 1"):
        Trainer(adapted(), lambda rng: BATCH, TrainConfig(lr_ratio_B=4.0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, "rank was 0; it must be an integer of at least 1"),
        ({"rank": 13}, "initial_rank was 12; it must be at least rank, 13"),
        ({"initial_rank": "3"}, "rank was '3'"),
        ({"orthogonality": -1}, "orthogonality was -1; it must be a number of at least 0"),
        ({"beta1": 1}, "beta1 was 1; it must be a number from 0 to 1, and below 1"),
        ({"warmup_share": 0.5, "final_share": 0.5}, "warmup_share and final_share were 1 or more together"),
        ({"interval": 0}, "interval was 0; it must be an integer of at least 1"),
        ({"alpha": math.nan}, "alpha was nan"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        AdaLoRAConfig(**settings)

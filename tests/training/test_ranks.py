"""Several ranks, each on its own rows of a batch, train as one process does; they are threads here, processes in
tests/mpi."""

from contextlib import nullcontext
from threading import get_ident

import numpy as np
import pytest

from device_array import to_fake_device
from methods.tiny import EVERYWHERE, same_bits, some_batch, tiny_gpt, tiny_lora, weights_of
from minilora.accounting import message_bytes
from minilora.data.batches import LMBatch
from minilora.data.classification import ClassificationBatch
from minilora.data.masked import MaskedBatch
from minilora.distributed import SINGLE_PROCESS
from minilora.methods import BitFitConfig, LoRAConfig, apply_lora, apply_method
from minilora.models import RobertaForClassification, RobertaForMaskedLM
from minilora.training import SGD, Diverged, Stopped, TrainConfig, Trainer, evaluate_loss, loop, resume_newest
from minilora.training.bucket import Bucket
from models.tiny_encoders import COUNTED, IDS, LABELS, MASK, TARGETS, rng, tiny
from training.examples import EXAMPLES, draw
from training.thread_ranks import run_ranks

WITH_DROPOUT = LoRAConfig(rank=2, alpha=3, targets=EVERYWHERE, dropout=0.3)


def trainer(model, ranks=SINGLE_PROCESS, sample_batch=draw, **options):
    others = {key: options.pop(key) for key in ("folder", "checkpoint_every", "optimizer") if key in options}
    settings = {"steps": 5, "batch_size": 6, "lr": 0.01, "threads": 1, "eval_every": 2} | options
    return Trainer(model, sample_batch, TrainConfig(**settings), ranks=ranks, **others)


def run(model, ranks=SINGLE_PROCESS, **options):
    made = trainer(model, ranks, **options)
    made.run(progress=False)
    return made


def run_with_sgd(model, ranks=SINGLE_PROCESS, **options):
    return run(model, ranks, optimizer=SGD(model.parameters(), 0.01), **options)


def differences(one, other):
    """The largest difference of losses and of weights of two Trainers."""
    losses = np.abs(np.subtract(one.history.losses, other.history.losses)).max()
    weights = weights_of(one.model), weights_of(other.model)
    return losses, max(np.abs(weights[0][name] - weights[1][name]).max() for name in weights[0])


# ---- as one process


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("make_model", [tiny_gpt, tiny_lora])
def test_losses_and_weights_are_those_of_one_process(size, accumulation, make_model):
    settings = {"accumulation": accumulation, "batch_size": 12}  # which is not what is drawn: six rows
    whole = run_with_sgd(make_model(), **settings)
    for part in run_ranks(size, lambda ranks: run_with_sgd(make_model(), ranks, **settings)):
        assert max(differences(part, whole)) < 1e-12


def test_with_adamw_they_are_too_but_for_weights_whose_gradient_is_nothing_but_rounding():
    whole = run(tiny_gpt())
    for part in run_ranks(3, lambda ranks: run(tiny_gpt(), ranks)):
        assert np.abs(np.subtract(part.history.losses, whole.history.losses)).max() < 1e-12
        weights = weights_of(part.model), weights_of(whole.model)
        odd = {name for name in weights[0] if np.abs(weights[0][name] - weights[1][name]).max() > 1e-12}
        assert odd <= {f"blocks.{n}.attn.k_proj.bias" for n in (0, 1)}, "AdamW divides a gradient by its own size"


@pytest.mark.parametrize("size", [2, 4])
def test_in_float32_they_are_the_same_to_its_rounding(size):
    whole = run_with_sgd(tiny_lora(dtype="float32"))
    for part in run_ranks(size, lambda ranks: run_with_sgd(tiny_lora(dtype="float32"), ranks)):
        assert max(differences(part, whole)) < 1e-6


def classes(generator):
    rows = generator.permutation(3)
    return ClassificationBatch(IDS[rows], MASK[rows], LABELS[rows])


def hidden_tokens(generator):
    rows = generator.permutation(3)
    return MaskedBatch(IDS[rows], MASK[rows], TARGETS[rows], COUNTED[rows])


@pytest.mark.parametrize(
    ("model_class", "sample"), [(RobertaForClassification, classes), (RobertaForMaskedLM, hidden_tokens)]
)
@pytest.mark.parametrize("size", [2, 3])
def test_so_do_encoders(model_class, sample, size):
    def train(ranks=SINGLE_PROCESS):
        model = tiny(model_class)
        apply_lora(model, LoRAConfig(rank=2, targets=("q_proj", "v_proj")), rng=rng(1))
        return run(model, ranks, sample_batch=sample, batch_size=3)

    whole = train()
    assert max(max(differences(part, whole)) for part in run_ranks(size, train)) < 1e-12


def test_all_ranks_are_equal_to_the_bit():
    first, *others = run_ranks(4, lambda ranks: run(tiny_lora(WITH_DROPOUT), ranks))
    for other in others:
        assert same_bits(weights_of(other.model), weights_of(first.model))
        assert other.history.losses == first.history.losses and other.history.grad_norms == first.history.grad_norms


@pytest.mark.parametrize("cores", [[1, 1, 1, 1], [2, 2], [1, 3], [3, 1]])
def test_dropout_is_that_of_one_process_with_as_many_threads(cores):
    whole = run(tiny_lora(WITH_DROPOUT), threads=4, batch_size=8)
    parts = run_ranks(len(cores), lambda ranks: run(tiny_lora(WITH_DROPOUT), ranks, threads=None, batch_size=8), cores)
    assert max(max(differences(part, whole)) for part in parts) < 1e-12
    assert max(differences(run(tiny_lora(WITH_DROPOUT), threads=3, batch_size=8), whole)) > 1e-3, "else it says nothing"


def test_a_batch_with_fewer_rows_than_ranks_is_computed_by_some_of_them():
    def two_rows(generator):
        return draw(generator, 2)

    whole = run(tiny_lora(), sample_batch=two_rows)
    for part in run_ranks(4, lambda ranks: run(tiny_lora(), ranks, sample_batch=two_rows)):
        assert max(differences(part, whole)) < 1e-12


def test_the_loss_is_the_mean_over_the_batch_and_not_the_mean_of_the_ranks_means():
    uneven = LMBatch(*(a[:2] for a in EXAMPLES[:3]))._replace(loss_mask=np.arange(5) < np.array([[1], [5]]))
    (part, _) = run_ranks(2, lambda ranks: run(tiny_gpt(), ranks, steps=1, sample_batch=lambda rng: uneven))
    means = [tiny_gpt().loss(LMBatch(*(a[n : n + 1] for a in uneven[:3])))[0] for n in (0, 1)]
    assert part.history.losses[0] == pytest.approx((1 * means[0] + 5 * means[1]) / 6, rel=1e-13)
    assert abs(np.mean(means) - part.history.losses[0]) > 1e-3


@pytest.mark.parametrize("size", [2, 3, 7])
def test_a_validation_is_shared_too(size):
    batches = [some_batch(n, seed=n) for n in (1, 2, 3, 4, 5)]
    whole = evaluate_loss(tiny_gpt(), batches)
    parts = run_ranks(size, lambda ranks: evaluate_loss(tiny_gpt(), iter(batches), ranks))
    assert len(set(parts)) == 1 and parts[0] == pytest.approx(whole, rel=1e-13)


# ---- the bucket


@pytest.mark.parametrize("config", [LoRAConfig(rank=2, targets=("q_proj",)), BitFitConfig()], ids=["LoRA", "BitFit"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_sent_is_a_value_for_each_trained_parameter_and_three_more(config, dtype):
    def train(ranks):
        model = tiny_gpt(dtype)
        apply_method(model, config, rng=rng())
        made = run(model, ranks, steps=3)
        return ranks.sent, made.bucket.nbytes, sum(p.data.size for p in model.trainable_parameters())

    for sent, nbytes, trained in run_ranks(2, train):
        assert sent == [nbytes] * 3
        assert nbytes == (trained + 3) * np.dtype(dtype).itemsize == message_bytes(trained, np.dtype(dtype).itemsize)


def test_a_rank_without_gradients_adds_zero_and_gets_the_sum():
    def reduce(ranks):
        model = tiny_lora()
        for p in model.trainable_parameters():
            p.grad = None if ranks.rank else np.full(p.data.shape, 2.0)
        loss, stop = Bucket(model.trainable_parameters(), ranks).allreduce(0.5, ranks.rank == 1)
        return loss, stop, {p.name: p.grad for p in model.trainable_parameters()}

    for loss, stop, grads in run_ranks(3, reduce):
        assert loss == 1.5 and stop is True
        assert all((grad == 2.0).all() for grad in grads.values())


def test_a_bucket_on_a_device_stays_there_until_its_last_values_are_looked_at():
    def reduce(ranks):
        (p, *_) = model = tiny_lora(dtype="float32").trainable_parameters()
        for p in model:
            p.data = to_fake_device(p.data)
            p.grad = to_fake_device(np.full(p.data.shape, 1.0 + ranks.rank, dtype="float32"))
        loss, stop = Bucket(model, ranks).allreduce(to_fake_device(np.float32(0.25)), False)
        return loss, stop, [p.grad for p in model]

    for loss, stop, grads in run_ranks(2, reduce):
        assert loss == 0.5 and stop is False
        assert all((grad.get() == 3.0).all() and grad.dtype == np.float32 for grad in grads)


def test_a_gradient_that_no_rank_has_stays_none_as_in_one_process():
    def reduce(ranks):
        model = tiny_lora()
        _, second, *others = parameters = model.trainable_parameters()
        for p in others:
            p.grad = np.ones(p.data.shape)
        second.grad = np.ones(second.data.shape) if ranks.rank == 1 else None
        Bucket(parameters, ranks).allreduce(0.5, False)
        return [p.grad is None for p in parameters], second.grad

    for absent, grad in run_ranks(3, reduce):
        assert absent == [True] + [False] * (len(absent) - 1) and (grad == 1.0).all()


def test_one_process_sends_nothing_and_keeps_its_gradients():
    model = tiny_lora()
    (p, *_) = model.trainable_parameters()
    p.grad = grad = np.ones(p.data.shape)
    assert Bucket(model.trainable_parameters(), SINGLE_PROCESS).allreduce(0.5, True) == (0.5, True)
    assert p.grad is grad


# ---- folders, checkpoints, endings


@pytest.mark.parametrize(("before", "after"), [(2, 2), (4, 1), (1, 3)])
def test_a_run_continues_with_any_number_of_ranks(before, after, tmp_path):
    def half(ranks):
        made = trainer(tiny_lora(), ranks, folder=tmp_path, checkpoint_every=3, steps=6)
        made.sample_batch = stop_at(4, made)
        with pytest.raises(RuntimeError, match="stopped by the test"):
            made.run(progress=False)

    def rest(ranks):
        made = trainer(tiny_lora(seed=8 if ranks.rank else 0), ranks, folder=tmp_path, checkpoint_every=3, steps=6)
        resume_newest(made, tmp_path)
        assert made.step == 3
        made.run(progress=False)
        return made

    def stop_at(step, made):
        def sample(generator):
            if made.step == step:
                raise RuntimeError("stopped by the test")
            return draw(generator)

        return sample

    run_ranks(before, half)
    whole = run(tiny_lora(), steps=6)
    more = pytest.warns(UserWarning, match=f"began with {before} threads in all, and continues with {after} ranks")
    with more if after > before else nullcontext():
        parts = run_ranks(after, rest)
    assert max(max(differences(part, whole)) for part in parts) < 1e-12


def test_only_the_first_rank_writes(tmp_path):
    def train(ranks):
        run(tiny_lora(), ranks, folder=tmp_path / str(ranks.rank), checkpoint_every=2)

    run_ranks(3, train)
    assert [path.name for path in tmp_path.iterdir()] == ["0"]
    written = {path.name for path in (tmp_path / "0").iterdir()}
    assert written >= {"config.json", "history.json", "checkpoint.safetensors"}


@pytest.mark.parametrize("asked", [0, 2])
def test_all_ranks_stop_after_the_same_step_if_one_is_asked(asked, tmp_path, monkeypatch):
    class Asked:
        def __init__(self, made):
            self.made = made

        def is_set(self):
            return self.made.ranks.rank == asked and self.made.step == 2

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

    def train(ranks):
        made = trainer(tiny_lora(), ranks, folder=tmp_path, checkpoint_every=100)
        events[get_ident()] = Asked(made)
        with pytest.raises(Stopped, match="stopped after step 3 of 5, which is saved in"):
            made.run(progress=False)
        return made.step

    events = {}
    monkeypatch.setattr(loop, "defer_sigint", lambda: events[get_ident()])
    assert run_ranks(3, train) == [3, 3, 3]


def test_all_ranks_see_the_same_nan():
    def train(ranks):
        model = tiny_lora()
        with np.errstate(all="ignore"), pytest.raises(Diverged) as caught:
            run(model, ranks, lr=1e200, steps=20, max_norm=1e300)
        return str(caught.value)

    first, *others = run_ranks(3, train)
    assert "at step" in first and {*others} == {first}


# ---- ranks that differ


@pytest.mark.parametrize(
    ("what", "model", "settings"),
    [("weights", {"seed": 5}, {}), ("configuration", {}, {"lr": 0.02}), ("configuration, generator", {}, {"seed": 1})],
)
def test_ranks_that_start_from_something_else_are_refused_by_all(what, model, settings):
    def train(ranks):
        differs = ranks.rank == 1
        with pytest.raises(ValueError) as caught:
            run(tiny_lora(**(model if differs else {})), ranks, **(settings if differs else {}))
        return str(caught.value)

    said = run_ranks(3, train)
    assert said == [said[0]] * 3
    assert f"rank 1 differs from rank 0 in its {what}, at step 0" in said[0]


def test_ranks_that_draw_other_data_are_refused_at_the_next_checkpoint_for_their_generators_differ(tmp_path):
    def train(ranks):
        def sample(generator):
            generator.random(1 + (ranks.rank == 1))
            return draw(generator)

        run(tiny_lora(), ranks, sample_batch=sample, folder=tmp_path, checkpoint_every=2)

    with pytest.raises(ValueError, match="rank 1 differs from rank 0 in its generator, at step 2"):
        run_ranks(2, train)


def test_ranks_that_drift_apart_are_found_at_the_next_checkpoint(tmp_path):
    def train(ranks):
        model = tiny_lora()
        (p, *_) = model.trainable_parameters()

        def sample(generator):
            p.data[0, 0] += ranks.rank * 1e-14
            return draw(generator)

        run(model, ranks, sample_batch=sample, folder=tmp_path, checkpoint_every=2)

    with pytest.raises(ValueError, match="rank 1 differs from rank 0 in its weights, at step 2"):
        run_ranks(2, train)


@pytest.mark.parametrize(("accumulation", "least"), [(1, 4), (2, 8)])
def test_a_batch_size_that_leaves_a_rank_without_a_row_is_refused(accumulation, least):
    def make(ranks):
        trainer(tiny_lora(), ranks, batch_size=least - 1, accumulation=accumulation)

    with pytest.raises(ValueError, match=f"batch_size was {least - 1}, for 4 ranks.*integer of at least {least}"):
        run_ranks(4, make)

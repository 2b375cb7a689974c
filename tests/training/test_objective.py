"""A batch in parts, on threads or in micro-batches, gives the loss and the gradients of the whole."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from methods.tiny import EVERYWHERE, gradients_of, rng, same_bits, some_batch, tiny_gpt, tiny_lora
from minilora.data.batches import LMBatch
from minilora.methods import LoRAConfig
from minilora.training import DataParallel, loss_and_backward, objective
from minilora.training.objective import split_batch

WITH_DROPOUT = LoRAConfig(rank=2, alpha=3, targets=EVERYWHERE, dropout=0.3)


def threaded(threads, accumulation=1, seed=None):
    """A stand-in for `loss_and_backward`."""

    def backward(model, batch):
        with DataParallel(model, threads, accumulation) as objective:
            return objective.loss_and_backward(batch, None if seed is None else rng(seed))

    return backward


def counted(*counts, T=5):
    """A batch in which row n has counts[n] tokens that count."""
    batch = some_batch(len(counts), T)
    return batch._replace(loss_mask=np.arange(T) < np.array(counts)[:, None])


BATCHES = {
    "all rows count alike": counted(5, 5, 5, 5, 5),
    "each row counts another number": counted(1, 5, 2, 4, 3),
    "rows without a counted token": counted(0, 0, 3, 0, 1),
    "one row": counted(4),
    "fewer rows than threads": counted(5, 1),
}


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES.keys())
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("accumulation", [1, 2, 3])
@pytest.mark.parametrize("make_model", [tiny_gpt, tiny_lora])
def test_loss_and_gradients_are_those_of_the_whole_batch(batch, threads, accumulation, make_model):
    model = make_model()
    whole, parts = gradients_of(model, batch), gradients_of(model, batch, threaded(threads, accumulation))
    loss = threaded(threads, accumulation)(model, batch)
    assert loss == pytest.approx(loss_and_backward(model, batch), rel=0, abs=1e-12)
    assert parts.keys() == whole.keys()
    assert all(np.allclose(parts[name], whole[name], rtol=0, atol=1e-12) for name in whole)


def test_rows_are_dealt_so_that_no_thread_waits_for_the_longest_texts(monkeypatch):
    seen = []
    monkeypatch.setattr(objective, "loss_and_backward", lambda model, batch, weight, rng: seen.append(batch) or 0.0)
    threaded(2)(tiny_gpt(), counted(5, 4, 1, 1))
    assert sorted(batch.ids.size for batch in seen) == [5, 6], "neighbours would have 9 and 2"


def test_a_batch_in_which_nothing_counts_has_no_loss_and_no_gradient():
    model, batch = tiny_lora(), counted(0, 0, 0)
    assert threaded(2)(model, batch) == 0.0
    assert not any(p.grad.any() for p in model.trainable_parameters())


def test_the_loss_is_the_mean_over_tokens_and_not_over_rows():
    model, batch = tiny_gpt(), counted(1, 5)
    rows = [float(loss_and_backward(model, row)) for row in split_batch(batch, 2)]
    assert loss_and_backward(model, batch) == pytest.approx((1 * rows[0] + 5 * rows[1]) / 6, rel=1e-14)
    assert abs(np.mean(rows) - loss_and_backward(model, batch)) > 1e-3


def test_gradients_do_not_depend_on_targets_that_do_not_count():
    model, batch = tiny_gpt(), counted(1, 5, 2)
    elsewhere = batch._replace(targets=np.where(batch.loss_mask, batch.targets, (batch.targets + 1) % 11))
    assert (elsewhere.targets != batch.targets).any()
    assert same_bits(gradients_of(model, elsewhere), gradients_of(model, batch))
    assert loss_and_backward(model, elsewhere) == loss_and_backward(model, batch)


def test_the_weight_scales_the_gradients_and_not_the_loss():
    model, batch = tiny_lora(), some_batch()
    plain = gradients_of(model, batch)
    halved = gradients_of(model, batch, lambda model, batch: loss_and_backward(model, batch, weight=0.5))
    assert all(np.allclose(halved[name], 0.5 * plain[name], rtol=1e-13, atol=0) for name in plain)
    assert loss_and_backward(model, batch, weight=0.5) == loss_and_backward(model, batch)


@pytest.mark.parametrize("threads", [1, 3])
def test_gradients_are_added_to_those_that_are_there(threads):
    model, batch = tiny_lora(), some_batch()
    once = gradients_of(model, batch, threaded(threads))
    threaded(threads)(model, batch)
    assert all(np.allclose(p.grad, 2 * once[p.name], rtol=1e-13, atol=0) for p in model.trainable_parameters())


@pytest.mark.parametrize("threads", [2, 3])
def test_a_second_batch_starts_from_nothing(threads):
    model = tiny_lora()
    with DataParallel(model, threads) as objective:
        first, second = (
            gradients_of(model, some_batch(seed=seed), lambda _, batch: objective.loss_and_backward(batch))
            for seed in (1, 2)
        )
    assert same_bits(second, gradients_of(model, some_batch(seed=2), threaded(threads)))
    assert not same_bits(second, first)


def test_a_batch_that_fails_in_one_thread_leaves_nothing_to_the_next():
    model, batch = tiny_lora(), some_batch(4)
    wrong = LMBatch(
        np.where(np.arange(4)[:, None] < 2, 10**6, batch.ids), batch.targets, batch.loss_mask
    )  # the first shard
    with DataParallel(model, threads=2) as objective:
        with pytest.raises(ValueError, match="ids ran from"):
            objective.loss_and_backward(wrong)
        after = gradients_of(model, batch, lambda _, batch: objective.loss_and_backward(batch))
    assert same_bits(after, gradients_of(model, batch, threaded(2)))


def test_threads_see_what_the_optimizer_changed_in_place():
    model, batch = tiny_lora(), some_batch()
    with DataParallel(model, 2) as objective:
        before = objective.loss_and_backward(batch)
        model.trainable_parameters()[0].data += 1.0
        after = objective.loss_and_backward(batch)
    assert after == pytest.approx(loss_and_backward(model, batch), rel=1e-13) and after != before


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_same_seed_gives_the_same_bits_with_dropout_on_any_threads(threads):
    runs = [gradients_of(tiny_lora(WITH_DROPOUT), backward=threaded(threads, 2, seed)) for seed in (5, 5, 6)]
    assert same_bits(runs[0], runs[1])
    assert not same_bits(runs[0], runs[2])


@pytest.mark.parametrize(("threads", "accumulation"), [(1, 1), (2, 1), (1, 2)], ids=["whole", "threads", "turns"])
def test_every_row_has_a_dropout_of_its_own(threads, accumulation):
    """Of two equal rows of one token, each adds dy h^T to dB: a matrix of rank 1 if they drop the same, else of 2."""
    row = some_batch(1, T=1)
    twice = LMBatch(*(np.repeat(a, 2, axis=0) for a in row[:3]))
    grads = gradients_of(tiny_lora(WITH_DROPOUT), twice, threaded(threads, accumulation, seed=1))
    assert np.linalg.matrix_rank(grads["blocks.1.mlp.fc_in.B"]) == 2


# ---- BLAS


def blas_threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_inside_blas_runs_on_one_thread_and_afterwards_on_as_many_as_before():
    with threadpool_limits(2, user_api="blas"):
        with DataParallel(tiny_gpt(), threads=2):
            assert blas_threads() == {1}
        assert blas_threads() == {2}


def test_blas_has_its_threads_back_after_an_exception():
    batch = some_batch()
    with threadpool_limits(2, user_api="blas"):
        with pytest.raises(ValueError, match="ids ran from 0 to 11"), DataParallel(tiny_gpt(), 2) as objective:
            objective.loss_and_backward(batch._replace(ids=np.where(batch.ids == 0, 0, 11)))
        assert blas_threads() == {2}


# ---- the rest


@pytest.mark.parametrize(("N", "parts", "sizes"), [(6, 3, [2, 2, 2]), (5, 3, [1, 2, 2]), (2, 5, [1, 1]), (4, 1, [4])])
def test_a_batch_is_cut_into_neighbouring_rows_none_empty(N, parts, sizes):
    batch = some_batch(N)
    cut = split_batch(batch, parts)
    assert [len(part.ids) for part in cut] == sizes
    assert all(same_bits(np.concatenate(pieces), a) for pieces, a in zip(zip(*(part[:3] for part in cut)), batch[:3]))


@pytest.mark.parametrize("name", ["threads", "accumulation"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "2"])
def test_a_number_of_parts_below_one_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name} was {value!r}; it must be an integer of at least 1"):
        DataParallel(tiny_gpt(), **{name: value})

import tracemalloc

import numpy as np
import pytest

from methods.tiny import logits_of, same_bits, some_batch, tiny_gpt, tiny_lora, weights_of
from minilora.methods import LoRAConfig
from minilora.models import GPT, GPTConfig
from minilora.models.recompute import recomputed
from minilora.training import evaluate_loss, evaluation
from minilora.training.objective import split_batch

BATCH = some_batch(7)


def test_it_is_the_mean_of_minus_log_p_over_all_counted_tokens():
    model = tiny_gpt()
    logits = logits_of(model, BATCH)
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    of_targets = np.take_along_axis(log_p, BATCH.targets[..., None], axis=-1)[..., 0]
    assert evaluate_loss(model, [BATCH]) == pytest.approx(-of_targets[BATCH.loss_mask].mean(), rel=1e-12)


@pytest.mark.parametrize("parts", [2, 3, 7])
def test_it_does_not_depend_on_the_batch_size(parts):
    model = tiny_gpt()
    whole = evaluate_loss(model, [BATCH])
    assert evaluate_loss(model, split_batch(BATCH, parts)) == pytest.approx(whole, rel=0, abs=1e-12)


def test_it_may_read_batches_from_a_generator_and_gives_a_float():
    model = tiny_gpt("float32")
    loss = evaluate_loss(model, (part for part in split_batch(BATCH, 2)))
    assert type(loss) is float


def test_nothing_is_dropped_and_nothing_changes():
    model = tiny_lora(LoRAConfig(rank=2, dropout=0.5))
    before = weights_of(model)
    assert evaluate_loss(model, [BATCH]) == evaluate_loss(model, [BATCH])
    assert same_bits(weights_of(model), before)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    "batches", [[], [BATCH._replace(loss_mask=np.zeros_like(BATCH.loss_mask))]], ids=["none", "masked"]
)
def test_nothing_to_count_is_refused(batches):
    with pytest.raises(ValueError, match="batches held no token that counts"):
        evaluate_loss(tiny_gpt(), batches)


def test_a_batch_is_cut_where_a_forward_would_keep_too_much(monkeypatch):
    model, rows = tiny_gpt(), []
    whole = evaluate_loss(model, [BATCH])
    loss = type(model).loss
    monkeypatch.setattr(evaluation, "MEMORY", 3 * 5 * evaluation.bytes_per_position(model))  # three rows of five tokens
    monkeypatch.setattr(type(model), "loss", lambda self, b, **k: rows.append(b.ids.size) or loss(self, b, **k))
    assert evaluate_loss(model, [BATCH]) == pytest.approx(whole, rel=1e-13)
    assert len(rows) == 3 and max(rows) <= 15


@pytest.mark.parametrize("n_layer", [2, 12])
def test_what_a_forward_needs_is_of_the_size_that_is_assumed(n_layer):
    """Measured, at shapes where no fixed cost matters."""
    config = GPTConfig(vocab_size=11, n_positions=64, n_layer=n_layer, d_model=96, n_head=2)
    model = GPT(config, np.random.default_rng(0))
    batch = some_batch(16, 64)
    with recomputed(model, True):
        model.loss(batch, need_grad=False)
        tracemalloc.start()
        model.loss(batch, need_grad=False)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert not model.recompute
    assert 0.4 < size / batch.ids.size / evaluation.bytes_per_position(model) < 2

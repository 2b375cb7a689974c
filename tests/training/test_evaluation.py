import numpy as np
import pytest

from methods.tiny import logits_of, same_bits, some_batch, tiny_gpt, tiny_lora, weights_of
from minilora.methods import LoRAConfig
from minilora.training import evaluate_loss
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

"""Training and evaluation read rows without their padding, and give what padded rows give."""

import numpy as np
import pytest

from methods.tiny import SMALL_LORA, gradients_of, rng, some_batch, tiny_gpt, tiny_lora
from minilora.data import pack_batch
from minilora.methods import LoRAConfig, PrefixConfig, apply_lora, apply_prefix
from minilora.methods.lora.per_row import adapters_per_row
from minilora.training import DataParallel, evaluate_loss, loss_and_backward
from minilora.training.objective import without_padding
from models.tiny_llama import tiny_llama
from training.runs import run


def ragged(N=4, T=8, V=11, seed=3):
    """N rows of T tokens; of the n-th, the last n or n + 1 do not count."""
    batch = some_batch(N, T, seed=seed)
    last = T - 1 - np.arange(N)[:, None] - (np.arange(N) % 2)[:, None]
    place = np.arange(T)
    return batch._replace(ids=batch.ids % V, targets=batch.targets % V, loss_mask=(place <= last) & (place > 1))


def llama_lora():
    model = tiny_llama()
    apply_lora(model, LoRAConfig(rank=2, alpha=3, targets=("q_proj", "k_proj", "o_proj", "down_proj")), rng=rng(1))
    for name, p in model.named_parameters():
        if name.endswith(".B"):
            p.data[...] = rng(2).standard_normal(p.data.shape)
    return model


@pytest.mark.parametrize("make", [tiny_gpt, tiny_lora, tiny_llama, llama_lora])
def test_a_packed_batch_has_the_loss_and_the_gradients_of_the_padded_one(make):
    model, batch = make(), ragged()
    packed = pack_batch(batch)
    assert packed.ids.size < batch.ids.size and len(packed.text_lengths[0]) == 4
    padded_loss, packed_loss = (float(model.loss(b)[0]) for b in (batch, packed))
    assert packed_loss == pytest.approx(padded_loss, rel=1e-12)
    expected, found = gradients_of(model, batch), gradients_of(model, packed)
    assert found.keys() == expected.keys() and len(found) > 3
    for name, grad in expected.items():
        assert np.abs(found[name] - grad).max() <= 1e-12 * max(1, np.abs(grad).max()), name


def test_a_text_that_saw_its_neighbour_would_be_noticed():
    """The mutant: one text of the whole row."""
    model, batch = tiny_gpt(), ragged(N=2, T=5)
    packed = pack_batch(batch)
    leaking = packed._replace(text_lengths=None)
    assert abs(float(model.loss(leaking)[0]) - float(model.loss(batch)[0])) > 1e-3


@pytest.mark.parametrize("make", [tiny_lora, llama_lora])
@pytest.mark.parametrize(("threads", "accumulation"), [(1, 1), (2, 1), (2, 2), (1, 3)])
def test_threads_and_micro_batches_give_the_mean_over_all_tokens_that_count(make, threads, accumulation):
    """And never a mean of the means of rows: the rows count different numbers of tokens."""
    model, batch = make(), ragged()
    expected, loss = gradients_of(model, batch), loss_and_backward(model, batch)
    rows = [batch._replace(loss_mask=batch.loss_mask & (np.arange(4) == n)[:, None]) for n in range(4)]
    means = [float(model.loss(pack_batch(row))[0]) for row in rows]
    assert abs(np.mean(means) - loss) > 1e-3
    with DataParallel(model, threads, accumulation) as objective:
        found = gradients_of(model, batch, lambda _, batch: objective.loss_and_backward(batch))
        assert float(objective.loss_and_backward(batch)) == pytest.approx(float(loss), rel=1e-12)
    assert all(np.allclose(found[name], grad, rtol=0, atol=1e-12) for name, grad in expected.items())


def test_training_and_evaluation_read_no_padding(monkeypatch):
    read = []
    forward = type(tiny_gpt()).hidden

    def hidden(self, ids, *args, **kwargs):
        read.append(ids.shape)
        return forward(self, ids, *args, **kwargs)

    monkeypatch.setattr(type(tiny_gpt()), "hidden", hidden)
    model, batch = tiny_lora(), ragged()
    size = pack_batch(batch).ids.size
    with DataParallel(model) as objective:
        objective.loss_and_backward(batch)
    evaluate_loss(model, [batch])
    assert read == [(1, size)] * 2
    done = run(tiny_lora(), sample_batch=lambda rng: batch, steps=3)
    assert done.history.tokens == 3 * size and read[2:] == [(1, size)] * 3


def test_what_cannot_be_packed_is_read_as_it_is():
    batch, full = ragged(N=2, T=5), some_batch()
    assert without_padding(tiny_gpt(), batch).text_lengths is not None
    assert without_padding(tiny_gpt(), full) is full, "where nothing is padding, nothing is gained"
    model = tiny_gpt()
    apply_prefix(model, PrefixConfig(before=1, after=1), rng=rng())
    assert without_padding(model, batch) is batch
    with DataParallel(model) as objective:
        assert float(objective.loss_and_backward(batch)) == pytest.approx(float(model.loss(batch)[0]), rel=1e-12)
    model = tiny_gpt()
    apply_lora(model, SMALL_LORA, rng=rng(), name="one")
    with adapters_per_row(model, ["one", None]):
        assert without_padding(model, batch) is batch
        assert evaluate_loss(model, [batch]) == pytest.approx(float(model.loss(batch)[0]), rel=1e-12)
    assert without_padding(model, batch) is not batch

"""The skewed view of disentangled attention, and what it saves."""

import tracemalloc

import numpy as np
import pytest

from minilora.arrays import chunks
from minilora.ops.fast import (
    disentangled_attention,
    disentangled_attention_backward,
    disentangled_attention_forward,
    relative_rows,
)
from minilora.ops.fast.disentangled_attention import skew
from minilora.ops.fast.softmax import softmax_inplace

N, H, T, K, M = 2, 3, 7, 4, 8
RNG = np.random.default_rng(0)
Q, KEYS, V = (RNG.standard_normal((N, H, T, K)) for _ in range(3))
Q_REL, K_REL = (RNG.standard_normal((H, M, K)) for _ in range(2))
ROWS = np.array(relative_rows(T, n_buckets=M // 2, max_distance=6))


@pytest.mark.parametrize("T", [1, 2, 5])
def test_skew_is_a_view_that_shifts_each_row(T):
    x = RNG.standard_normal((2, 3, T, 2 * T))
    y = skew(x)
    assert np.shares_memory(x, y)
    for t, s in np.ndindex(T, T):
        assert np.array_equal(y[..., t, s], x[..., t, s - t + T - 1])


def test_an_array_of_every_pair_and_channel_is_never_made():
    n, t, k = 4, 64, 32
    q, key, v, dy = (RNG.standard_normal((n, 2, t, k)) for _ in range(4))
    rel = RNG.standard_normal((2, M, k))
    rows = np.array(relative_rows(t, n_buckets=M // 2, max_distance=6))
    tracemalloc.start()
    _, cache = disentangled_attention_forward(q, key, v, rel, rel, rows)
    disentangled_attention_backward(dy, cache)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < n * 2 * t * t * k * q.itemsize / 2


def test_as_many_sequences_at_a_time_as_fit_the_cache(monkeypatch):
    sizes = []

    def noting_softmax(scores):
        sizes.append(len(scores))
        return softmax_inplace(scores)

    monkeypatch.setattr(disentangled_attention, "softmax_inplace", noting_softmax)
    monkeypatch.setattr(chunks, "L2_BYTES", 3 * H * T * 2 * T * Q.itemsize)
    disentangled_attention_forward(*(np.concatenate([a] * 4) for a in (Q, KEYS, V)), Q_REL, K_REL, ROWS)
    assert sizes == [3, 3, 2]

"""Tiles of attention: they change no result, and leave out what nobody sees."""

import math

import numpy as np
import pytest

from device_array import to_fake_device
from minilora.arrays import chunks
from minilora.ops.fast import attention, attention_backward, attention_forward, attention_tiles

N, H, T, K = 2, 3, 5, 4
RNG = np.random.default_rng(0)
Q, KEYS, V, DY = (RNG.standard_normal((N, H, T, K)) for _ in range(4))
PADDING = np.array([[True] * T, [False, False, True, True, True]])


def shape(cache, tile):
    """(n, H, i, j)"""
    n, i, j, _, lse = tile
    assert lse.shape == (*cache.q[n, :, i].shape[:3], 1)
    return (*lse.shape[:3], cache.k[n, :, j].shape[2])


@pytest.mark.parametrize("queries", [1, 2, 3, 4])
@pytest.mark.parametrize("padding", [None, PADDING], ids=["all keys", "padding"])
@pytest.mark.parametrize("causal", [True, False], ids=["causal", "not causal"])
@pytest.mark.parametrize("T_q", [T, 3])
def test_tiles_change_no_result(T_q, causal, padding, queries, monkeypatch):
    q, dy = Q[:, :, T - T_q :], DY[:, :, T - T_q :]
    y, cache = attention_forward(q, KEYS, V, padding, causal=causal)
    grads = attention_backward(dy, cache)
    monkeypatch.setattr(attention_tiles, "QUERIES", queries)
    monkeypatch.setattr(chunks, "L2_BYTES", 1)  # a sequence a tile
    y_tiles, cache_tiles = attention_forward(q, KEYS, V, padding, causal=causal)
    assert len(cache_tiles.tiles) == N * math.ceil(T_q / queries)
    assert np.allclose(y_tiles, y, rtol=0, atol=1e-14)
    assert np.allclose(cache_tiles.probs, cache.probs, rtol=0, atol=1e-14)
    for grad_tiles, grad in zip(attention_backward(dy, cache_tiles), grads, strict=True):
        assert np.allclose(grad_tiles, grad, rtol=0, atol=1e-14)


def test_causal_tiles_leave_out_what_nobody_sees(monkeypatch):
    monkeypatch.setattr(attention_tiles, "QUERIES", 2)
    _, cache = attention_forward(Q, KEYS, V)
    assert [shape(cache, tile)[2:] for tile in cache.tiles] == [(2, 2), (2, 4), (1, 5)]


def test_a_tile_holds_as_many_sequences_as_fit_the_cache(monkeypatch):
    monkeypatch.setattr(attention_tiles, "QUERIES", 2)
    monkeypatch.setattr(chunks, "L2_BYTES", 3 * H * 2 * T * Q.itemsize)
    _, cache = attention_forward(*(np.concatenate([a] * 4) for a in (Q, KEYS, V)), causal=False)
    assert [shape(cache, tile)[0] for tile in cache.tiles] == [3] * 3 + [3] * 3 + [2] * 3


def test_on_a_device_one_tile_covers_all(monkeypatch):
    monkeypatch.setattr(attention_tiles, "QUERIES", 2)
    _, cache = attention_forward(*map(to_fake_device, (Q, KEYS, V)))
    assert [shape(cache, tile) for tile in cache.tiles] == [(N, H, T, T)]


def test_without_queries_keys_and_values_have_a_gradient_of_zero(monkeypatch):
    empty = attention.empty_heads
    monkeypatch.setattr(attention, "empty_heads", lambda xp, like: empty(xp, like) + math.nan)
    y, cache = attention_forward(Q[:, :, :0], KEYS, V)
    dq, dk, dv = attention_backward(y, cache)
    assert y.shape == dq.shape == (N, H, 0, K)
    assert np.array_equal(dk, np.zeros_like(KEYS)) and np.array_equal(dv, np.zeros_like(V))

import math

import numpy as np
import pytest

from minilora.ops.fast import (
    attention_forward,
    disentangled_attention_backward,
    disentangled_attention_forward,
    relative_rows,
)

N, H, T, K, M = 2, 3, 7, 4, 8
RNG = np.random.default_rng(0)
Q, KEYS, V, DY = (RNG.standard_normal((N, H, T, K)) for _ in range(4))
Q_REL, K_REL = (RNG.standard_normal((H, M, K)) for _ in range(2))
ROWS = np.array(relative_rows(T, n_buckets=M // 2, max_distance=6))
PADDING = np.array([[True] * T, [False, True, True, False, True, True, False]])


def literal(q, k, v, q_rel, k_rel, mask):
    """One head, pair by pair: q, k and v (T, K), q_rel and k_rel (M, K), mask (T,)."""
    y = np.zeros_like(v)
    for i in np.flatnonzero(mask):
        weights = {}
        for j in np.flatnonzero(mask):
            m = ROWS[i - j + len(q)]
            weights[j] = math.exp((q[i] @ k[j] + q[i] @ k_rel[m] + k[j] @ q_rel[m]) / math.sqrt(3 * K))
        y[i] = sum(w / sum(weights.values()) * v[j] for j, w in weights.items())
    return y


@pytest.mark.parametrize("mask", [None, PADDING], ids=["no mask", "padding"])
def test_y_is_the_literal_formula(mask):
    y, _ = disentangled_attention_forward(Q, KEYS, V, Q_REL, K_REL, ROWS, mask)
    for n, h in np.ndindex(N, H):
        sees = np.ones(T, bool) if mask is None else mask[n]
        expected = literal(Q[n, h], KEYS[n, h], V[n, h], Q_REL[h], K_REL[h], sees)
        assert np.allclose(y[n, h], expected, rtol=0, atol=1e-13)


def test_distances_share_rows_here():
    assert len(set(ROWS[1:-1].tolist())) < 2 * T - 1


def test_a_single_token_sees_itself():
    rows = np.array(relative_rows(1, n_buckets=4, max_distance=6))
    one = (a[:, :, :1] for a in (Q, KEYS, V))
    y, _ = disentangled_attention_forward(*one, Q_REL, K_REL, rows)
    assert np.allclose(y, V[:, :, :1], rtol=0, atol=1e-15)


def test_without_relative_embeddings_it_is_attention_with_another_scale():
    zero = np.zeros_like(Q_REL)
    y, _ = disentangled_attention_forward(Q, KEYS, V, zero, zero, ROWS)
    expected, _ = attention_forward(Q / math.sqrt(3), KEYS, V, causal=False)
    assert np.allclose(y, expected, rtol=0, atol=1e-14)


def test_what_is_padding_is_not_seen_and_has_no_gradient():
    y, cache = disentangled_attention_forward(Q, KEYS, V, Q_REL, K_REL, ROWS, PADDING)
    dq, dk, dv, dq_rel, dk_rel = disentangled_attention_backward(DY, cache)
    pads = ~PADDING[1]
    assert not any(a[1, :, pads].any() for a in (y, dq, dk, dv))

    q, k, v, dy = (a.copy() for a in (Q, KEYS, V, DY))
    for a in (q, k, v, dy):
        a[1, :, pads] = 1e3
    again, cache = disentangled_attention_forward(q, k, v, Q_REL, K_REL, ROWS, PADDING)
    assert np.array_equal(again, y)
    for a, b in zip(disentangled_attention_backward(dy, cache), (dq, dk, dv, dq_rel, dk_rel), strict=True):
        assert np.allclose(a, b, rtol=0, atol=1e-13)


def test_a_sequence_of_nothing_but_padding_gives_zeros():
    y, cache = disentangled_attention_forward(Q, KEYS, V, Q_REL, K_REL, ROWS, np.zeros((N, T), bool))
    assert not y.any()
    assert not any(grad.any() for grad in disentangled_attention_backward(DY, cache))


@pytest.mark.parametrize("length", [T, 2 * T - 1, 2 * T + 2])
def test_rows_for_another_length_are_refused(length):
    with pytest.raises(ValueError, match=rf"distance_rows had shape \({length},\); for T = 7 it must be \(15,\)"):
        disentangled_attention_forward(Q, KEYS, V, Q_REL, K_REL, np.zeros(length, int))

import math

import numpy as np
import pytest

from minilora.ops.fast import attention_backward, attention_forward

N, H, T, K = 2, 3, 5, 4
RNG = np.random.default_rng(0)
Q, KEYS, V, DY = (RNG.standard_normal((N, H, T, K)) for _ in range(4))
PADDING = np.array([[True] * T, [False, False, True, True, True]])


def literal(q, k, v, sees):
    """One head: q (T_q, K), k and v (T, K), and sees(i, j), true if query i may see key j."""
    y = []
    for i, query in enumerate(q):
        weights = [math.exp(query @ key / math.sqrt(K)) if sees(i, j) else 0.0 for j, key in enumerate(k)]
        total = sum(weights) or 1.0
        y.append(sum(w / total * value for w, value in zip(weights, v, strict=True)))
    return y


@pytest.mark.parametrize("padding", [None, PADDING], ids=["all keys", "padding"])
@pytest.mark.parametrize("causal", [True, False], ids=["causal", "not causal"])
@pytest.mark.parametrize("T_q", [T, 2, 1])
def test_y_is_the_literal_formula(T_q, causal, padding):
    start = T - T_q
    y, _ = attention_forward(Q[:, :, start:], KEYS, V, padding, causal=causal)
    for n, h in np.ndindex(N, H):

        def sees(i, j, n=n):
            return (j <= start + i or not causal) and (padding is None or padding[n, j])

        expected = literal(Q[n, h, start:], KEYS[n, h], V[n, h], sees)
        assert np.allclose(y[n, h], expected, rtol=0, atol=1e-13)


def test_the_last_queries_alone_get_what_they_get_among_all():
    whole, _ = attention_forward(Q, KEYS, V)
    last, _ = attention_forward(Q[:, :, 3:], KEYS, V)
    assert np.allclose(last, whole[:, :, 3:], rtol=0, atol=1e-14)


def test_causal_probabilities_are_a_lower_triangle_of_rows_that_sum_to_1():
    _, cache = attention_forward(Q, KEYS, V)
    assert not np.triu(cache.probs, k=1).any()
    assert np.allclose(cache.probs.sum(axis=-1), 1.0, rtol=0, atol=1e-14)


def test_a_query_that_sees_nothing_gets_zero_and_moves_nothing():
    blind = np.s_[1, :, :2]  # the first two queries of the padded sequence
    y, cache = attention_forward(Q, KEYS, V, PADDING)
    dq, dk, dv = attention_backward(DY, cache)
    assert not y[blind].any()
    assert not dq[blind].any()

    without = DY.copy()
    without[blind] = 0.0
    _, dk_without, dv_without = attention_backward(without, cache)
    assert np.array_equal(dk, dk_without) and np.array_equal(dv, dv_without)


@pytest.mark.parametrize("causal", [True, False])
def test_a_padded_key_is_not_seen_and_has_no_gradient(causal):
    y, cache = attention_forward(Q, KEYS, V, PADDING, causal=causal)
    _, dk, dv = attention_backward(DY, cache)
    assert not dk[1, :, :2].any() and not dv[1, :, :2].any()

    k, v = KEYS.copy(), V.copy()
    k[1, :, :2], v[1, :, :2] = 1e3, -1e3
    assert np.array_equal(attention_forward(Q, k, v, PADDING, causal=causal)[0], y)


def test_a_sequence_of_nothing_but_padding_gives_zeros():
    y, cache = attention_forward(Q, KEYS, V, np.zeros((N, T), bool), causal=False)
    assert not y.any()
    assert not any(grad.any() for grad in attention_backward(DY, cache))


def test_extreme_scores_stay_finite():
    y, cache = attention_forward(1e2 * Q, 1e2 * KEYS, V)
    assert np.isfinite(y).all()
    assert all(np.isfinite(grad).all() for grad in attention_backward(DY, cache))

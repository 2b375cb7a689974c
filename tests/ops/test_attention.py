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


def test_more_queries_than_positions_are_refused():
    with pytest.raises(ValueError, match="^q had 5 positions and k has 3; q's must not be more, as they are k's last$"):
        attention_forward(Q, KEYS[:, :, :3], V[:, :, :3], causal=False)


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


# ---- groups: H query heads share G keys and values

OF_GROUPS = RNG.standard_normal((N, 6, T, K))  # two query heads to each of the 3 of KEYS and V


@pytest.mark.parametrize("text_lengths", [None, ((2, 3), (1, 4))])
def test_head_h_reads_key_value_head_h_over_the_group(text_lengths):
    y, cache = attention_forward(OF_GROUPS, KEYS, V, PADDING, text_lengths=text_lengths)
    for h in range(6):
        alone, of_head = attention_forward(
            *(a[:, i : i + 1] for a, i in ((OF_GROUPS, h), (KEYS, h // 2), (V, h // 2))),
            PADDING,
            text_lengths=text_lengths,
        )
        assert np.allclose(y[:, h], alone[:, 0], rtol=0, atol=1e-14)
        assert np.allclose(cache.probs[:, h], of_head.probs[:, 0], rtol=0, atol=1e-14)


def test_the_gradients_of_a_group_are_sums_over_its_heads():
    dy = RNG.standard_normal((N, 6, T, K))
    _, cache = attention_forward(OF_GROUPS, KEYS, V)
    _, cache_of_copies = attention_forward(OF_GROUPS, KEYS.repeat(2, axis=1), V.repeat(2, axis=1))
    dq, dk, dv = attention_backward(dy, cache)
    dq_of_copies, *of_copies = attention_backward(dy, cache_of_copies)
    assert np.allclose(dq, dq_of_copies, rtol=0, atol=1e-13)
    for shared, copies in zip((dk, dv), of_copies, strict=True):
        assert np.allclose(shared, copies[:, 0::2] + copies[:, 1::2], rtol=0, atol=1e-13)


@pytest.mark.parametrize("H", [4, 2, 1])
def test_heads_that_cannot_be_shared_evenly_are_refused(H):
    with pytest.raises(ValueError, match=f"^q has {H} heads and k has 3; k's must divide q's$"):
        attention_forward(OF_GROUPS[:, :H], KEYS, V)


# ---- several texts in a row

TEXTS = ((2, 3), (1, 4))


@pytest.mark.parametrize("causal", [True, False], ids=["causal", "not causal"])
def test_each_text_gets_what_it_gets_alone(causal):
    dy = RNG.standard_normal((N, 6, T, K))
    y, cache = attention_forward(OF_GROUPS, KEYS, V, causal=causal, text_lengths=TEXTS)
    grads = attention_backward(dy, cache)
    for n, start, stop in ((0, 0, 2), (0, 2, 5), (1, 0, 1), (1, 1, 5)):
        text = np.s_[n : n + 1, :, start:stop]
        alone, of_text = attention_forward(OF_GROUPS[text], KEYS[text], V[text], causal=causal)
        assert np.allclose(y[text], alone, rtol=0, atol=1e-14)
        for grad, expected in zip(grads, attention_backward(dy[text], of_text), strict=True):
            assert np.allclose(grad[text], expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("causal", [True, False], ids=["causal", "not causal"])
def test_nothing_crosses_the_border_of_two_texts(causal):
    """Texts 0:2 and 2:5 of row 0: what happens in one changes no bit of the other, and no gradient goes across."""

    def attend(q, k, v, dy):
        y, cache = attention_forward(q, k, v, causal=causal, text_lengths=TEXTS)
        return y, *attention_backward(dy, cache)

    arrays = OF_GROUPS, KEYS, V, RNG.standard_normal((N, 6, T, K))
    for changed, other in ((slice(0, 2), slice(2, 5)), (slice(2, 5), slice(0, 2))):
        altered = [a.copy() for a in arrays]
        for a in altered:
            a[0, :, changed] = 10.0 * a[0, :, changed] + 1.0
        for before, after in zip(attend(*arrays), attend(*altered), strict=True):
            assert np.array_equal(before[0, :, other], after[0, :, other])
            assert np.array_equal(before[1], after[1])
            assert not np.array_equal(before[0, :, changed], after[0, :, changed])
        q, k, v, dy = arrays
        of_one = np.zeros_like(dy)
        of_one[0, :, changed] = dy[0, :, changed]
        assert not any(grad[0, :, other].any() for grad in attend(q, k, v, of_one)[1:])


def test_one_text_per_row_is_no_text_at_all():
    y, cache = attention_forward(Q, KEYS, V)
    of_texts, cache_of_texts = attention_forward(Q, KEYS, V, text_lengths=((T,), (T,)))
    assert np.allclose(of_texts, y, rtol=0, atol=1e-14)
    for grad, expected in zip(attention_backward(DY, cache_of_texts), attention_backward(DY, cache), strict=True):
        assert np.allclose(grad, expected, rtol=0, atol=1e-14)


def test_a_text_without_queries_has_no_gradient():
    y, cache = attention_forward(Q[:, :, 3:], KEYS, V, text_lengths=((2, 3), (3, 2)))
    whole, _ = attention_forward(Q, KEYS, V, text_lengths=((2, 3), (3, 2)))
    assert np.allclose(y, whole[:, :, 3:], rtol=0, atol=1e-14)
    _, dk, dv = attention_backward(DY[:, :, 3:], cache)
    assert not dk[0, :, :2].any() and not dv[0, :, :2].any() and not dk[1, :, :3].any() and not dv[1, :, :3].any()


def test_a_text_of_no_positions_changes_nothing():
    y, cache = attention_forward(Q, KEYS, V, text_lengths=((2, 0, 3, 0), (0, 1, 4)))
    expected, expected_cache = attention_forward(Q, KEYS, V, text_lengths=TEXTS)
    assert np.array_equal(y, expected)
    assert all(map(np.array_equal, attention_backward(DY, cache), attention_backward(DY, expected_cache)))


@pytest.mark.parametrize(
    ("text_lengths", "message"),
    [
        (((2, 3),), "^text_lengths had 1 rows; it must have 2, one for each row of the batch$"),
        (((2, 3), (1, 3)), r"^text_lengths\[1\] was \(1, 3\); its lengths must sum to 5, the row's length$"),
        (((2, 3), ()), r"^text_lengths\[1\] was \(\); its lengths must sum to 5"),
        (((6, -1), (5,)), r"^text_lengths\[0\] was \(6, -1\); its lengths must sum to 5"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(text_lengths, message):
    with pytest.raises(ValueError, match=message):
        attention_forward(Q, KEYS, V, text_lengths=text_lengths)

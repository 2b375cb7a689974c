import numpy as np
import pytest

from minilora.ops.fast import dropout_backward, dropout_forward, dropout_mask

X = np.random.default_rng(0).standard_normal((100, 100))


def rng():
    return np.random.default_rng(1)


def test_an_entry_is_dropped_or_scaled_up():
    mask = dropout_mask(X, 0.2, rng())
    assert set(np.unique(mask)) == {0.0, 1.0 / (1.0 - 0.2)}


def test_a_share_p_is_dropped_so_that_the_mean_stays():
    mask = dropout_mask(X, 0.2, rng())
    assert (mask == 0.0).mean() == pytest.approx(0.2, abs=0.02)
    assert mask.mean() == pytest.approx(1.0, abs=0.02)


def test_what_is_dropped_has_no_gradient():
    y, cache = dropout_forward(X, 0.5, rng())
    dx = dropout_backward(np.ones_like(X), cache)
    assert np.array_equal(y == 0.0, dx == 0.0)
    assert np.allclose(y, X * dx, rtol=0, atol=0)


def test_p_zero_drops_nothing():
    y, _ = dropout_forward(X, 0.0, rng())
    assert np.array_equal(y, X)


def test_p_zero_does_not_even_drop_what_was_drawn_as_zero():
    class Zeros:
        def random(self, shape, dtype):
            return np.zeros(shape, dtype)

    assert np.array_equal(dropout_mask(X, 0.0, Zeros()), np.ones_like(X))


def test_the_same_entries_are_dropped_in_every_dtype():
    single = dropout_mask(X.astype(np.float32), 0.3, rng())
    assert np.array_equal(single == 0.0, dropout_mask(X, 0.3, rng()) == 0.0)


def test_each_call_draws_anew():
    generator = rng()
    assert not np.array_equal(dropout_mask(X, 0.3, generator), dropout_mask(X, 0.3, generator))


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5, float("nan")])
def test_a_p_that_is_no_probability_is_refused(p):
    with pytest.raises(ValueError, match=f"p, the probability of dropout, was {p}; it must be 0 <= p < 1"):
        dropout_forward(X, p, rng())

import numpy as np
import pytest

from minilora.analysis import intruder_dimensions, intruders_among


def gaussian(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


W = np.diag([5.0, 4.0, 3.0, 2.0, 1.0]) @ np.eye(5, 8)


def test_a_weight_has_no_intruders_in_itself():
    random = gaussian(12, 9)
    intruders = intruder_dimensions(random, -2 * random, k=9, epsilon=0.999)
    np.testing.assert_allclose(intruders.cosines, np.ones(9), atol=1e-12)
    assert intruders.count == 0


def test_the_sign_of_a_direction_says_nothing():
    """After a rotation of the input the directions of the output are the same; the signs come out otherwise."""
    random, rotation = gaussian(12, 9), np.linalg.qr(gaussian(9, 9, seed=1))[0]
    before, after = (np.linalg.svd(M, full_matrices=False)[0] for M in (random, random @ rotation))
    assert np.sum(before * after, axis=0).min() == pytest.approx(-1)
    np.testing.assert_allclose(intruder_dimensions(random, random @ rotation, k=9).cosines, np.ones(9), atol=1e-12)


def test_new_orders_and_sizes_of_old_directions_are_no_intruders():
    tuned = np.diag([1.0, 2.0, 30.0, 4.0, 50.0]) @ np.eye(5, 8)
    assert intruder_dimensions(W, tuned, k=5, epsilon=0.99).count == 0


def test_a_strong_new_direction_is_one():
    """It leads, and is a mixture of all five old ones in equal parts: its cosine is 5^(-1/2) = 0.447 with each."""
    delta_W = 1000 * np.outer(np.ones(5), np.eye(8)[7])
    intruders = intruder_dimensions(W, W + delta_W, k=1)
    assert intruders.cosines[0] == pytest.approx(5**-0.5, abs=1e-3)
    assert intruders.indices.tolist() == [0] and intruders.count == 1
    assert intruder_dimensions(W, W + delta_W, k=1, epsilon=0.44).count == 0


def test_the_directions_are_those_of_the_output():
    """The same output direction fed from a new input direction is no intruder; the transpose has one."""
    delta_W = 1000 * np.outer(np.eye(5)[0], np.ones(8))
    assert intruder_dimensions(W, W + delta_W, k=1).count == 0
    assert intruder_dimensions(W.T, W.T + delta_W.T, k=1).count == 1


def test_only_the_k_leading_ones_count():
    delta_W = 1000 * np.outer(np.ones(5), np.eye(8)[7])
    k5 = intruder_dimensions(W, W + delta_W, k=5)
    assert len(k5.cosines) == 5
    np.testing.assert_allclose(k5.cosines[:1], intruder_dimensions(W, W + delta_W, k=1).cosines)


@pytest.mark.parametrize(
    ("tuned", "options", "message"),
    [
        (W.T, {}, r"W had shape \(5, 8\) and W_tuned \(8, 5\)"),
        (W, {}, "k was 10; it must be an integer from 1 to 5"),
        (W, {"k": 0}, "k was 0"),
        (W, {"k": 1, "epsilon": 1.5}, "epsilon was 1.5; it must be a number from 0 to 1"),
        (W * np.nan, {"k": 1}, "W_tuned holds NaN"),
    ],
)
def test_what_cannot_be_compared_is_refused(tuned, options, message):
    with pytest.raises(ValueError, match=message):
        intruder_dimensions(W, tuned, **options)


def test_weights_that_are_decomposed_already():
    tuned = gaussian(12, 9) + 3 * np.outer(gaussian(12, seed=1), gaussian(9, seed=2))
    (U, *_), (U_tuned, *_) = (np.linalg.svd(M, full_matrices=False) for M in (gaussian(12, 9), tuned))
    whole, parts = intruder_dimensions(gaussian(12, 9), tuned, k=4), intruders_among(U_tuned[:, :4], U)
    np.testing.assert_array_equal(whole.cosines, parts.cosines)
    assert whole.count == parts.count > 0

"""What random matrices give, by formula and by drawing some."""

import math

import numpy as np
import pytest

from minilora.analysis import (
    Factors,
    factored_svd,
    random_cosine,
    random_product_norm,
    random_spectrum,
    randomly_turned,
    singular_values,
)
from minilora.analysis.changes import as_array


def rng(seed=0):
    return np.random.default_rng(seed)


def test_the_norm_of_a_product_of_strangers():
    draws, (O, r, I) = rng(1), (7, 3, 11)
    B, A = draws.standard_normal((O, r)), draws.standard_normal((r, I))
    turns = [np.linalg.qr(draws.standard_normal((r, r)))[0] for _ in range(4000)]
    squared = np.mean([np.linalg.norm(B @ turn @ A) ** 2 for turn in turns])
    expected = random_product_norm(np.linalg.norm(B), np.linalg.norm(A), r)
    assert math.sqrt(squared) == pytest.approx(expected, rel=0.02)
    assert random_product_norm(2.0, 3.0, 1) == 6.0
    with pytest.raises(ValueError, match="r was 0; it must be an integer of at least 1"):
        random_product_norm(1.0, 1.0, 0)


@pytest.mark.parametrize(("O", "I", "r"), [(9, 14, 4), (5, 6, 5), (3, 8, 6)])
def test_a_random_spectrum_is_that_of_gaussian_factors(O, I, r):
    draws, n = rng(2), 600
    drawn = np.mean([random_spectrum(O, I, r, rng=draws) for _ in range(n)], axis=0)
    dense = []
    for _ in range(n):
        S = singular_values(draws.standard_normal((O, r)) @ draws.standard_normal((r, I)))[: min(O, I, r)]
        dense.append(S / S[0])
    assert drawn.shape == (min(O, I, r),) and drawn[0] == 1.0
    np.testing.assert_allclose(drawn, np.mean(dense, axis=0), atol=0.03)
    with pytest.raises(ValueError, match="O, I and r were 3, 4 and 0; each must be"):
        random_spectrum(3, 4, 0, rng=draws)


def test_the_largest_cosine_of_a_random_direction():
    assert random_cosine(1000, 1000, rng=rng()) == pytest.approx(math.sqrt(2 * math.log(1000) / 1000), abs=0.02)
    assert random_cosine(50, 1, rng=rng(), samples=4000) == pytest.approx(math.sqrt(2 / (math.pi * 50)), rel=0.05)
    assert random_cosine(1, 1, rng=rng()) == 1.0
    with pytest.raises(ValueError, match="n was 6; it must be an integer from 1 to O = 5"):
        random_cosine(5, 6, rng=rng())


@pytest.mark.parametrize("shape", [(6, 3, 9), (4, 7, 5)])
def test_a_turned_matrix_keeps_its_singular_values_and_loses_its_directions(shape):
    O, r, I = shape
    draws = rng(3)
    delta_W = Factors(draws.standard_normal((O, r)), draws.standard_normal((r, I)), 0.5)
    turned = randomly_turned(delta_W, rng=draws)
    S = factored_svd(*delta_W).S
    np.testing.assert_allclose(singular_values(as_array(turned))[: len(S)], S[: min(O, I)], atol=1e-12)
    cosine = np.vdot(as_array(turned), as_array(delta_W)) / np.linalg.norm(as_array(delta_W)) ** 2
    assert abs(cosine) < 0.9
    dense = randomly_turned(as_array(delta_W), rng=draws)
    np.testing.assert_allclose(singular_values(as_array(dense))[: len(S)], S[: min(O, I)], atol=1e-12)

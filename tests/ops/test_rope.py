import cmath

import numpy as np
import pytest

from minilora.ops.fast import rope_backward, rope_forward, rope_frequencies, rope_table

N, H, T, K = 2, 3, 5, 8
RNG = np.random.default_rng(0)
X, DY = RNG.standard_normal((N, H, T, K)), RNG.standard_normal((N, H, T, K))
FREQUENCIES = rope_frequencies(K, 100.0)


def rotated(x, positions):
    return rope_forward(x, *rope_table(np.asarray(positions), FREQUENCIES, "float64"))[0]


def test_y_is_the_literal_formula_with_halves_as_pairs():
    y = rotated(X, range(T))
    for n, h, t, i in np.ndindex(N, H, T, K // 2):
        angle = t * 100.0 ** (-2.0 * i / K)
        a, b = X[n, h, t, i], X[n, h, t, i + K // 2]
        assert y[n, h, t, i] == pytest.approx(a * np.cos(angle) - b * np.sin(angle), abs=1e-14)
        assert y[n, h, t, i + K // 2] == pytest.approx(a * np.sin(angle) + b * np.cos(angle), abs=1e-14)


def test_y_is_a_product_of_complex_numbers():
    turned = rotated(X, range(T))
    for t, i in np.ndindex(T, K // 2):
        z = (X[:, :, t, i] + 1j * X[:, :, t, i + K // 2]) * cmath.exp(1j * t * FREQUENCIES[i])
        assert np.allclose(z, turned[:, :, t, i] + 1j * turned[:, :, t, i + K // 2], rtol=0, atol=1e-14)


def test_at_position_0_nothing_turns():
    assert np.array_equal(rotated(X, [0] * T), X)


def test_a_score_depends_on_the_distance_alone():
    q, k = X[:, :, :1], DY[:, :, :1]

    def score(m, n):
        return (rotated(q, [m]) * rotated(k, [n])).sum(axis=-1)

    assert np.allclose(score(7, 3), score(4, 0), rtol=0, atol=1e-13)
    assert np.allclose(score(1007, 1003), score(4, 0), rtol=0, atol=1e-11)
    assert not np.allclose(score(7, 3), score(3, 7), rtol=0, atol=0.1)
    assert not np.allclose(score(7, 3), score(8, 3), rtol=0, atol=0.01)


def test_each_sequence_can_have_positions_of_its_own():
    positions = np.array([[0, 1, 2, 3, 4], [0, 1, 0, 1, 2]])
    both = rotated(X, positions)
    for n in range(N):
        assert np.array_equal(both[n], rotated(X[n : n + 1], positions[n])[0])


def test_the_backward_turns_back():
    y, cache = rope_forward(X, *rope_table(np.arange(T), FREQUENCIES, "float64"))
    assert np.allclose(rope_backward(y, cache), X, rtol=0, atol=1e-14)
    assert np.allclose(np.linalg.norm(rope_backward(DY, cache)), np.linalg.norm(DY), rtol=1e-14)


@pytest.mark.parametrize(
    ("shape", "positions", "expected"),
    [((2, 3, 5, 3), 5, "(5, 1.5)"), ((2, 3, 5, 4), 5, "(5, 2)"), ((2, 3, 5, 2), 1, "(5, 1)")],
)
def test_angles_that_do_not_fit_are_refused(shape, positions, expected):
    cos, sin = rope_table(np.arange(positions), rope_frequencies(2, 100.0), "float64")
    with pytest.raises(ValueError) as error:
        rope_forward(np.ones(shape), cos, sin)
    assert str(error.value) == (
        f"cos had shape ({positions}, 1); for x of shape {shape} it must end in (T, K/2) = {expected}"
    )

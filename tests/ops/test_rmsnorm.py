import numpy as np
import pytest

from minilora.ops.fast import rmsnorm_backward, rmsnorm_forward


@pytest.fixture
def x():
    return 3.0 * np.random.default_rng(0).standard_normal((2, 3, 50)) + 7.0


def test_y_is_the_literal_formula(x):
    gain = np.random.default_rng(1).standard_normal(50)
    y, cache = rmsnorm_forward(x, gain, eps=0.1)
    for row, y_row, inv_rms in zip(x.reshape(6, 50), y.reshape(6, 50), cache.inv_rms.reshape(6), strict=True):
        rms = (sum(number**2 for number in row) / 50 + 0.1) ** 0.5
        assert np.allclose(y_row, [g * number / rms for g, number in zip(gain, row, strict=True)], rtol=0, atol=1e-13)
        assert inv_rms == pytest.approx(1.0 / rms, rel=1e-14)


def test_the_mean_is_not_subtracted(x):
    y, _ = rmsnorm_forward(x, np.ones(50), eps=0.0)
    assert np.allclose((y * y).mean(axis=-1), 1.0, rtol=0, atol=1e-14)
    assert (y.mean(axis=-1) > 0.5).all()


def test_a_row_of_zeros_is_divided_by_the_root_of_the_usual_eps():
    y, cache = rmsnorm_forward(np.zeros((1, 50)), np.ones(50))
    assert not y.any()
    assert cache.inv_rms.item() == pytest.approx(1e-5**-0.5, rel=1e-12)


def test_a_stretch_of_x_is_not_seen_and_dx_does_not_lie_along_it(x):
    y, cache = rmsnorm_forward(x, np.full(50, 2.0), eps=0.0)
    assert np.allclose(rmsnorm_forward(4.0 * x, np.full(50, 2.0), eps=0.0)[0], y, rtol=0, atol=1e-13)
    dx, _ = rmsnorm_backward(np.random.default_rng(1).standard_normal(x.shape), cache)
    assert np.allclose((dx * x).sum(axis=-1), 0.0, rtol=0, atol=1e-12)
    assert not np.allclose(dx.sum(axis=-1), 0.0, rtol=0, atol=0.1)  # LayerNorm's would

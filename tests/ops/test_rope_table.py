import math

import numpy as np
import pytest

from device_array import count_synchronisations, device_xp, to_fake_device, to_host
from minilora.ops import Llama3Scaling, rope_frequencies, rope_table

LLAMA_3_1 = Llama3Scaling(8.0, 1.0, 4.0, 8192)  # of Llama 3.1's files


def published(frequency, scaling):
    """Meta's reference code for one frequency, with its branches and its wavelengths."""
    low_freq_wavelen = scaling.original_n_positions / scaling.low_freq_factor
    high_freq_wavelen = scaling.original_n_positions / scaling.high_freq_factor
    wavelen = 2 * math.pi / frequency
    if wavelen < high_freq_wavelen:
        return frequency
    if wavelen > low_freq_wavelen:
        return frequency / scaling.factor
    smooth = (scaling.original_n_positions / wavelen - scaling.low_freq_factor) / (
        scaling.high_freq_factor - scaling.low_freq_factor
    )
    return (1 - smooth) * frequency / scaling.factor + smooth * frequency


def test_frequencies_are_the_literal_formula():
    assert np.allclose(rope_frequencies(8, 1e5), [1e5 ** (-2 * i / 8) for i in range(4)], rtol=1e-15)
    assert rope_frequencies(64, 1e5).dtype == np.float64


@pytest.mark.parametrize("scaling", [LLAMA_3_1, Llama3Scaling(32.0, 1.0, 4.0, 8192), Llama3Scaling(2.0, 1.5, 9.0, 64)])
@pytest.mark.parametrize(("K", "theta"), [(128, 500000.0), (64, 500000.0), (16, 100.0)])
def test_llama_3_scaling_is_the_published_formula(K, theta, scaling):
    expected = [published(f, scaling) for f in rope_frequencies(K, theta)]
    assert np.allclose(rope_frequencies(K, theta, scaling), expected, rtol=1e-14)


def test_llama_3_scaling_has_fast_slow_and_gradual_planes():
    ratio = rope_frequencies(128, 500000.0, LLAMA_3_1) / rope_frequencies(128, 500000.0)
    assert (ratio == 1.0).sum() == 29 and (ratio == 1.0 / 8.0).sum() == 29
    assert (np.diff(ratio) <= 0.0).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_table_has_cos_and_sin_of_every_angle(dtype):
    frequencies = rope_frequencies(8, 100.0)
    cos, sin = rope_table(np.array([3, 0, 8000]), frequencies, dtype)
    assert cos.shape == sin.shape == (3, 4) and cos.dtype == sin.dtype == dtype
    for t, position in enumerate((3, 0, 8000)):
        for i, frequency in enumerate(frequencies):
            assert cos[t, i] == np.array(math.cos(position * frequency), dtype)
            assert sin[t, i] == np.array(math.sin(position * frequency), dtype)


def test_a_table_of_rows_has_an_axis_for_the_heads():
    positions = np.array([[0, 1, 2], [0, 0, 1]])
    cos, sin = rope_table(positions, rope_frequencies(8, 100.0))
    assert cos.shape == sin.shape == (2, 1, 3, 4)
    for n in range(2):
        assert np.array_equal(cos[n, 0], rope_table(positions[n], rope_frequencies(8, 100.0))[0])


def test_a_table_is_made_where_the_positions_live():
    with count_synchronisations() as count:
        cos, sin = rope_table(device_xp.arange(3), rope_frequencies(8, 100.0))
    assert count.n == 0
    expected = rope_table(np.arange(3), rope_frequencies(8, 100.0))
    assert all(map(np.array_equal, map(to_host, (cos, sin)), expected))
    assert type(cos) is type(to_fake_device(np.zeros(1)))


@pytest.mark.parametrize("K", [0, -2, 7])
def test_an_odd_head_is_refused(K):
    with pytest.raises(ValueError, match=f"^K was {K}; it must be even"):
        rope_frequencies(K, 100.0)


@pytest.mark.parametrize("theta", [0.0, -1.0, math.inf, math.nan])
def test_a_theta_that_is_not_positive_is_refused(theta):
    with pytest.raises(ValueError, match="^theta was .*; it must be positive"):
        rope_frequencies(8, theta)


@pytest.mark.parametrize("value", [0, -1.0, math.inf, math.nan])
@pytest.mark.parametrize("name", ["factor", "low_freq_factor", "high_freq_factor", "original_n_positions"])
def test_a_scaling_by_what_is_not_positive_is_refused(name, value):
    with pytest.raises(ValueError, match=f"^{name} was {value}; it must be positive"):
        Llama3Scaling(**(vars(LLAMA_3_1) | {name: value}))


@pytest.mark.parametrize("value", ["8", None, True])
def test_a_scaling_by_what_is_no_number_is_refused(value):
    with pytest.raises(TypeError, match=f"^factor was {value!r}; it must be a number"):
        Llama3Scaling(value, 1.0, 4.0, 8192)


def test_a_scaling_without_room_between_slow_and_fast_is_refused():
    with pytest.raises(ValueError, match="^low_freq_factor was 4.0; it must be below high_freq_factor, 4.0"):
        Llama3Scaling(8.0, 4.0, 4.0, 8192)

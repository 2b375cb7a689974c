"""Weights in 4 and 8 bits: NF4's levels, its error, double quantisation, and the blocks of a GGUF file."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from minilora.ops import dynamic_levels, fast, nearest_levels, nf4_levels
from minilora.ops import nf4 as page

PUBLISHED = [  # bitsandbytes, and the paper's appendix E
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
]  # fmt: skip
SHAPES = ((3, 64), (5, 7), (1,), (2, 3, 50), (1, 128))


def weights(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def through_nf4(w):
    return fast.dequantize_nf4(*fast.quantize_nf4(w), w.shape)


def test_the_levels_are_the_published_ones():
    assert nf4_levels() == tuple(PUBLISHED)


def test_each_level_is_about_as_likely_as_any_other():
    """Of a Gaussian with the deviation for which the outermost quantile is 1, cut at the midpoints."""
    levels = np.array(nf4_levels())
    deviation = 1 / NormalDist().inv_cdf(page.OUTERMOST)
    cuts = [-math.inf, *(levels[1:] + levels[:-1]) / 2, math.inf]
    shares = np.diff([NormalDist(0, deviation).cdf(cut) for cut in cuts])
    uniform = np.linspace(-1, 1, 16)
    uniform_cuts = [-math.inf, *(uniform[1:] + uniform[:-1]) / 2, math.inf]
    uniform_shares = np.diff([NormalDist(0, deviation).cdf(cut) for cut in uniform_cuts])
    assert shares.max() / shares.min() < 2.1 < 3 < uniform_shares.max() / uniform_shares.min()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_number_becomes_the_nearest_level_of_its_block(shape):
    w = weights(*shape)
    levels, flat = np.array(nf4_levels(), "float32"), w.reshape(-1)
    expected = np.empty_like(flat)
    for start in range(0, flat.size, 64):
        block = flat[start : start + 64]
        scaled = levels * np.abs(block).max()
        expected[start : start + 64] = scaled[np.abs(block[:, None] - scaled).argmin(axis=1)]
    found = through_nf4(w)
    assert found.shape == w.shape and found.dtype == np.float32
    assert np.array_equal(found.reshape(-1), expected)


def test_what_is_a_level_stays_what_it_is():
    w = np.array(nf4_levels() * 4, "float32")
    assert np.array_equal(through_nf4(w), w)
    assert np.array_equal(through_nf4(np.zeros((2, 64), "float32")), np.zeros((2, 64)))
    tiny = np.full(64, 1e-40, "float32")
    assert np.isfinite(through_nf4(tiny)).all() and np.abs(through_nf4(tiny)).max() <= 1e-38


def test_the_error_on_a_gaussian_is_less_than_that_of_equal_steps():
    """The mean squared error, relative to the variance: 16 quantiles, 16 equal steps of the same absmax, and Q4_1."""
    w = weights(4096, 64)
    absmax = np.abs(w).max(axis=1, keepdims=True)
    equal = np.rint(w / absmax * 7.5 - 0.5) + 0.5  # -7.5, -6.5, ..., 7.5
    equal = np.clip(equal, -7.5, 7.5) / 7.5 * absmax
    q4_1 = fast.dequantize_q4_1(fast.quantize_q4_1(w.reshape(-1, 32))).reshape(w.shape)
    nf4_error, equal_error, q4_1_error = (float(((w - other) ** 2).mean()) for other in (through_nf4(w), equal, q4_1))
    assert nf4_error < 0.9 * equal_error
    assert q4_1_error < nf4_error  # it has twice as many scales, and offsets: 5 bits a number instead of 4.127


def test_the_bits_of_a_number():
    w = weights(256, 64 * 256)  # as many numbers as fill every block
    codes, absmax = fast.quantize_nf4(w)
    scales = fast.quantize_scales(absmax)
    once, twice = codes.nbytes + absmax.nbytes, codes.nbytes + scales.codes.nbytes + scales.absmax2.nbytes
    assert 8 * once / w.size == 4 + 32 / 64
    assert 8 * twice / w.size == 4 + 8 / 64 + 32 / (64 * 256)
    assert 8 * fast.quantize_q4_1(w.reshape(-1, 32)).nbytes / w.size == 5
    assert 8 * fast.quantize_q8_0(w.reshape(-1, 32)).nbytes / w.size == 8.5


# ---- double quantisation


def test_the_dynamic_levels_are_256_and_finer_near_zero():
    levels = np.array(dynamic_levels())
    assert len(set(levels)) == 256 and np.array_equal(levels, np.sort(levels))
    assert levels[-1] == 1.0 and levels[0] == pytest.approx(-(0.1 + 0.9 * 63.5 / 64)) and 0.0 in levels
    above = levels[levels > 0]
    assert np.array_equal(-levels[levels < 0][::-1], above[:-1])
    steps = np.diff(above) / above[1:]
    assert steps.max() < 0.85 and np.diff(above)[-2] == pytest.approx(0.9 / 64)


@pytest.mark.parametrize("n", [1, 5, 256, 700])
def test_scales_come_back_to_a_hundredth_of_their_spread(n):
    absmax = np.abs(weights(n)) + 2
    scales = fast.quantize_scales(absmax)
    back = fast.dequantize_scales(scales)
    assert back.shape == absmax.shape and back.dtype == np.float32
    assert scales.codes.dtype == np.uint8 and scales.absmax2.shape == (-(-n // 256),)
    spread = np.abs(absmax - absmax.mean()).max()
    assert np.abs(back - absmax).max() <= 0.9 / 64 * spread + 1e-6


def test_scales_without_their_mean_would_be_found():
    absmax = np.abs(weights(300)) + 2
    scales = fast.quantize_scales(absmax)
    without = fast.dequantize_scales(scales._replace(mean=np.float32(0)))
    assert np.abs(without - absmax).min() > 1


def test_scales_of_equal_blocks_are_exact():
    absmax = np.full(300, 0.75, "float32")
    assert np.array_equal(fast.dequantize_scales(fast.quantize_scales(absmax)), absmax)


def test_the_nearest_level_is_the_lower_one_at_a_midpoint():
    levels = np.array([0.0, 1.0, 3.0], "float32")
    x = np.array([-9, 0.5, 0.50001, 1.9, 2.0, 2.1, 9], "float32")
    assert nearest_levels(x, levels).tolist() == [0, 0, 1, 1, 1, 2, 2]


# ---- the blocks of a GGUF file; the package gguf is asked in tests/interop/test_gguf_blocks.py


@pytest.mark.parametrize(("name", "numbers", "error"), [("q4_1", 16, 0.1), ("q8_0", 256, 0.006)])
def test_blocks_come_back(name, numbers, error):
    w = weights(50, 32)
    blocks = getattr(fast, f"quantize_{name}")(w)
    back = getattr(fast, f"dequantize_{name}")(blocks)
    assert back.dtype == np.float32 and len(np.unique(back[0])) <= numbers
    assert 0 < np.linalg.norm(back - w) < error * np.linalg.norm(w)
    equal = np.full((1, 32), 0.5, "float32")
    again = getattr(fast, f"dequantize_{name}")(getattr(fast, f"quantize_{name}")(equal))
    assert np.allclose(again, equal, rtol=1e-3)


def test_the_halves_of_a_byte_are_16_numbers_apart():
    w = weights(3, 32)
    blocks = fast.quantize_q4_1(w)
    swapped = blocks.copy()
    swapped[:, 4:] = blocks[:, 4:] >> 4 | blocks[:, 4:] << 4
    expected = fast.dequantize_q4_1(blocks)
    assert np.array_equal(fast.dequantize_q4_1(swapped), np.roll(expected, 16, axis=1))
    assert not np.array_equal(fast.dequantize_q4_1(swapped), expected)

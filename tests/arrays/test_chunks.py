"""Blocks cover everything once, fit where they are to fit, and change no result."""

import sys

import numpy as np
import pytest

from device_array import device_xp, to_fake_device, to_host
from minilora.arrays import chunks
from minilora.arrays.chunks import elementwise, l2_chunks, row_chunks
from minilora.ops.fast import gelu_exact_forward, gelu_tanh_forward


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 100])
@pytest.mark.parametrize(("bytes_each", "size"), [(10, 8), (80, 1), (1000, 1), (0, 80)])
def test_blocks_cover_every_row_once(n, bytes_each, size):
    slices = row_chunks(n, bytes_each, 80)
    assert [i for block in slices for i in range(n)[block]] == list(range(n))
    assert all(block.stop - block.start == size for block in slices[:-1])


def test_a_gpu_has_one_block():
    assert l2_chunks(10**6, 10**6, device_xp) == [slice(0, 10**6)]
    assert len(l2_chunks(10**6, 4, np)) > 1


@pytest.mark.parametrize("forward", [gelu_tanh_forward, gelu_exact_forward])
@pytest.mark.parametrize("cache_bytes", [8, 24, sys.maxsize])
def test_a_formula_gives_the_same_bits_in_blocks(forward, cache_bytes, monkeypatch):
    x = np.random.default_rng(0).standard_normal((3, 5))
    y, cache = forward(x)
    monkeypatch.setattr(chunks, "L2_BYTES", cache_bytes)
    y_chunks, cache_chunks = forward(x)
    assert np.array_equal(y_chunks, y) and np.array_equal(cache_chunks.slope, cache.slope)


def double(x, y):
    y[...] = 2 * x


def test_a_formula_sees_an_array_that_is_not_contiguous(monkeypatch):
    monkeypatch.setattr(chunks, "L2_BYTES", 16)
    x = np.arange(12.0).reshape(3, 4).T
    (doubled,) = elementwise(double, x, results=1)
    assert np.array_equal(doubled, 2 * x)


def test_a_formula_runs_on_a_device():
    (doubled,) = elementwise(double, to_fake_device(np.arange(3.0)), results=1)
    assert to_host(doubled).tolist() == [0.0, 2.0, 4.0]

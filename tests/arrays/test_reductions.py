"""Sums for which NumPy and CuPy have ways of their own: the same results on both."""

import numpy as np
import pytest

from device_array import device_xp, to_fake_device, to_host
from minilora.arrays.reductions import constant_vector, scatter_add, vecdot

IDS = {"repeated": [2, 0, 2, 2, 4], "sorted": [0, 1, 2], "one": [3], "all the same": [1, 1, 1, 1], "none": []}


@pytest.mark.parametrize("ids", IDS.values(), ids=IDS.keys())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scatter_add_is_add_at(ids, dtype):
    rng = np.random.default_rng(0)
    ids = np.array(ids, dtype="int64")
    target, updates = rng.standard_normal((5, 3)).astype(dtype), rng.standard_normal((len(ids), 3)).astype(dtype)
    expected = target.copy()
    np.add.at(expected, ids, updates)
    before = ids.tobytes(), updates.tobytes()
    scatter_add(target, ids, updates)
    assert np.allclose(target, expected, rtol=0, atol=1e-6 if dtype == "float32" else 1e-15)
    assert (ids.tobytes(), updates.tobytes()) == before


def test_scatter_add_on_a_device():
    ids, updates = np.array([1, 1, 0]), np.arange(6.0).reshape(3, 2)
    target = to_fake_device(np.zeros((2, 2)))
    scatter_add(target, to_fake_device(ids), to_fake_device(updates))
    assert to_host(target).tolist() == [[4.0, 5.0], [2.0, 4.0]]


def test_scatter_add_refuses_mixed_devices_by_name():
    with pytest.raises(ValueError, match="ids lives in numpy, but target lives in device_xp"):
        scatter_add(to_fake_device(np.zeros((2, 3))), np.array([1]), np.ones((1, 3)))


def test_vecdot_is_a_sum_of_products_on_host_and_device():
    a, b = np.random.default_rng(0).standard_normal((2, 3, 4))
    assert np.allclose(vecdot(a, b), (a * b).sum(axis=-1))
    assert np.allclose(to_host(vecdot(to_fake_device(a), to_fake_device(b))), (a * b).sum(axis=-1))


def test_vecdot_conjugates_nothing():
    """The complex step needs a function that stays the same formula for complex numbers."""
    assert vecdot(np.array([1.0 + 2.0j]), np.array([1.0j])) == 1.0j - 2.0


def test_a_constant_vector_of_the_host_is_one_array_that_nobody_can_write():
    vector = constant_vector(np, 3, 0.5, np.dtype("float32"))
    assert vector is constant_vector(np, 3, 0.5, np.dtype("float32")) and vector.dtype == np.float32
    assert vector.tolist() == [0.5] * 3
    with pytest.raises(ValueError, match="read-only"):
        vector[0] = 1.0
    assert to_host(constant_vector(device_xp, 2, 1.0, np.dtype("float64"))).tolist() == [1.0, 1.0]

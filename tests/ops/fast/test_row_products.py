"""Arrays as rows: the same products on the host and on a device."""

import numpy as np
import pytest

from device_array import to_fake_device, to_host
from minilora.ops.fast.row_products import rows_times_transposed, sum_of_rows, transposed_times_into

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_a_stack_is_transposed_and_multiplied_on_either_device(lead):
    a, b = RNG.standard_normal((*lead, 6, 5)), RNG.standard_normal((*lead, 6, 4))
    total = RNG.standard_normal((*lead, 5, 4))
    product = np.einsum("...mi,...mo->...io", a, b)
    for add, expected in ((False, product), (True, total + product)):
        for place in (np.copy, to_fake_device):
            found = place(total.copy())
            transposed_times_into(found, place(a), place(b), add)
            assert np.allclose(to_host(found), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("M", [0, 1, 2])
def test_one_row_is_multiplied_as_many_are_on_either_device(M):
    x, W = RNG.standard_normal((M, 5)), RNG.standard_normal((4, 5))
    assert np.allclose(rows_times_transposed(x, W), x @ W.T, rtol=0, atol=1e-14)
    assert np.allclose(to_host(rows_times_transposed(*map(to_fake_device, (x, W)))), x @ W.T, rtol=0, atol=1e-14)


@pytest.mark.parametrize("lead", [(), (3,), (2, 3), (0,)])
def test_rows_are_summed_on_either_device(lead):
    x = RNG.standard_normal((*lead, 5))
    for place in (np.copy, to_fake_device):
        assert np.allclose(to_host(sum_of_rows(place(x))), x.reshape(-1, 5).sum(axis=0), rtol=0, atol=1e-14)

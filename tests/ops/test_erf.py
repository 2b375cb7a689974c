import math

import numpy as np
import pytest

from device_array import to_fake_device, to_host
from minilora.ops.erf import erf


@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-14), ("float32", 5e-7)])
def test_erf_agrees_with_the_standard_library(dtype, bound):
    x = np.concatenate([np.linspace(-7.0, 7.0, 2801), [0.0, 1e-300, -1e-9, 30.0, -1e4]]).astype(dtype)
    y = erf(x)
    assert y.dtype == dtype
    assert np.abs(y - [math.erf(v) for v in x.tolist()]).max() <= bound


def test_erf_at_infinity():
    assert erf(np.array([-math.inf, math.inf])).tolist() == [-1.0, 1.0]


def test_erf_is_odd():
    x = np.linspace(0.0, 7.0, 100)
    assert np.array_equal(erf(-x), -erf(x))


def test_on_a_device_it_is_what_it_is_on_the_host():
    x = np.linspace(-3.0, 3.0, 9)
    assert np.allclose(to_host(erf(to_fake_device(x))), erf(x), rtol=0, atol=1e-15)

import sys
import types

import numpy as np
import pytest

from device_array import device_xp, to_fake_device
from minilora.arrays import backend
from minilora.arrays.backend import (
    choose_device,
    get_xp,
    gpu_memory,
    on_gpu,
    on_host,
    tf32,
    to_device,
    to_numpy,
)

HOST = np.ones(3)
DEVICE = to_fake_device(HOST)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(backend, "gpu_available", lambda: False)


# ---- where arrays live


def test_get_xp_is_the_module_of_the_arrays():
    assert get_xp(HOST) is get_xp(x=HOST, W=HOST) is np
    assert get_xp(DEVICE) is get_xp(x=DEVICE, W=DEVICE) is device_xp


@pytest.mark.parametrize("scalar", [None, True, 1, 2.5, 1j])
def test_python_scalars_and_none_fit_anywhere(scalar):
    assert get_xp(scalar, bias=scalar) is np
    assert get_xp(scalar, DEVICE, bias=scalar) is device_xp


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": HOST, "W": DEVICE}, "W lives in device_xp, but x lives in numpy"),
        ({"x": DEVICE, "W": HOST}, "W lives in numpy, but x lives in device_xp"),
        ({"x": None, "W": HOST, "bias": 1.0, "A": DEVICE}, "A lives in device_xp, but W lives in numpy"),
    ],
)
def test_mixed_devices_are_refused_by_name(arrays, message):
    with pytest.raises(ValueError, match=f"{message}: move one of them with minilora.arrays.backend.to_device"):
        get_xp(**arrays)


def test_an_unnamed_argument_is_called_by_its_number():
    with pytest.raises(ValueError, match="argument 1 lives in device_xp, but argument 0 lives in numpy"):
        get_xp(HOST, DEVICE)


@pytest.mark.parametrize("value", [[1.0, 2.0], (1.0,), "text", {"a": 1}], ids=lambda value: type(value).__name__)
def test_what_is_no_array_is_refused_by_name(value):
    with pytest.raises(TypeError, match=f"ids is a {type(value).__name__}; it must be a NumPy or CuPy array"):
        get_xp(ids=value)


def test_on_host():
    assert on_host(HOST)
    assert not on_host(DEVICE)


# ---- the choice of a device


@pytest.mark.parametrize(("device", "chosen"), [("cpu", "cpu"), ("auto", "cpu")])
def test_without_a_gpu_it_is_the_cpu(no_gpu, device, chosen):
    assert choose_device(device) == chosen


def test_auto_takes_the_gpu_that_is_there(monkeypatch):
    monkeypatch.setattr(backend, "gpu_available", lambda: True)
    assert choose_device("auto") == choose_device("gpu") == "gpu"
    assert choose_device("cpu") == "cpu"


def test_a_gpu_that_is_not_there_is_an_error_that_says_what_to_install(no_gpu):
    with pytest.raises(RuntimeError, match=r"device was 'gpu'.*pip install -e '\.\[cuda12\]'.*device='cpu' works"):
        choose_device("gpu")


@pytest.mark.parametrize("device", ["cuda", "CPU", "", None, 0])
def test_an_unknown_device_is_refused_with_the_possible_ones(device):
    with pytest.raises(ValueError, match=f"device was {device!r}; it must be one of 'auto', 'cpu', 'gpu'"):
        choose_device(device)


# ---- to and fro


def test_what_is_there_already_is_not_copied(no_gpu):
    assert to_numpy(HOST) is HOST
    assert to_device(HOST, "cpu") is HOST
    assert to_device(HOST, "auto") is HOST


def test_to_the_host_and_the_same_values():
    back = to_device(DEVICE, "cpu")
    assert type(back) is np.ndarray
    assert np.array_equal(back, HOST)


# ---- what only a GPU has


def test_only_arrays_of_cupy_live_on_the_gpu():
    assert not on_gpu(HOST)
    assert not on_gpu(DEVICE)


def test_without_a_gpu_there_is_no_memory_pool(no_gpu):
    assert gpu_memory() is None


class Cublas:
    """What CuPy 14 offers to choose how products are computed, and what was chosen."""

    COMPUTE_TYPE_TF32, CUBLAS_TF32_TENSOR_OP_MATH = 7, 3

    def __init__(self):
        self.compute_types, self.math_modes = {np.float32: 1}, {"a handle": 0}
        self.get_compute_type, self.set_compute_type = self.compute_types.get, self.compute_types.__setitem__
        self.getMathMode, self.setMathMode = self.math_modes.get, self.math_modes.__setitem__

    @property
    def chosen(self):
        return self.compute_types[np.float32], self.math_modes["a handle"]


def test_products_are_tf32_inside_the_context_only_also_after_an_error(monkeypatch):
    cublas = Cublas()
    cuda = types.SimpleNamespace(cublas=cublas, get_cublas_handle=lambda: "a handle")
    monkeypatch.setitem(sys.modules, "cupy", types.SimpleNamespace(cuda=cuda))
    monkeypatch.setitem(sys.modules, "cupy._core", types.SimpleNamespace(_routines_linalg=cublas))
    with pytest.raises(KeyError), tf32():
        assert cublas.chosen == (7, 3)
        raise KeyError
    assert cublas.chosen == (1, 0)

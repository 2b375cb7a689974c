"""Products in bfloat16 without a GPU: rounded by the emulator, multiplied by a function that obeys cuBLAS's manual."""

import ctypes
import sys
import types

import numpy as np
import pytest

from cuda_emulator import GXX, Emulator
from device_array import DeviceArray, device_xp, to_fake_device, to_host
from device_models import BATCH, device_model, gradients, host_model
from minilora.arrays import kernels, products
from minilora.arrays.products import PRODUCTS, gpu_products, product
from minilora.interop.foreign_files import to_bfloat16
from minilora.training import loss_and_backward

needs_gxx = pytest.mark.skipif(GXX is None, reason="needs g++ on Linux, which plays the CUDA compiler")


def matrix(pointer, rows, columns, leading, kind):
    """A matrix that lies in memory column by column, `leading` numbers from one to the next."""
    assert leading >= rows
    numbers = np.ctypeslib.as_array((kind * (leading * columns)).from_address(pointer))
    return numbers.reshape(columns, leading)[:, :rows].T


def float32_of(upper):
    return (upper.astype("uint32") << 16).view("float32")


class Cublas:
    """Plays cupy.cuda.cublas: cublasGemmEx, C = alpha op(A) op(B) + beta C, by NVIDIA's manual."""

    CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT = 68, -1

    def __init__(self):
        self.calls = 0

    def gemmEx(
        self, handle, trans_a, trans_b, m, n, k, alpha, a, a_type, lda, b, b_type, ldb, beta, c, c_type, ldc, *how
    ):
        assert (a_type, b_type, c_type, *how) == (14, 14, 0, 68, -1)  # CUDA_R_16BF, CUDA_R_16BF, CUDA_R_32F
        self.calls += 1
        a = float32_of(matrix(a, *((k, m) if trans_a else (m, k)), lda, ctypes.c_uint16))
        b = float32_of(matrix(b, *((n, k) if trans_b else (k, n)), ldb, ctypes.c_uint16))
        alpha, beta = (ctypes.c_float.from_address(pointer).value for pointer in (alpha, beta))
        assert (alpha, beta) == (1.0, 0.0)
        matrix(c, m, n, ldc, ctypes.c_float)[...] = (a.T if trans_a else a) @ (b.T if trans_b else b)


@pytest.fixture(scope="module")
def compiled():
    emulator = Emulator()
    emulator.compile([("to_bfloat16", products.ROUND)])
    return emulator


@pytest.fixture
def cublas(compiled, monkeypatch):
    """Where DeviceArrays are a GPU's, and cuBLAS is played."""
    played = Cublas()
    monkeypatch.setattr(kernels, "on_gpu", lambda array: isinstance(array, DeviceArray))
    monkeypatch.setattr(kernels, "cuda_kernel", lambda name, source: rounding_or_none(compiled, name, source))
    cuda = types.SimpleNamespace(cublas=played, get_cublas_handle=lambda: "a handle")
    monkeypatch.setattr(device_xp, "cuda", cuda, raising=False)
    monkeypatch.setattr(products, "choose_device", lambda device: "gpu")
    monkeypatch.setattr(products, "gpu_lacks_bfloat16", lambda: "")
    return played


def rounding_or_none(compiled, name, source):
    assert name == "to_bfloat16", name
    return compiled(name, source)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


@needs_gxx
def test_numbers_are_rounded_to_the_nearest_and_ties_to_even(cublas):
    bits = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x3F807FFF, 0x7F7FFFFF, 0x00000001, 0x80008001], "uint32")
    x = np.concatenate([bits.view("float32"), [0.0, -0.0, np.inf, -np.inf], normal(290)]).astype("float32")
    upper, _ = products._rounded(to_fake_device(x[None]))
    assert np.array_equal(to_host(upper)[0], to_bfloat16(x))
    assert to_host(upper)[0, :4].tolist() == [0x3F80, 0x3F82, 0x3F81, 0x3F80]
    nan = np.array([[0x7F800001, 0xFFFFFFFF]], "uint32").view("float32")
    assert np.isnan(float32_of(to_host(products._rounded(to_fake_device(nan))[0]))).all()


def rounded(x):
    return float32_of(to_bfloat16(x))


LAYOUTS = [(False, False), (False, True), (True, False), (True, True)]


@needs_gxx
@pytest.mark.parametrize("layout", LAYOUTS, ids=["a b", "a W^T", "a^T b", "a^T W^T"])
def test_a_product_is_that_of_the_rounded_factors_summed_in_float32(layout, cublas):
    a, b = normal(7, 5), normal(5, 3, seed=1)
    expected = rounded(a).astype("float64") @ rounded(b).astype("float64")
    a, b = (to_fake_device(x.T).T if swapped else to_fake_device(x) for x, swapped in zip((a, b), layout, strict=True))
    with gpu_products("bfloat16"):
        y, out = product(a, b), to_fake_device(np.zeros((7, 3), "float32"))
        assert product(a, b, out=out) is out
    assert cublas.calls == 2 and y.dtype == np.float32
    for made in (y, out):
        assert np.linalg.norm(to_host(made) - expected) <= 1e-6 * np.linalg.norm(expected)
    exact = to_host(a).astype("float64") @ to_host(b)
    assert 1e-4 < np.linalg.norm(to_host(y) - exact) / np.linalg.norm(exact) < 1e-2


@needs_gxx
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_factor_that_is_read_the_wrong_way_is_found(layout, cublas, monkeypatch):
    right = products._rounded
    monkeypatch.setattr(products, "_rounded", lambda x: (right(x)[0], not right(x)[1]))
    with pytest.raises(AssertionError):
        test_a_product_is_that_of_the_rounded_factors_summed_in_float32(layout, cublas)


@needs_gxx
def test_other_arrays_and_other_contexts_know_nothing_of_it(cublas):
    a, b = normal(7, 5), normal(5, 3, seed=1)
    assert np.array_equal(to_host(product(*map(to_fake_device, (a, b)))), a @ b)
    with gpu_products("bfloat16"):
        assert np.array_equal(product(a, b), a @ b)  # on the host
        doubles = (to_fake_device(x.astype("float64")) for x in (a, b))
        assert product(*doubles).dtype == np.float64
    assert cublas.calls == 0
    with pytest.raises(KeyError), gpu_products("bfloat16"):
        raise KeyError
    product(*map(to_fake_device, (a, b)))
    assert cublas.calls == 0


@needs_gxx
@pytest.mark.parametrize("everything", [False, True], ids=["lora", "full"])
def test_a_step_rounds_products_with_weights_and_keeps_everything_in_float32(everything, cublas, monkeypatch):
    host, device = host_model(everything), device_model(everything)
    kernel_of = kernels.on_gpu
    monkeypatch.setattr(kernels.Kernel, "launch_for", lambda self, args: None)  # the formulas, which need no compiler
    loss = loss_and_backward(host, BATCH)
    with gpu_products("bfloat16"):
        assert kernels.on_gpu is kernel_of
        device_loss = loss_and_backward(device, BATCH)
    assert 0 < abs(float(to_host(device_loss)) - loss) < 1e-2 * loss
    assert cublas.calls > 20
    for name, gradient in gradients(device).items():
        assert gradient.dtype == np.float32
        expected = gradients(host)[name]
        if not name.endswith("k_proj.base.bias"):  # zero, in mathematics
            assert 0 < np.linalg.norm(to_host(gradient) - expected) < 0.1 * np.linalg.norm(expected), name


# ---- refused


@pytest.mark.parametrize("name", PRODUCTS[1:])
def test_on_a_cpu_there_is_only_float32(name):
    with pytest.raises(
        ValueError, match=f"^products was '{name}', which only a GPU computes; on a CPU it must be 'float32'$"
    ):
        gpu_products(name, "cpu")
    with gpu_products("float32", "cpu"):
        pass


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="products was 'fp8'; it must be one of 'float32', 'tf32', 'bfloat16'"):
        gpu_products("fp8")


@pytest.mark.parametrize(
    ("capability", "functions", "message"),
    [("75", {"gemmEx": print}, "older than Ampere"), ("80", {}, "CuPy 9 has no cupy.cuda.cublas.gemmEx")],
)
def test_a_gpu_that_cannot_do_it_is_refused(capability, functions, message, monkeypatch):
    device = types.SimpleNamespace(compute_capability=capability)
    cuda = types.SimpleNamespace(Device=lambda: device, cublas=types.SimpleNamespace(**functions))
    monkeypatch.setitem(sys.modules, "cupy", types.SimpleNamespace(cuda=cuda, __version__="9"))
    monkeypatch.setattr(products, "choose_device", lambda device: "gpu")
    with pytest.raises(ValueError, match=f"^products was 'bfloat16', but .*{message}.*; it must be 'float32' here$"):
        gpu_products("bfloat16")

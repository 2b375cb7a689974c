"""How a GPU multiplies matrices: in float32, TF32 or bfloat16, as the user chooses.

    with gpu_products("bfloat16"):
        trainer.run()

A bfloat16 has float32's sign and eight bits of exponent, and seven bits of mantissa instead of 23: it is the upper half
of a float32. So it has the same range, and each is off by at most 2^-8 of itself. Tensor cores multiply bfloat16s at
twice the speed of TF32.

In bfloat16, the factors of a product with a weight matrix W, forward and backward, are rounded for that product; sums
and results are float32. All arrays stay in float32, weights, gradients and AdamW's state included, so that small
updates are not lost: they are the master weights of Micikevicius et al. (2018). No loss scaling is needed, because the
range is float32's (Kalamkar et al., 2019). Products with LoRA's A and B, which have few rows, and attention stay in
float32.

CuPy's own product of float32 arrays knows no bfloat16, although it takes COMPUTE_TYPE_BF16: version 14.2 computes such
a product in float32. So `product` calls cuBLAS itself.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import SimpleNamespace

import numpy

from minilora.arrays.backend import Array, choose_device, get_xp, gpu_lacks_bfloat16, tf32
from minilora.arrays.kernels import launch, takes_kernels

PRODUCTS = ("float32", "tf32", "bfloat16")

# One choice for the whole process, as `ops/plain.py` has it: a batch can be shared among threads.
_bfloat16 = SimpleNamespace(contexts=0)

THREADS = 256
ROUND = f"""
extern "C" __global__ void __launch_bounds__({THREADS})
to_bfloat16(const float* x, unsigned short* upper, const long long count)
{{
    const long long i = (long long) blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const unsigned bits = __float_as_uint(x[i]);
    const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;  // whose mantissa must not be rounded away
    upper[i] = (is_nan ? bits | 0x400000u : bits + 0x7fffu + (bits >> 16 & 1)) >> 16;  // ties to even
}}
"""
ONE, ZERO = numpy.ones(1, "float32"), numpy.zeros(1, "float32")  # cuBLAS computes ONE a b + ZERO y
IN_BFLOAT16, IN_FLOAT32 = 14, 0  # CUDA_R_16BF and CUDA_R_32F, of the enumeration cudaDataType


def gpu_products(name: str, device: str = "auto") -> AbstractContextManager[None]:
    """A context in which a GPU computes the products of float32 matrices in "float32", "tf32" or "bfloat16".

    Raises
    ------
    ValueError
        At once, if the name is unknown, or is not "float32" and the device is the CPU, or a GPU that cannot do it.
    """
    if name not in PRODUCTS:
        raise ValueError(f"products was {name!r}; it must be one of {', '.join(map(repr, PRODUCTS))}")
    if name != "float32" and choose_device(device) == "cpu":
        raise ValueError(f"products was {name!r}, which only a GPU computes; on a CPU it must be 'float32'")
    if name == "bfloat16" and (lack := gpu_lacks_bfloat16()):
        raise ValueError(f"products was 'bfloat16', but {lack}; it must be 'float32' here")
    contexts: dict[str, Callable[[], AbstractContextManager[None]]]
    contexts = {"float32": nullcontext, "tf32": tf32, "bfloat16": _in_bfloat16}
    return contexts[name]()


@contextmanager
def _in_bfloat16() -> Iterator[None]:
    _bfloat16.contexts += 1
    try:
        yield
    finally:
        _bfloat16.contexts -= 1


def product(a: Array, b: Array, out: Array | None = None) -> Array:
    """a b, of matrices, one of them a weight, (M, I), (I, O) -> (M, O); in bfloat16 where `gpu_products` says so."""
    if _bfloat16.contexts and all(takes_kernels(x) and x.dtype.char == "f" and x.size for x in (a, b)):
        return _bfloat16_product(a, b, out)
    return a @ b if out is None else get_xp(a=a, b=b).matmul(a, b, out=out)


def _bfloat16_product(a: Array, b: Array, y: Array | None) -> Array:
    """a b from factors in bfloat16, summed in float32, (M, I), (I, O) -> (M, O).

    cuBLAS reads memory column by column, and so finds the transposed of each of our arrays. It is asked for y^T = b^T
    a^T: an array whose rows lie one after the other is taken as it is, and one that is itself transposed, such as W.T,
    is transposed by cuBLAS.
    """
    xp, M, (I, O) = get_xp(a=a, b=b), len(a), b.shape
    y = xp.empty((M, O), a.dtype) if y is None else y
    (a, a_is_transposed), (b, b_is_transposed) = _rounded(a), _rounded(b)
    cublas, handle = xp.cuda.cublas, xp.cuda.get_cublas_handle()
    cublas.gemmEx(
        *(handle, int(b_is_transposed), int(a_is_transposed), O, M, I, ONE.ctypes.data),
        *(b.data.ptr, IN_BFLOAT16, b.shape[1], a.data.ptr, IN_BFLOAT16, a.shape[1], ZERO.ctypes.data),
        *(y.data.ptr, IN_FLOAT32, O, cublas.CUBLAS_COMPUTE_32F, cublas.CUBLAS_GEMM_DEFAULT),
    )
    return y


def _rounded(x: Array) -> tuple[Array, bool]:
    """x in bfloat16, as the uint16s of its bits, (M, I); or, if x.T lies row by row in memory, x.T and True."""
    xp, is_transposed = get_xp(x=x), not x.flags.c_contiguous and x.T.flags.c_contiguous
    x = x.T if is_transposed else xp.ascontiguousarray(x)
    upper = xp.empty(x.shape, "uint16")
    launch("to_bfloat16", ROUND, math.ceil(x.size / THREADS), THREADS, (x, upper, x.size))
    return upper, is_transposed

"""NumPy on the host, CuPy on an NVIDIA GPU: the only file that knows the difference.

Every function in minilora works on the arrays that it is given, and asks them where they live:

    xp = get_xp(x=x, W=W)        # the module numpy, or the module cupy
    y = xp.exp(x)

There is no global switch. The device is chosen once, where parameters and token ids are made.
"""

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy

# An Array is a numpy.ndarray or a cupy.ndarray. To mypy it is Any, because CuPy need not be installed, and has no types
# where it is. So the alias is for readers; shapes and dtypes are in the docstrings. Arrays that are always on the host
# are annotated as numpy.ndarray.
Array: TypeAlias = Any
ArrayModule: TypeAlias = Any  # the module numpy or cupy, an `xp`
Generator: TypeAlias = numpy.random.Generator  # for ops, which do not import numpy

DEVICES = ("auto", "cpu", "gpu")


def get_xp(*arrays: Any, **named_arrays: Any) -> ArrayModule:
    """The array module in which all the given arrays live.

    Parameters
    ----------
    *arrays, **named_arrays : ndarray, Python scalar or None
        An array given by keyword has that name in error messages. Scalars and None go with any array.

    Returns
    -------
    xp : module
        ``numpy`` or ``cupy``; ``numpy`` if no array was given.

    Raises
    ------
    TypeError
        If an argument is not an array.
    ValueError
        If host and device arrays are mixed.
    """
    for array in (*arrays, *named_arrays.values()):
        if type(array) is not numpy.ndarray and array is not None:
            break
    else:
        return numpy  # what the rest would return, but sooner: every op of every step asks
    xp = first = None
    for name, array in (*((f"argument {i}", a) for i, a in enumerate(arrays)), *named_arrays.items()):
        if array is None or isinstance(array, (bool, int, float, complex)):
            continue
        array_xp = _namespace(array)
        if array_xp is None:
            raise TypeError(f"{name} is a {type(array).__name__}; it must be a NumPy or CuPy array")
        if xp is None:
            xp, first = array_xp, name
        elif array_xp is not xp:
            raise ValueError(
                f"{name} lives in {array_xp.__name__}, but {first} lives in {xp.__name__}: "
                "move one of them with minilora.arrays.backend.to_device(array, 'cpu' or 'gpu')"
            )
    return xp or numpy


def check_same_device(**named_arrays: Any) -> None:
    """Raise an error that names the array unless all are arrays of one device; see `get_xp`."""
    get_xp(**named_arrays)


def _namespace(array: Any) -> Any:
    """The module of one array, by the array API's protocol; CuPy 14 does not have it yet."""
    if hasattr(array, "__array_namespace__"):
        return array.__array_namespace__()
    cupy = sys.modules.get("cupy")
    return cupy if cupy is not None and isinstance(array, cupy.ndarray) else None


@functools.cache
def gpu_available() -> bool:
    """True if CuPy is installed and sees a CUDA device."""
    try:
        import cupy
    except ImportError:
        return False
    return bool(cupy.cuda.is_available())


def choose_device(device: str = "auto") -> str:
    """Turn "auto", "cpu" or "gpu" into "cpu" or "gpu".

    Raises
    ------
    ValueError
        If the name is unknown.
    RuntimeError
        If "gpu" is requested and there is none.
    """
    if device not in DEVICES:
        raise ValueError(f"device was {device!r}; it must be one of {', '.join(map(repr, DEVICES))}")
    if device == "gpu" and not gpu_available():
        raise RuntimeError(
            "device was 'gpu', but no CUDA device can be used: minilora needs an NVIDIA GPU with its driver, and "
            "CuPy (pip install -e '.[cuda12]' or '.[cuda13]' in minilora's folder). device='cpu' works everywhere."
        )
    if device == "auto":
        return "gpu" if gpu_available() else "cpu"
    return device


def to_device(array: Any, device: str) -> Array:
    """The array on "cpu" or "gpu", without a copy if it is already there."""
    if choose_device(device) == "gpu":
        import cupy

        return cupy.asarray(array)
    return to_numpy(array)


def to_numpy(array: Any) -> numpy.ndarray:
    """The array on the host, without a copy if it is already there. Waits for the GPU."""
    return array.get() if hasattr(array, "get") else numpy.asarray(array)


def on_gpu(array: Any) -> bool:
    """True if the array lives in CuPy, so that a CUDA kernel can be launched on it."""
    return type(array) is not numpy.ndarray and getattr(_namespace(array), "__name__", None) == "cupy"


@functools.cache
def cuda_kernel(name: str, source: str) -> Any:
    """The kernel `name` of a CUDA source: ``kernel((blocks,), (threads,), arguments)`` launches it and does not wait.

    It is compiled at its first launch, which takes a moment; CuPy caches what was compiled, also between runs.
    """
    import cupy

    return cupy.RawKernel(source, name, options=("-std=c++17",))


@contextlib.contextmanager
def tf32() -> Iterator[None]:
    """A context in which float32 matrix products on the GPU may round their factors to TF32; it affects one thread.

    TF32 has float32's range with 10 bits of mantissa, and is what tensor cores multiply; sums are in float32. NVIDIA
    GPUs have it from compute capability 8.0 (Ampere) on. Outside this context, products are in full float32.
    """
    import cupy
    from cupy._core import _routines_linalg as linalg

    handle, cublas = cupy.cuda.get_cublas_handle(), cupy.cuda.cublas
    before = linalg.get_compute_type(numpy.float32), cublas.getMathMode(handle)
    linalg.set_compute_type(numpy.float32, linalg.COMPUTE_TYPE_TF32)  # what CuPy requests for a product of two matrices
    cublas.setMathMode(handle, cublas.CUBLAS_TF32_TENSOR_OP_MATH)  # for a product of stacks it requests nothing
    try:
        yield
    finally:
        linalg.set_compute_type(numpy.float32, before[0])
        cublas.setMathMode(handle, before[1])


def gpu_lacks_bfloat16() -> str:
    """Why products of bfloat16s cannot be computed on this thread's GPU, as the end of a sentence; "" if they can."""
    import cupy

    if int(cupy.cuda.Device().compute_capability) < 80:
        return "this GPU is older than Ampere (compute capability 8.0), the first that multiplies it"
    if not hasattr(cupy.cuda.cublas, "gemmEx"):
        return f"CuPy {cupy.__version__} has no cupy.cuda.cublas.gemmEx"
    return ""


def use_gpu(number: int) -> None:
    """Let this thread make its arrays on GPU `number`, modulo the number of GPUs; without a GPU, do nothing."""
    if gpu_available():
        import cupy

        cupy.cuda.Device(number % cupy.cuda.runtime.getDeviceCount()).use()


def same_gpu() -> Callable[[], Any]:
    """Return a callable that selects this thread's GPU in another thread (CuPy's current device is per thread)."""
    if not gpu_available():
        return lambda: None
    import cupy

    return cupy.cuda.Device().use


def gpu_with_nccl() -> bytes | None:
    """A unique id of the GPU in use, as bytes; None without a GPU, or if CuPy lacks NCCL."""
    if not gpu_available():
        return None
    import cupy
    from cupy.cuda import nccl

    if not nccl.available:
        return None
    return bytes(cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["uuid"])


def nccl_sum(rank: int, size: int, bcast_from_root: Callable[[Callable[[], Any]], Any]) -> Callable[[Array], None]:
    """A function ``total(array)`` that replaces an array by its sum over the GPUs of all ranks, and does not wait.

    Parameters
    ----------
    rank, size : int
    bcast_from_root : callable
        ``bcast_from_root(function)``: what the function returns at the first rank, at every rank.
    """
    import cupy
    from cupy.cuda import nccl

    ring = nccl.NcclCommunicator(size, bcast_from_root(nccl.get_unique_id), rank)
    types = {"f": nccl.NCCL_FLOAT32, "d": nccl.NCCL_FLOAT64}

    def total(array: Array) -> None:
        pointer, stream = array.data.ptr, cupy.cuda.get_current_stream().ptr
        ring.allReduce(pointer, pointer, array.size, types[array.dtype.char], nccl.NCCL_SUM, stream)

    return total


def gpu_memory(release: bool = False) -> dict[str, int] | None:
    """A dict of what the GPU's memory pool holds and what the GPU has, in bytes; None where there is no GPU.

    used is held by live arrays; total also has the pieces that the pool keeps for later arrays. The pool never returns
    memory by itself, so total is the peak so far, or since `release` returned all free pieces. size is the GPU's whole
    memory, and free the part of it that no program holds.
    """
    if not gpu_available():
        return None
    import cupy

    pool = cupy.get_default_memory_pool()
    if release:
        pool.free_all_blocks()
    free, size = cupy.cuda.runtime.memGetInfo()
    return {"used": pool.used_bytes(), "total": pool.total_bytes(), "free": free, "size": size}


def on_host(array: Any) -> bool:
    """True if the array lives in NumPy, where reading a value does not wait."""
    return type(array) is numpy.ndarray or _namespace(array) is numpy

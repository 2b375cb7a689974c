"""The cores and the memory of the machine that minilora runs on, shared with BLAS and with the C library."""

import contextlib
import ctypes
import functools
import os
import threading
import types
from collections.abc import Iterator

from threadpoolctl import ThreadpoolController


def cores() -> int:
    """How many cores this process may use."""
    return len(allowed_cores())


def allowed_cores() -> list[int]:
    """The numbers of the cores that this process may use; of all cores, if the system does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """A context in which each matrix product runs on one thread; several can be open at once, in several threads.

    Distributing a small product over all cores can take longer than computing it, sometimes more than ten times as
    long. Cores are better used by giving each of them rows of its own.
    """
    with _blas.lock:
        if _blas.open == 0:
            _blas.limit = _blas_controller().limit(limits=1, user_api="blas")
        _blas.open += 1
    try:
        yield
    finally:
        with _blas.lock:
            _blas.open -= 1
            if _blas.open == 0:
                _blas.limit.restore_original_limits()


@functools.cache
def _blas_controller() -> ThreadpoolController:
    return ThreadpoolController()


# BLAS's threads belong to the whole process: the first context to open limits them, the last to close restores them.
_blas = types.SimpleNamespace(lock=threading.Lock(), open=0, limit=None)


@functools.cache
def retain_freed_memory() -> None:
    """Keep the memory of freed arrays for the next ones, instead of giving it back to the system (mallopt).

    A training step makes arrays of the same sizes as the step before. Fresh memory from the system has to be zeroed and
    mapped, page by page, which can take as long as computing what is written there. The process then keeps its peak
    size until it ends. This is glibc's mallopt; on other systems nothing is done.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    trim_threshold, mmap_threshold, arena_max = -1, -3, -8  # malloc.h
    mallopt(arena_max, 1)  # all threads share one heap, so that what one has freed another can use
    mallopt(mmap_threshold, 1 << 30)
    mallopt(trim_threshold, (1 << 31) - 1)

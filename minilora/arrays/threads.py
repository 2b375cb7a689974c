"""The cores and the memory of the machine that minilora runs on, shared with BLAS and with the C library."""

import contextlib
import ctypes
import functools
import os
import sys
import threading
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from threadpoolctl import ThreadpoolController


def in_browser() -> bool:
    """Whether this Python runs in a browser (Pyodide): it can start no thread and no process, and gets no signals."""
    return sys.platform == "emscripten"


def cores() -> int:
    """How many cores this process may use."""
    return len(allowed_cores())


def allowed_cores() -> list[int]:
    """The numbers of the cores that this process may use; of all cores, if the system does not say."""
    if in_browser():
        return [0]
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


@contextlib.contextmanager
def shared_by(threads: int, initializer: Callable[[], Any] | None = None) -> Iterator[Callable[..., Iterator]]:
    """A context in which ``map_(function, items)`` is `map` by several threads, or in a browser by the only one."""
    if in_browser():
        yield map
        return
    with ThreadPoolExecutor(threads, initializer=initializer) as pool:
        yield pool.map


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


if in_browser():  # tqdm would start a thread that watches its bars, and warn that it cannot
    import tqdm

    tqdm.tqdm.monitor_interval = 0

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

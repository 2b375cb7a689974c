"""BLAS's threads are limited while they are, and freed memory is kept for the next arrays."""

import subprocess
import sys
import types

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from minilora.arrays import threads
from minilora.arrays.threads import cores, one_blas_thread, retain_freed_memory


def test_there_is_a_core():
    assert cores() >= 1


def test_blas_gets_its_threads_back_when_contexts_of_several_threads_overlap():
    def blas_threads():
        return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

    with threadpool_limits(2, user_api="blas"):
        first, second = one_blas_thread(), one_blas_thread()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert blas_threads() == {1}
        second.__exit__(None, None, None)
        assert blas_threads() == {2}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc is Linux's")
def test_memory_that_is_kept_is_used_again():
    code = """
import resource, numpy
from minilora.arrays.threads import retain_freed_memory
retain_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    numpy.ones(4_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
first = faults()
print(first, faults())
"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    first, second = map(int, printed.split())
    assert second < first / 10 or first < 100  # where pages are huge, there are few faults to begin with


def test_where_there_is_no_mallopt_nothing_is_done(monkeypatch):
    monkeypatch.setattr(threads.ctypes, "CDLL", lambda name: types.SimpleNamespace())
    retain_freed_memory.__wrapped__()

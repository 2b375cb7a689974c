"""What every test needs: no windows, one BLAS thread, and GPU tests skipped where there is no GPU."""

import os

import pytest

# before anything imports matplotlib or numpy; child processes inherit it
os.environ["MPLBACKEND"] = "Agg"
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the tests' products are small, and BLAS's threads can stall them


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu"):
        from minilora.arrays.backend import gpu_available

        if not gpu_available():
            pytest.skip("needs a CUDA device and CuPy: minilora.arrays.backend.gpu_available() is False")

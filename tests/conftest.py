"""What every test needs: no windows, and GPU tests skipped where there is no GPU."""

import os

import pytest

os.environ["MPLBACKEND"] = "Agg"  # before anything imports matplotlib; child processes inherit it


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu"):
        from minilora.backend import gpu_available

        if not gpu_available():
            pytest.skip("needs a CUDA device and CuPy: minilora.backend.gpu_available() is False")

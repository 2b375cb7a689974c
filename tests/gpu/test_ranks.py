"""Ranks on GPUs: one each if there are enough of them, else in turns on those that there are."""

import numpy as np
import pytest

from minilora.arrays.backend import gpu_with_nccl, nccl_sum, to_device, to_numpy
from mpi.launch import job, needs_mpi

pytestmark = pytest.mark.gpu


@needs_mpi
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_losses_are_those_of_the_cpu_and_ranks_equal_to_the_bit(dtype, tmp_path):
    _, _, on_cpu = job(2, tmp_path / "cpu", dtype=dtype)
    status, error, on_gpu = job(2, tmp_path / "gpu", dtype=dtype, device="gpu")
    assert (status, error) == (0, "")
    assert on_gpu[0]["losses"] == pytest.approx(on_cpu[0]["losses"], rel=1e-4)
    assert on_gpu[0]["weights"] == on_gpu[1]["weights"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nccl_of_one_rank_leaves_an_array_as_it_is(dtype):
    if gpu_with_nccl() is None:
        pytest.skip("CuPy has no NCCL here")
    array = to_device(np.arange(5, dtype=dtype), "gpu")
    nccl_sum(0, 1, lambda function: function())(array)
    assert to_numpy(array).tolist() == [0, 1, 2, 3, 4]

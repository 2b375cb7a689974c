"""Without MPI: what a launcher has said is understood, and one process is not taken for several, or several for one."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from device_array import to_fake_device
from minilora.arrays.backend import gpu_with_nccl, same_gpu, use_gpu
from minilora.distributed import ENDED, FAILED, LEFT, SINGLE_PROCESS, OtherRankFailed, Ranks, join, launched

LAUNCHED = [
    ({"PMI_RANK": "2", "PMI_SIZE": "4"}, (2, 4)),  # Hydra (MPICH, Intel MPI), Microsoft MPI, srun --mpi=pmi2
    ({"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "8", "PMIX_RANK": "0"}, (0, 8)),
    ({"PMIX_RANK": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"}, (1, 2)),  # srun --mpi=pmix
    ({"PMIX_RANK": "1"}, (1, None)),
    ({"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4"}, (3, 4)),  # srun --mpi=none
    # Open MPI's mpirun in a shell that srun started
    ({"PMI_RANK": "0", "PMI_SIZE": "1", "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "4"}, (1, 4)),
    ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, None),  # a batch script itself, before any srun
    ({"PMI_RANK": "", "PMI_SIZE": "4"}, None),
    ({}, None),
]


@pytest.mark.parametrize(("environ", "told"), LAUNCHED)
def test_what_launchers_say_is_understood(environ, told):
    assert launched(environ) == told


@pytest.mark.parametrize("environ", [{}, {"PMI_RANK": "0", "PMI_SIZE": "1"}])
def test_one_process_is_alone_and_imports_no_mpi(environ, monkeypatch):
    monkeypatch.setattr("minilora.distributed.launched", lambda: launched(environ))
    monkeypatch.setitem(sys.modules, "mpi4py", None)  # an import would fail
    assert join() is SINGLE_PROCESS


@pytest.mark.parametrize("rank", ["0", "1"])
@pytest.mark.parametrize("verb", ["finetune", "pretrain", "reproduce table4", "count gpt2"])
def test_without_mpi4py_a_launched_process_says_in_one_line_what_is_missing(verb, rank, tmp_path):
    hidden = f"import sys; sys.modules['mpi4py'] = None; from minilora.cli import main; sys.exit(main({verb.split()}))"
    environ = {"PMI_RANK": rank, "PMI_SIZE": "2", "PYTHONPATH": ":".join(filter(None, sys.path))}
    command = [sys.executable, "-c", hidden]
    done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and not done.stdout and not list(tmp_path.iterdir())
    if rank == "0":
        (line,) = done.stderr.splitlines()
        assert line.startswith("minilora: 2 processes were started by an MPI launcher, but mpi4py cannot be loaded")
        assert 'pip install "minilora[mpi]"' in line
    else:
        assert not done.stderr


def test_alone_an_allreduce_is_the_identity():
    array = np.arange(3.0)
    SINGLE_PROCESS.allreduce(array)
    SINGLE_PROCESS.broadcast(array)
    assert array.tolist() == [0, 1, 2]
    assert (
        SINGLE_PROCESS.gather("x") == ["x"]
        and SINGLE_PROCESS.bcast_from_root(lambda: 5) == 5
        and len(SINGLE_PROCESS.cores) == SINGLE_PROCESS.size == 1
    )


# ---- what is given to MPI


class OneOfTwo:
    """A communicator of two ranks that hold the same, as far as `Ranks` asks it."""

    def __init__(self):
        self.given = []

    def Get_rank(self):
        return 0

    def Get_size(self):
        return 2

    def Split_type(self, kind):
        return self

    def Free(self):
        pass

    def Dup(self):
        return self

    def allgather(self, value):
        return [value, value]

    def Ibarrier(self):
        return SimpleNamespace(Test=lambda: True)

    def Allreduce(self, inplace, array):
        self.given.append(array)
        array += array

    def Bcast(self, array):
        self.given.append(array)
        array[...] = 7


def two_ranks():
    comm = OneOfTwo()
    return Ranks(SimpleNamespace(COMM_TYPE_SHARED=0, IN_PLACE=0), comm), comm


def test_an_array_of_the_host_is_summed_where_it_lies():
    ranks, comm = two_ranks()
    array = np.arange(3.0)
    ranks.allreduce(array)
    assert comm.given[0] is array and array.tolist() == [0, 2, 4]


def test_an_array_of_a_device_goes_through_the_host_and_back():
    ranks, comm = two_ranks()
    array = to_fake_device(np.arange(3.0))
    ranks.allreduce(array)
    assert type(comm.given[0]) is np.ndarray and array.get().tolist() == [0, 2, 4]
    ranks.broadcast(array)
    assert array.get().tolist() == [7, 7, 7]


def test_an_array_in_pieces_is_sent_in_one():
    ranks, comm = two_ranks()
    array = np.arange(6.0).reshape(2, 3).T
    ranks.broadcast(array)
    assert comm.given[0].flags.c_contiguous and (array == 7).all()


def test_ranks_that_may_use_the_same_cores_share_them(monkeypatch):
    monkeypatch.setattr("minilora.distributed.allowed_cores", lambda: list(range(5)))
    assert two_ranks()[0].cores == [2, 2]


# ---- a job that ends


class Waiting(OneOfTwo):
    """One rank of two, to which messages have come, and for whom the other never comes."""

    def __init__(self, rank, messages):
        super().__init__()
        self.rank, self.messages, self.sent = rank, messages, []

    def Get_rank(self):
        return self.rank

    def Ibarrier(self):
        return SimpleNamespace(Test=lambda: False)

    def Iprobe(self, tag):
        return tag in self.messages

    def recv(self, tag):
        return self.messages[tag]

    def isend(self, message, rank, tag):
        self.sent.append((message, rank, tag))
        return SimpleNamespace(Test=lambda: True)

    def Abort(self, status):
        raise SystemExit(status)


def waiting(rank, messages, monkeypatch):
    monkeypatch.setattr("os._exit", sys.exit)
    comm = Waiting(rank, messages)
    return Ranks(SimpleNamespace(COMM_TYPE_SHARED=0), comm), comm


def test_the_first_rank_learns_why_another_failed(monkeypatch):
    ranks, _ = waiting(0, {FAILED: "rank 1 of 2: the disk is gone"}, monkeypatch)
    with pytest.raises(OtherRankFailed, match="^rank 1 of 2: the disk is gone$"):
        ranks.gather(None)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_for_which_another_one_waits_in_vain_learns_that_it_has_left(rank, monkeypatch):
    ranks, _ = waiting(rank, {LEFT: 1 - rank}, monkeypatch)
    with pytest.raises(OtherRankFailed, match=f"rank {1 - rank} of 2 has ended, and the others wait for it in vain"):
        ranks.gather(None)


def test_a_rank_that_is_told_of_the_end_exits(monkeypatch):
    ranks, _ = waiting(1, {ENDED: 130}, monkeypatch)
    with pytest.raises(SystemExit) as ended:
        ranks.gather(None)
    assert ended.value.code == 130


def test_a_rank_whose_launcher_is_gone_exits(monkeypatch):
    ranks, _ = waiting(1, {}, monkeypatch)
    monkeypatch.setattr("os.getppid", lambda: -1)  # 1 may be the launcher itself, of a run in the background
    with pytest.raises(SystemExit):
        ranks.gather(None)


def test_the_first_rank_says_why_the_job_ends_and_tells_the_others(monkeypatch, capfd):
    ranks, comm = waiting(0, {}, monkeypatch)
    monkeypatch.setattr("sys.__stderr__", sys.stderr)
    with pytest.raises(SystemExit) as ended:
        ranks.end("no more", 2)
    assert ended.value.code == 2 and comm.sent == [(2, 1, ENDED)]
    assert capfd.readouterr().err == "no more\n"


@pytest.mark.parametrize(("messages", "said"), [({ENDED: 2}, ""), ({}, "rank 1 of 2: no more\n")])
def test_another_rank_says_it_only_if_the_first_does_not(messages, said, monkeypatch, capfd):
    ranks, comm = waiting(1, messages, monkeypatch)
    monkeypatch.setattr("minilora.distributed.PATIENCE", 0.01)
    monkeypatch.setattr("sys.__stderr__", sys.stderr)
    with pytest.raises(SystemExit):
        ranks.end("no more", 2)
    assert comm.sent[0] == ("rank 1 of 2: no more", 0, FAILED)
    assert capfd.readouterr().err == said


# ---- GPUs


@pytest.mark.parametrize(
    ("gpus", "by_nccl"),
    [([b"one", b"two"], True), ([b"one", b"one"], False), ([b"one", None], False)],
    ids=["a GPU each", "one GPU for both", "one rank without NCCL"],
)
def test_ranks_with_a_gpu_each_sum_by_nccl_and_others_through_the_host(gpus, by_nccl, monkeypatch):
    sums = []
    monkeypatch.setattr("minilora.distributed.on_gpu", lambda array: True)
    monkeypatch.setattr("minilora.distributed.gpu_with_nccl", lambda: gpus[0])
    monkeypatch.setattr("minilora.distributed.nccl_sum", lambda *job: sums.append)
    ranks, comm = two_ranks()
    comm.allgather = lambda value: gpus
    array = to_fake_device(np.arange(3.0))
    ranks.allreduce(array)
    ranks.allreduce(array)
    assert len(sums) == 2 * by_nccl and len(comm.given) == 2 * (not by_nccl)


def test_without_a_gpu_there_is_none_to_choose_and_no_nccl(monkeypatch):
    monkeypatch.setattr("minilora.arrays.backend.gpu_available", lambda: False)
    use_gpu(3)
    same_gpu()()
    assert gpu_with_nccl() is None

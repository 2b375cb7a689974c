"""Several processes that train one model together, each on its own rows of every batch, and their communication.

    mpiexec -n 4 minilora finetune --out runs/mine

starts the same command four times, as ranks 0 to 3 of one job. All hold the same model, draw the same batch with the
same generator, and compute the loss and the gradients of their own rows, each weighted by its fraction of the batch's
targets. The sum over the ranks is then the gradient of the mean over the whole batch (`training/objective.py`), and one
allreduce per step gives it to all of them: each takes the same step from the same weights, and no weight is ever sent.
What is sent is the size of what is trained: A and B for LoRA, the model for full fine-tuning (`training/bucket.py`).

Equal to the bit. A floating-point sum depends on its order, so equal weights need equal sums. MPI's allreduces add each
number up in one place and distribute it, or in several places in orders that differ only by a + b = b + a, which is
exact; but the standard does not promise this, so the ranks compare their weights (`training/agreement.py`).

Waiting. A rank waits for the others in Python (`Ranks._barrier`), with pauses, and enters MPI's own call when all are
there. MPI itself would wait with a busy core, which the others may need, and would not notice Ctrl-C or the failure of
another rank.

This is the only file that knows mpi4py. It is imported when a launcher has started this process, and not before.
"""

import atexit
import contextlib
import functools
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy

from minilora.arrays.backend import Array, get_xp, gpu_with_nccl, nccl_sum, on_gpu, to_numpy, use_gpu
from minilora.arrays.threads import allowed_cores, cores
from minilora.moved import names_before

if not TYPE_CHECKING:
    __getattr__ = names_before(__name__)

# The variables in which a launcher gives each process (rank, size): Open MPI's; those of launchers that use PMI, which
# are MPICH's, Intel's, Microsoft's and Slurm's; PMIx under Slurm; and Slurm's, when srun runs without an MPI plugin.
LAUNCHERS = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("PMIX_RANK", "SLURM_STEP_NUM_TASKS"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
)
# The tags of three messages: from a rank that has failed to the first; from the rank that ends the job to all; from a
# rank that leaves to the first, and from the first to all.
FAILED, ENDED, LEFT = 1, 2, 3
JOINING = 300.0  # seconds for all processes to start; on a large machine their imports take a while
PATIENCE = 10.0  # seconds for the first rank to say why the job ends, or for the others to end after one has
LAST_WORDS = 0.5  # seconds for the launcher to pass on what was printed; once a rank has ended, it may drop the rest
LONGEST_PAUSE = 1e-3  # seconds between two checks whether the others have arrived


Result = TypeVar("Result")


class OtherRankFailed(RuntimeError):
    """Another rank of the job ended in an error; the message is that rank's."""


class SingleProcess:
    """A job of one process, with the interface of `Ranks`. Its allreduce is the identity."""

    rank, size = 0, 1

    @property
    def cores(self) -> list[int]:
        """How many cores each rank may use, one number per rank."""
        return [cores()]

    def allreduce(self, array: Array) -> None:
        """Replace an array, in place, by its sum over all ranks."""

    def broadcast(self, array: Array) -> None:
        """Replace an array, in place, by the first rank's."""

    def gather(self, value: Any) -> list[Any]:
        """The values of all ranks, as a list, on every rank."""
        return [value]

    def bcast_from_root(self, function: Callable[[], Result]) -> Result:
        """Call ``function()`` on the first rank only; return its result on every rank."""
        return function()

    def end(self, message: str, status: int) -> int:
        """Say why this process ends; return its exit status."""
        print(message, file=sys.stderr)
        return status


SINGLE_PROCESS = SingleProcess()


class Ranks(SingleProcess):
    """The ranks of an MPI job, as one of them sees it; `join` makes it.

    Parameters
    ----------
    MPI : module
        mpi4py.MPI
    comm : mpi4py.MPI.Intracomm
        The communicator of the job.
    """

    def __init__(self, MPI: Any, comm: Any) -> None:
        self._MPI, self._comm, self._launcher = MPI, comm, os.getppid()
        self._leaving = comm.Dup()  # so that a rank that ends is not mistaken for one that joins the others
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        near = comm.Split_type(MPI.COMM_TYPE_SHARED)  # the ranks on this machine
        use_gpu(near.Get_rank())
        mine = allowed_cores()
        sharing = near.allgather(mine).count(mine)  # ranks that were not given cores of their own
        self._cores = comm.allgather(max(1, len(mine) // sharing))
        near.Free()

    @property
    def cores(self) -> list[int]:
        return self._cores

    def allreduce(self, array: Array) -> None:
        self._barrier()
        if on_gpu(array) and self._nccl_sum:
            self._nccl_sum(array)
        else:
            self._through_host(array, lambda host: self._comm.Allreduce(self._MPI.IN_PLACE, host))

    def broadcast(self, array: Array) -> None:
        self._barrier()
        self._through_host(array, self._comm.Bcast)

    def gather(self, value: Any) -> list[Any]:
        self._barrier()
        return self._comm.allgather(value)

    def bcast_from_root(self, function: Callable[[], Result]) -> Result:
        value = function() if self.rank == 0 else None
        self._barrier()
        return self._comm.bcast(value)

    def executor(self) -> Any:
        """A context with an executor whose workers are the other ranks, which work while entering it and get None."""
        from mpi4py.futures import MPICommExecutor

        return MPICommExecutor(self._comm, root=0)

    def end(self, message: str, status: int) -> Any:
        """Say once, for all ranks, why the job ends, and end it. Does not return.

        The first rank reports it. Any other rank leaves that to the first, which ends for the same reason or learns of
        it while waiting; if the first does neither for a while, the other reports it itself. Most launchers end the job
        when one rank aborts, but not always; so the others are told, and exit by themselves.
        """
        if self.rank:
            message = f"rank {self.rank} of {self.size}: {message}"
            told = self._comm.isend(message, 0, tag=FAILED)
            given_up = time.monotonic() + PATIENCE
            while time.monotonic() < given_up:  # usually, the job ends in here
                told.Test()
                self._end_if_told()
                time.sleep(LONGEST_PAUSE)
        print(message, file=sys.__stderr__, flush=True)
        time.sleep(LAST_WORDS)
        for rank in range(self.size):
            if rank != self.rank:
                self._comm.isend(status, rank, tag=ENDED)
        self._comm.Abort(status)

    def _end_if_told(self) -> None:
        """End this rank if another one ends the job, or if the launcher is gone."""
        if self._comm.Iprobe(tag=ENDED):
            os._exit(self._comm.recv(tag=ENDED))
        if os.getppid() != self._launcher:
            os._exit(1)

    def leave(self) -> None:
        """End together: wait for the others here. If they are still waiting for this rank elsewhere, they are told.

        It is called when this process exits. Unreceived messages would trouble MPI then, so none is sent as long as all
        arrive here soon, and each is received.
        """
        request, told_at = self._leaving.Ibarrier(), time.monotonic() + PATIENCE
        messages: list[Any] = []
        while not request.Test():
            self._end_if_told()
            if not messages and time.monotonic() > told_at:
                others = range(1, self.size) if self.rank == 0 else (0,)
                messages = [self._comm.isend(self.rank, rank, tag=LEFT) for rank in others]
            time.sleep(LONGEST_PAUSE)
        while self._comm.Iprobe(tag=LEFT):
            self._comm.recv(tag=LEFT)

    def _check_that_none_has_left(self) -> None:
        """Raise OtherRankFailed if a rank has left and has waited in vain for the others to leave as well."""
        if self._comm.Iprobe(tag=LEFT):
            left = self._comm.recv(tag=LEFT)
            raise OtherRankFailed(f"rank {left} of {self.size} has ended, and the others wait for it in vain")

    def _barrier(self) -> None:
        """Wait until all ranks are here."""
        request, pause = self._comm.Ibarrier(), 0.0
        while not request.Test():
            if self.rank == 0 and self._comm.Iprobe(tag=FAILED):
                raise OtherRankFailed(self._comm.recv(tag=FAILED))
            self._end_if_told()
            self._check_that_none_has_left()
            time.sleep(pause)
            pause = min(2.0 * pause + 1e-6, LONGEST_PAUSE)

    def _through_host(self, array: Array, call: Callable[[numpy.ndarray], Any]) -> None:
        """``call(host)`` with the array on the host, contiguous; the result is copied back to the array."""
        host = numpy.ascontiguousarray(to_numpy(array))
        call(host)
        if host is not array:
            array[...] = get_xp(array).asarray(host)

    @functools.cached_property
    def _nccl_sum(self) -> Callable[[Array], None] | None:
        """The sum from GPU to GPU; None if NCCL is missing or two ranks share a GPU. All ranks call this, or none."""
        gpus = self.gather(gpu_with_nccl())
        if None in gpus or len(set(gpus)) < self.size:
            return None
        return nccl_sum(self.rank, self.size, self.bcast_from_root)


def launched(environ: Mapping[str, str] = os.environ) -> tuple[int, int | None] | None:
    """(rank, size) from a launcher such as mpiexec, with size None if it does not say; None without a launcher."""
    for rank, size in LAUNCHERS:
        if environ.get(rank, "").isdecimal() and (size in environ or rank == "PMIX_RANK"):
            return int(environ[rank]), int(environ[size]) if size in environ else None
    return None


def join(quiet: bool = False) -> SingleProcess:
    """The job that this process was started in by mpiexec or srun: `Ranks`; without such a launcher, `SINGLE_PROCESS`.

    An uncaught exception then ends all ranks, instead of letting the others wait for this one.

    Parameters
    ----------
    quiet : bool
        Silence every rank but the first.

    Raises
    ------
    ValueError
        If mpi4py is missing, or belongs to another MPI than the launcher. (Each process would consider itself the only
        one, and all would write to the same folder.)
    """
    rank, size = launched() or (0, 1)
    if size == 1:
        return SINGLE_PROCESS
    if quiet and rank:
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")
    several = f"{size} processes were" if size else "this process was"
    try:
        with _watched_while_joining():
            from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise ValueError(
            f"{several} started by an MPI launcher, but mpi4py cannot be loaded ({error}); "
            'install it with  pip install "minilora[mpi]"  or start one process, without the launcher'
        ) from None
    comm = MPI.COMM_WORLD
    if size is not None and size != comm.Get_size():
        library = MPI.Get_library_version().splitlines()[0].strip("\0 ")
        raise ValueError(
            f"{several} started by an MPI launcher, but mpi4py's MPI ({library}) counts {comm.Get_size()}: the "
            f"launcher is another MPI's; use the mpiexec next to {sys.executable}, or an mpi4py for the launcher's MPI"
        )
    if comm.Get_size() == 1:
        return SINGLE_PROCESS
    ranks = Ranks(MPI, comm)
    atexit.register(ranks.leave)
    sys.excepthook = functools.partial(_end_all, ranks)
    return ranks


@contextlib.contextmanager
def _watched_while_joining() -> Iterator[None]:
    """A context in which this process can wait for others to join; see `launch_watch`."""
    if os.name != "posix":
        yield
        return
    watch = Path(__file__).with_name("launch_watch.py")
    command = [sys.executable, "-I", "-S", str(watch), str(os.getpid()), str(os.getppid()), str(JOINING)]
    with subprocess.Popen(command, stdin=subprocess.PIPE):  # on leaving, its input is closed, and it ends
        yield


def _end_all(ranks: Ranks, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    told = isinstance(error, OtherRankFailed)
    ranks.end(str(error) if told else "".join(traceback.format_exception(kind, error, trace)).rstrip(), 1)

"""The ranks of a job as threads of one process: what `minilora.distributed.Ranks` does, without MPI."""

import copy
import threading
from concurrent.futures import ThreadPoolExecutor

from minilora.distributed import SingleProcess


class ThreadRanks(SingleProcess):
    """One of several ranks; they share a barrier, and a list in which each has a place."""

    def __init__(self, rank, size, barrier, places, cores):
        self.rank, self.size = rank, size
        self._barrier, self._places, self._cores = barrier, places, cores
        self.sent = []  # the bytes of each allreduce

    @property
    def cores(self):
        return self._cores

    def gather(self, value):
        self._places[self.rank] = value
        self._barrier.wait()
        values = list(self._places)
        self._barrier.wait()
        return values

    def allreduce(self, array):
        self.sent.append(array.nbytes)
        first, *others = self.gather(array.copy())
        array[...] = sum(others, start=first)

    def broadcast(self, array):
        array[...] = self.gather(array.copy())[0]

    def bcast_from_root(self, function):
        return copy.deepcopy(self.gather(function() if self.rank == 0 else None)[0])


def run_ranks(size, function, cores=None):
    """[function(ranks) of each rank]; an error of one rank is raised, and ends the waiting of the others."""
    barrier, places = threading.Barrier(size, timeout=60), [None] * size

    def run(rank):
        try:
            return function(ThreadRanks(rank, size, barrier, places, cores or [1] * size))
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(run, rank) for rank in range(size)]
    errors = [future.exception() for future in futures if future.exception()]
    for error in sorted(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
        raise error
    return [future.result() for future in futures]

"""What the ranks of a job send each other in a step: all gradients in one array, and three numbers."""

from typing import Any

import numpy

from minilora.accounting.communication import BESIDE_GRADIENTS
from minilora.arrays.backend import Array, get_xp, to_numpy
from minilora.distributed import Ranks, SingleProcess
from minilora.parameter import Parameter


class Bucket:
    """One array, summed over ranks at once: the gradients of the trained parameters, the loss, and two counts.

    Summing many numbers costs little more than summing one, because a small message takes mostly latency; so there is
    one bucket, not one message per parameter. It has `nbytes` bytes: a value for each trained parameter, and three
    more.

    Parameters
    ----------
    parameters : list of Parameter
        The trained parameters, the same on every rank and in the same order.
    ranks : SingleProcess or Ranks
    """

    def __init__(self, parameters: list[Parameter], ranks: Ranks | SingleProcess) -> None:
        self.parameters = parameters
        self.ranks = ranks
        self.dtype = numpy.result_type(*(p.data.dtype for p in parameters))
        self.size = sum(p.data.size for p in parameters) + BESIDE_GRADIENTS
        self._array: Array | None = None  # one process needs none

    @property
    def nbytes(self) -> int:
        """The bytes of the bucket."""
        return self.size * self.dtype.itemsize

    def allreduce(self, loss: Any, stop: bool) -> tuple[Any, bool]:
        """Replace each gradient by its sum over the ranks.

        A rank without a gradient for a parameter contributes zeros. A gradient that no rank has stays None: the
        optimizer leaves that parameter alone, as it does in a single process.

        Parameters
        ----------
        loss : array scalar or float
            This rank's part of the mean over the batch.
        stop : bool
            Whether this rank was asked to stop.

        Returns
        -------
        loss : array scalar or float
            The mean over the batch, the same on every rank.
        stop : bool
            Whether any rank was asked to stop, the same on every rank.
        """
        if self.ranks.size == 1:
            return loss, stop
        total = self._make() if self._array is None else self._array
        missing = [p.grad is None for p in self.parameters]
        for p, piece in zip(self.parameters, self._pieces, strict=True):
            piece[...] = 0.0 if p.grad is None else p.grad
        total[-3], total[-2], total[-1] = loss, float(stop), float(sum(missing))
        self.ranks.allreduce(total)
        loss, asked, n_missing = to_numpy(total[-3:])
        nowhere = [False] * len(missing)
        if n_missing:  # on any rank, so that all of them ask; this is rare
            nowhere = [all(of_ranks) for of_ranks in zip(*self.ranks.gather(missing), strict=True)]
        for p, piece, absent in zip(self.parameters, self._pieces, nowhere, strict=True):
            p.grad = None if absent else piece  # a view, valid until the next step's gradients are computed
        return loss, bool(asked)

    def _make(self) -> Array:
        xp = get_xp(self.parameters[0].data)
        self._array = total = xp.empty(self.size, dtype=self.dtype)
        self._pieces, start = [], 0
        for p in self.parameters:
            self._pieces.append(total[start : start + p.data.size].reshape(p.data.shape))
            start += p.data.size
        return total

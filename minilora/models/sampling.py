"""How the next token is chosen from the logits: the likeliest, or a random draw."""

import math
from dataclasses import dataclass

import numpy


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen. The default takes the likeliest token (greedy).

    Parameters
    ----------
    temperature : float
        0 takes the likeliest token; otherwise logits are divided by this, and a token is drawn.
    top_k : int, optional
        Draw from the k likeliest tokens.
    top_p : float, optional
        Draw from the smallest set of likeliest tokens whose probabilities sum to at least p, after `top_k`, if given.

    Raises
    ------
    ValueError
        If a setting is not what it must be; the message names it.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        temperature, top_k, top_p = self.temperature, self.top_k, self.top_p
        if not isinstance(temperature, (int, float)) or not 0 <= temperature < math.inf:
            raise ValueError(f"temperature was {temperature!r}; it must be 0 (greedy) or a finite number above 0")
        if top_k is not None and (not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 1):
            raise ValueError(f"top_k was {top_k!r}; it must be an integer of at least 1")
        if top_p is not None and not (isinstance(top_p, (int, float)) and 0 < top_p <= 1):
            raise ValueError(f"top_p was {top_p!r}; it must be 0 < top_p <= 1")
        if temperature == 0 and not (top_k is None and top_p is None):
            raise ValueError("temperature was 0, which draws nothing; for top_k and top_p it must be above 0")

    @property
    def draws(self) -> bool:
        """Whether tokens are drawn; False if the likeliest is taken."""
        return self.temperature > 0

    def choose(
        self, logits: numpy.ndarray, rng: "numpy.random.Generator | StaggeredDraws | None" = None
    ) -> numpy.ndarray:
        """One token for each row of logits, (N, V) -> (N,), on the host.

        Parameters
        ----------
        logits : ndarray of shape (N, V)
        rng : numpy.random.Generator or StaggeredDraws
            Needed if tokens are drawn: one number per row.
        """
        if not self.draws:
            return logits.argmax(axis=-1)
        logits = logits.astype(numpy.float64)
        logits = (logits - logits.max(axis=-1, keepdims=True)) / self.temperature
        if self.top_k is not None and self.top_k < logits.shape[-1]:
            kth = numpy.sort(logits, axis=-1)[:, -self.top_k, None]
            logits = numpy.where(logits < kth, -numpy.inf, logits)
        probs = numpy.exp(logits)
        probs /= probs.sum(axis=-1, keepdims=True)
        if self.top_p is not None:
            probs = _nucleus(probs, self.top_p)
        assert rng is not None, "rng was None; to draw tokens it must be a numpy.random.Generator"
        below = numpy.cumsum(probs, axis=-1) <= rng.random((len(probs), 1))  # the inverse of the distribution function
        return numpy.minimum(below.sum(axis=-1), probs.shape[-1] - 1)


class StaggeredDraws:
    """Random numbers for rows that begin at different positions: row n takes up those of position late[n] first.

    So a seed draws the same tokens whether rows advance at a common position, where those that are still in their
    prompt pass over their numbers, or each at its own.

    Parameters
    ----------
    rng : numpy.random.Generator
    late : integer ndarray of shape (N,)
    """

    def __init__(self, rng: numpy.random.Generator, late: numpy.ndarray) -> None:
        self.rng = rng
        self.next = late.copy()
        self.drawn: list[numpy.ndarray] = []

    def random(self, shape: tuple[int, int]) -> numpy.ndarray:
        """The next number of each row, (N, 1)."""
        while len(self.drawn) <= self.next.max():
            self.drawn.append(self.rng.random(shape))
        numbers = numpy.array([self.drawn[position][n] for n, position in enumerate(self.next)])
        self.next += 1
        return numbers


def _nucleus(probs: numpy.ndarray, p: float) -> numpy.ndarray:
    """The smallest set of likeliest tokens of each row that sums to at least p, renormalised: (N, V) -> (N, V)."""
    order = numpy.argsort(-probs, axis=-1, kind="stable")
    ordered = numpy.take_along_axis(probs, order, axis=-1)
    likelier = numpy.cumsum(ordered, axis=-1) - ordered  # the probability of everything that is likelier
    kept = numpy.zeros_like(probs)
    numpy.put_along_axis(kept, order, numpy.where(likelier < p, ordered, 0.0), axis=-1)
    return kept / kept.sum(axis=-1, keepdims=True)

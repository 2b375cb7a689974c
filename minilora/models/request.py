"""What is asked of a decoder, checked once: prompts, how tokens are chosen, and where to stop."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy

from minilora.arrays.backend import Array, to_numpy
from minilora.models.decoder import Decoder
from minilora.models.sampling import Sampling, StaggeredDraws


@dataclass(frozen=True)
class Request:
    """What `generate` and `stream` were asked for.

    Parameters
    ----------
    prompts : list of integer ndarray, each (T,)
        As the model reads them.
    max_tokens : int
    limit : int
        The longest sequence.
    sampling : Sampling
    stops : frozenset of int
    rng : numpy.random.Generator or None
    """

    prompts: list[numpy.ndarray]
    max_tokens: int
    limit: int
    sampling: Sampling
    stops: frozenset[int]
    rng: numpy.random.Generator | StaggeredDraws | None

    def staggered(self) -> "Request":
        """For rows each at a position of its own: see `StaggeredDraws`."""
        lengths = numpy.array([len(prompt) for prompt in self.prompts])
        if not self.sampling.draws or isinstance(self.rng, StaggeredDraws | None) or not numpy.ptp(lengths):
            return self
        return replace(self, rng=StaggeredDraws(self.rng, lengths - lengths.min()))

    def choose(self, logits: Array) -> numpy.ndarray:
        """One token for each row of logits, (N, V) -> (N,), on the host; waits for a GPU."""
        return self.sampling.choose(to_numpy(logits), self.rng)

    def end(self, length: int) -> int:
        """How long a sequence can become whose prompt has this length."""
        return min(length + self.max_tokens, self.limit)


def read_request(
    model: Decoder,
    prompts: Sequence[Sequence[int] | numpy.ndarray],
    max_tokens: int,
    sampling: Sampling,
    stop: int | Collection[int] | None,
    rng: numpy.random.Generator | None,
) -> Request:
    """Check the arguments of `generate` and `stream`.

    Raises
    ------
    TypeError, ValueError
        If one is not what it must be; the message names it.
    """
    if isinstance(prompts, str) or any(isinstance(prompt, str) for prompt in prompts):
        raise TypeError("prompts held text; each must be a sequence of token ids, such as a tokenizer's encode gives")
    given = [numpy.asarray(prompt) for prompt in prompts]
    if not given:
        raise ValueError("prompts was empty; there must be at least one")
    for prompt in given:
        _check_prompt(model, prompt)
    if not isinstance(max_tokens, int) or isinstance(max_tokens, bool) or max_tokens < 1:
        raise ValueError(f"max_tokens was {max_tokens!r}; it must be an integer of at least 1")
    if sampling.draws and not isinstance(rng, numpy.random.Generator):
        raise ValueError(f"rng was {rng!r}; to draw tokens (temperature > 0) it must be a numpy.random.Generator")
    read = [model.read_prompt(prompt) for prompt in given]
    return Request(read, max_tokens, model.config.n_positions, sampling, _stops(stop), rng)


def _check_prompt(model: Decoder, prompt: numpy.ndarray) -> None:
    limit, V = model.longest_input, model.config.vocab_size
    if prompt.ndim != 1 or not 1 <= len(prompt) < limit:
        raise ValueError(f"a prompt had shape {prompt.shape}; it must have 1 to {limit - 1} tokens")
    if prompt.dtype.kind not in "iu":
        raise ValueError(f"a prompt had dtype {prompt.dtype}; token ids must be integers")
    if prompt.min() < 0 or prompt.max() >= V:
        raise ValueError(f"a prompt ran from id {prompt.min()} to {prompt.max()}; each must be from 0 to {V - 1}")


def _stops(stop: int | Collection[int] | None) -> frozenset[int]:
    """The tokens that end a sequence."""
    several = isinstance(stop, Collection) and not isinstance(stop, str)
    tokens: list[Any] = [] if stop is None else list(stop) if several else [stop]  # type: ignore[arg-type]
    if not all(isinstance(token, (int, numpy.integer)) and not isinstance(token, bool) for token in tokens):
        raise TypeError(f"stop was {stop!r}; it must be a token id, or a collection of them")
    return frozenset(int(token) for token in tokens)

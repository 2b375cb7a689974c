"""Sampling text from a decoder, one token at a time, with a key-value cache.

The sequences of a batch can have prompts of different lengths. All of them advance together, position by position: at
each position, a row that is still in its prompt takes the prompt's next token, and every other row a sampled token. So
no padding is needed.
"""

from collections.abc import Sequence

import numpy

from minilora.arrays.backend import to_numpy
from minilora.arrays.threads import one_blas_thread
from minilora.models.gpt import GPT
from minilora.models.sampling import Sampling


def generate(
    model: GPT,
    prompts: Sequence[Sequence[int] | numpy.ndarray],
    *,
    max_tokens: int,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop: int | None = None,
    rng: numpy.random.Generator | None = None,
) -> list[list[int]]:
    """Continue prompts.

    Parameters
    ----------
    model : GPT
    prompts : sequence of integer sequences
        The token ids of each prompt, at least one.
    max_tokens : int
        The most tokens to add to each; fewer if a stop token comes, or n_positions is reached.
    temperature, top_k, top_p
        How each token is chosen: see `Sampling`.
    stop : int, optional
        The token that ends a sequence; it is not returned.
    rng : numpy.random.Generator, optional
        Needed if tokens are drawn.

    Returns
    -------
    continuations : list of list of int
        The new tokens of each prompt.
    """
    if isinstance(prompts, str) or any(isinstance(prompt, str) for prompt in prompts):
        raise TypeError("prompts held text; each must be a sequence of token ids, such as a tokenizer's encode gives")
    given = [numpy.asarray(prompt) for prompt in prompts]
    sampling = Sampling(temperature, top_k, top_p)
    _check(model, given, max_tokens, sampling, rng)
    read = [model.read_prompt(prompt) for prompt in given]  # (T,) each
    limit = model.config.n_positions
    lengths = numpy.array([len(prompt) for prompt in read])  # (N,)
    ends = numpy.minimum(lengths + max_tokens, limit)  # (N,) where each sequence is full
    tokens = numpy.zeros((len(read), limit + 1), dtype=numpy.int64)  # (N, T)
    for row, prompt in zip(tokens, read, strict=True):
        row[: len(prompt)] = prompt
    past = model.new_past(len(read))
    start, position = 0, int(lengths.min())
    with one_blas_thread():
        while position < ends.max():
            logits, _ = model.forward(model.xp.asarray(tokens[:, start:position]), past=past)  # (N, T, V)
            chosen = sampling.choose(to_numpy(logits[:, -1]), rng)  # (N,)
            own = position >= lengths  # rows that are past their prompt
            tokens[own, position] = chosen[own]
            if stop is not None:
                ends = numpy.where(own & (chosen == stop) & (position < ends), position, ends)
            start, position = position, position + 1
    return [tokens[n, lengths[n] : ends[n]].tolist() for n in range(len(read))]


def _check(
    model: GPT, prompts: list[numpy.ndarray], max_tokens: int, sampling: Sampling, rng: numpy.random.Generator | None
) -> None:
    if not prompts:
        raise ValueError("prompts was empty; there must be at least one")
    limit, V = model.longest_input, model.config.vocab_size
    for prompt in prompts:
        if prompt.ndim != 1 or not 1 <= len(prompt) < limit:
            raise ValueError(f"a prompt had shape {prompt.shape}; it must have 1 to {limit - 1} tokens")
        if prompt.dtype.kind not in "iu":
            raise ValueError(f"a prompt had dtype {prompt.dtype}; token ids must be integers")
        if prompt.min() < 0 or prompt.max() >= V:
            raise ValueError(f"a prompt ran from id {prompt.min()} to {prompt.max()}; each must be from 0 to {V - 1}")
    if not isinstance(max_tokens, int) or isinstance(max_tokens, bool) or max_tokens < 1:
        raise ValueError(f"max_tokens was {max_tokens!r}; it must be an integer of at least 1")
    if sampling.draws and not isinstance(rng, numpy.random.Generator):
        raise ValueError(f"rng was {rng!r}; to draw tokens (temperature > 0) it must be a numpy.random.Generator")

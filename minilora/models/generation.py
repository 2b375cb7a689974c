"""Sampling text from a decoder, one token at a time, with a key-value cache.

The sequences of a batch can have prompts of different lengths. All of them advance together, position by position: at
each position, a row that is still in its prompt takes the prompt's next token, and every other row a sampled token. So
no padding is needed.
"""

from collections.abc import Collection, Sequence

import numpy

from minilora.arrays.threads import one_blas_thread
from minilora.models.gpt import GPT
from minilora.models.request import read_request
from minilora.models.sampling import Sampling


def generate(
    model: GPT,
    prompts: Sequence[Sequence[int] | numpy.ndarray],
    *,
    max_tokens: int,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop: int | Collection[int] | None = None,
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
    stop : int or collection of int, optional
        The token, or tokens, that end a sequence; they are not returned.
    rng : numpy.random.Generator, optional
        Needed if tokens are drawn.

    Returns
    -------
    continuations : list of list of int
        The new tokens of each prompt.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it must be; the message names it.
    """
    request = read_request(model, prompts, max_tokens, Sampling(temperature, top_k, top_p), stop, rng)
    lengths = numpy.array([len(prompt) for prompt in request.prompts])  # (N,)
    ends = numpy.array([request.end(length) for length in lengths])  # (N,) where each sequence is full
    tokens = numpy.zeros((len(lengths), request.limit + 1), dtype=numpy.int64)  # (N, T)
    for row, prompt in zip(tokens, request.prompts, strict=True):
        row[: len(prompt)] = prompt
    past = model.new_past(len(lengths))
    start, position = 0, int(lengths.min())
    with one_blas_thread():
        while position < ends.max():
            logits, _ = model.forward(model.xp.asarray(tokens[:, start:position]), past=past)  # (N, T, V)
            chosen = request.choose(logits[:, -1])  # (N,)
            own = position >= lengths  # rows that are past their prompt
            tokens[own, position] = chosen[own]
            if request.stops:
                stopped = numpy.isin(chosen, list(request.stops))
                ends = numpy.where(own & stopped & (position < ends), position, ends)
            start, position = position, position + 1
    return [tokens[n, lengths[n] : ends[n]].tolist() for n in range(len(lengths))]

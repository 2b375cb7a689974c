"""Continuing prompts, one token at a time, with a key-value cache.

Each prompt is read by one forward, which keeps its keys and values. From then on every row takes its own next position
in each step, so prompts of different lengths need no padding. Where a model cannot be flattened, all rows advance
together instead, position by position, by `forward`: a row that is still in its prompt takes the prompt's next token.
"""

import itertools
from collections.abc import Collection, Sequence
from contextlib import nullcontext

import numpy

from minilora.arrays.backend import Array
from minilora.arrays.threads import one_blas_thread
from minilora.layers import KeyValueCache
from minilora.models.decode import FlatDecoder, new_logits
from minilora.models.decoder import Decoder
from minilora.models.flatten import flatten
from minilora.models.request import Request, read_request
from minilora.models.sampling import Sampling

READ_AT_ONCE = 512  # tokens of a prompt: what a forward keeps for a backward is proportional to them
LARGE = 2**26  # multiplications in one map: from here on, BLAS's threads pay


def generate(
    model: Decoder,
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
    model : GPT or Llama
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
    flat = flatten(model, max(request.end(len(prompt)) for prompt in request.prompts))
    return _position_by_position(model, request) if flat is None else _row_by_row(model, flat, request)


def _row_by_row(model: Decoder, flat: FlatDecoder, request: Request) -> list[list[int]]:
    """Each row at a position of its own, after each prompt was read as a whole."""
    request = request.staggered()
    lengths = numpy.array([len(prompt) for prompt in request.prompts])  # (N,)
    ends = numpy.array([request.end(length) for length in lengths])  # (N,)
    past = model.new_past(len(lengths), int(ends.max()))
    alike = not numpy.ptp(lengths)
    if not alike:
        for memory in past:  # an unseen value counts 0 times, but NaN times 0 is NaN
            memory.keys[...], memory.values[...] = 0.0, 0.0
    logits = _read_all(model, request.prompts, past)  # (N, V)
    new: list[list[int]] = [[] for _ in lengths]
    unfinished = numpy.ones(len(lengths), dtype=bool)
    with one_blas_thread():
        while True:
            chosen = request.choose(logits)  # (N,)
            for n in numpy.flatnonzero(unfinished):
                if chosen[n] not in request.stops:
                    new[n].append(int(chosen[n]))
                unfinished[n] = chosen[n] not in request.stops and lengths[n] + len(new[n]) < ends[n]
            if not unfinished.any():
                return new
            t = lengths + [max(len(tokens), 1) - 1 for tokens in new]  # (N,), a row that has ended stays where it is
            for memory in past:
                memory.length = int(t.max()) + 1
            at = int(t.max()) if alike else model.xp.asarray(t)
            logits = new_logits(flat, model.xp.asarray(chosen), at, past)  # (N, V)


def _read_all(model: Decoder, prompts: list[numpy.ndarray], past: list[KeyValueCache]) -> Array:
    """Read prompts into their rows of `past`, neighbours of one length together: logits for what follows, (N, V)."""
    logits, start = [], 0
    for _, group in itertools.groupby(prompts, key=len):
        ids = numpy.stack([*group])  # (n, T)
        rows = slice(start, start + len(ids))
        logits.append(read(model, ids, [KeyValueCache(memory.keys[rows], memory.values[rows]) for memory in past]))
        start = rows.stop
    return logits[0] if len(logits) == 1 else model.xp.concatenate(logits)


def read(model: Decoder, ids: numpy.ndarray, past: list[KeyValueCache]) -> Array:
    """Read tokens, (N, T) on the host, after what `past` holds: logits for the token after the last, (N, V)."""
    numbers = ids.shape[0] * min(ids.shape[1], READ_AT_ONCE) * model.config.d_model * model.config.d_mlp
    with nullcontext() if numbers >= LARGE else one_blas_thread():
        for start in range(0, ids.shape[1], READ_AT_ONCE):
            x, _ = model.hidden(model.xp.asarray(ids[:, start : start + READ_AT_ONCE]), past)  # (N, T, C)
        logits, _ = model.head.forward(x[:, -1])  # (N, C) -> (N, V)
    return logits


def _position_by_position(model: Decoder, request: Request) -> list[list[int]]:
    """All rows at the same position, by `forward`."""
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

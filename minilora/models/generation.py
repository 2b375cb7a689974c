"""Sampling text from a decoder, one token after the other, with a key-value cache.

Sequences of a batch may have prompts of different lengths. All of them advance together, position by position: at
each position, a row that is still in its prompt takes the prompt's next token, and any other the token that it samples.
So no padding is needed.
"""

import math

import numpy

from minilora.arrays.backend import to_numpy
from minilora.arrays.threads import one_blas_thread


def generate(model, prompts, *, max_tokens, temperature=0.0, top_k=None, top_p=None, stop=None, rng=None):
    """Continue prompts.

    Parameters
    ----------
    model : GPT
    prompts : sequence of integer sequences
        The token ids of each prompt, at least one.
    max_tokens : int
        The most tokens that are added to each; fewer where a stop token comes, or n_positions is reached.
    temperature : float
        0 takes the likeliest token (greedy); otherwise logits are divided by this, and a token is drawn.
    top_k : int, optional
        Draw from the k likeliest tokens.
    top_p : float, optional
        Draw from the fewest likeliest tokens whose probabilities sum to at least p.
    stop : int, optional
        The token that ends a sequence; it is not returned.
    rng : numpy.random.Generator, optional
        Needed where a token is drawn.

    Returns
    -------
    continuations : list of list of int
        The new tokens of each prompt.
    """
    if isinstance(prompts, str) or any(isinstance(prompt, str) for prompt in prompts):
        raise TypeError("prompts held text; each may be a sequence of token ids, such as a tokenizer's encode gives")
    prompts = [numpy.asarray(prompt) for prompt in prompts]
    _check(model, prompts, max_tokens, temperature, top_k, top_p, rng)
    prompts = [model.prefix.insert_prompt(prompt) for prompt in prompts]
    limit = model.config.n_positions
    lengths = numpy.array([len(prompt) for prompt in prompts])  # (N,)
    ends = numpy.minimum(lengths + max_tokens, limit)  # (N,) where each sequence is full
    tokens = numpy.zeros((len(prompts), limit + 1), dtype=numpy.int64)  # (N, T)
    for row, prompt in zip(tokens, prompts, strict=True):
        row[: len(prompt)] = prompt
    past = model.new_past(len(prompts))
    place, position = 0, int(lengths.min())
    with one_blas_thread():
        while position < ends.max():
            logits, _ = model.forward(model.xp.asarray(tokens[:, place:position]), past=past)  # (N, T, V)
            chosen = choose_tokens(to_numpy(logits[:, -1]), temperature, top_k, top_p, rng)  # (N,)
            own = position >= lengths  # rows that are past their prompt
            tokens[own, position] = chosen[own]
            if stop is not None:
                ends = numpy.where(own & (chosen == stop) & (position < ends), position, ends)
            place, position = position, position + 1
    return [tokens[n, lengths[n] : ends[n]].tolist() for n in range(len(prompts))]


def choose_tokens(logits, temperature, top_k, top_p, rng):
    """One token for each row of logits, (N, V) -> (N,), on the host."""
    if temperature == 0:
        return logits.argmax(axis=-1)
    logits = logits.astype(numpy.float64)
    logits = (logits - logits.max(axis=-1, keepdims=True)) / temperature
    if top_k is not None and top_k < logits.shape[-1]:
        kth = numpy.sort(logits, axis=-1)[:, -top_k, None]
        logits = numpy.where(logits < kth, -numpy.inf, logits)
    probs = numpy.exp(logits)
    probs /= probs.sum(axis=-1, keepdims=True)
    if top_p is not None:
        order = numpy.argsort(-probs, axis=-1, kind="stable")
        ordered = numpy.take_along_axis(probs, order, axis=-1)
        before = numpy.cumsum(ordered, axis=-1) - ordered  # the probability of everything likelier
        numpy.put_along_axis(probs, order, numpy.where(before < top_p, ordered, 0.0), axis=-1)
        probs /= probs.sum(axis=-1, keepdims=True)
    below = numpy.cumsum(probs, axis=-1) <= rng.random((len(probs), 1))  # the inverse of the distribution function
    return numpy.minimum(below.sum(axis=-1), probs.shape[-1] - 1)


def _check(model, prompts, max_tokens, temperature, top_k, top_p, rng):
    if not prompts:
        raise ValueError("prompts was empty; there must be at least one")
    limit, V = model.longest_input, model.config.vocab_size
    for prompt in prompts:
        if prompt.ndim != 1 or not 1 <= len(prompt) < limit:
            raise ValueError(f"a prompt had shape {prompt.shape}; it may have 1 to {limit - 1} tokens")
        if prompt.dtype.kind not in "iu":
            raise ValueError(f"a prompt had dtype {prompt.dtype}; token ids are integers")
        if prompt.min() < 0 or prompt.max() >= V:
            raise ValueError(f"a prompt ran from id {prompt.min()} to {prompt.max()}; each must be from 0 to {V - 1}")
    if not isinstance(max_tokens, int) or max_tokens < 1:
        raise ValueError(f"max_tokens was {max_tokens}; it may be an integer of at least 1")
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature was {temperature}; it may be 0 (greedy) or a finite number above")
    if temperature > 0 and rng is None:
        raise ValueError("rng was None; drawing tokens (temperature > 0) needs a numpy.random.Generator")
    if top_k is not None and (not isinstance(top_k, int) or top_k < 1):
        raise ValueError(f"top_k was {top_k}; it may be an integer of at least 1")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p was {top_p}; it may be 0 < top_p <= 1")
    if temperature == 0 and not (top_k is None and top_p is None):
        raise ValueError("temperature was 0, which draws nothing; top_k and top_p need one above 0")

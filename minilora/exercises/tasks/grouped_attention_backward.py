"""The gradients of attention whose heads share keys and values in groups."""

import math

import numpy

from minilora.exercises.runner.calls import Call, Partial
from minilora.exercises.task import Slopes, Task, mistakes_in, replacing
from minilora.exercises.tasks.attention_backward import probabilities, softmax_backward, transpose

NAMES = ("dq", "dk", "dv")
# N, H, G, T, K; one key-value head for all, and groups of two and three; in the last, axes pass for each other
SHAPES = ((2, 6, 2, 4, 5), (1, 4, 2, 6, 3), (3, 3, 1, 5, 2), (4, 4, 2, 4, 4))


def calls(rng):
    given = []
    for N, H, G, T, K in SHAPES:
        dy, q = (rng.standard_normal((N, H, T, K)) for _ in range(2))
        k, v = (rng.standard_normal((N, G, T, K)) for _ in range(2))
        cache = {"q": q, "k": k, "v": v, "probs": probabilities(q, copies(k, H // G))}
        where = f"{H} query heads and {G} key-value head{'s' if G > 1 else ''}, T = {T}, K = {K}"
        given.append(Call(where, "grouped_attention_backward", {"dy": dy, "cache": cache}, NAMES))
    return given


def copies(x, J):
    """Each key-value head J times, next to each other: (N, G, T, K) -> (N, G J, T, K)."""
    return numpy.repeat(x, J, axis=1)


def grouped(x, G):
    """(N, H, T, K) -> (N, G, J, T, K)"""
    N, H, T, K = x.shape
    return x.reshape(N, G, H // G, T, K)


def gradients_per_head(dy, cache, copy=copies):
    """dq, and dk and dv of every query head's own copy: (N, H, T, K) each."""
    q, k, v, probs = cache
    J = q.shape[1] // k.shape[1]
    k, v = copy(k, J), copy(v, J)
    dscores = softmax_backward(probs, dy @ transpose(v)) / math.sqrt(q.shape[-1])
    return dscores @ k, transpose(dscores) @ q, transpose(probs) @ dy


def right(dy, cache):
    dq, dk, dv = gradients_per_head(dy, cache)
    G = cache[1].shape[1]
    return dq, grouped(dk, G).sum(axis=2), grouped(dv, G).sum(axis=2)


wrong = replacing(right, *NAMES)


def collected(how):
    """dk and dv from those of the heads' copies by how(per_head, G)."""

    def gradients(dy, cache):
        _, dk, dv = gradients_per_head(dy, cache)
        G = cache[1].shape[1]
        return {"dk": how(dk, G), "dv": how(dv, G)}

    return wrong(gradients)


def copied(copy):
    """All three with copies that another function makes."""

    def gradients(dy, cache):
        dq, dk, dv = gradients_per_head(dy, cache, copy)
        G = cache[1].shape[1]
        return {"dq": dq, "dk": grouped(dk, G).sum(axis=2), "dv": grouped(dv, G).sum(axis=2)}

    return wrong(gradients)


def every_gth(x, G):
    """The sum over heads g, g + G, g + 2 G, ..."""
    N, H, T, K = x.shape
    return x.reshape(N, H // G, G, T, K).sum(axis=1)


@wrong
def scale_missing(dy, cache):
    dq, dk, _ = right(dy, cache)
    return {"dq": dq * math.sqrt(dy.shape[-1]), "dk": dk * math.sqrt(dy.shape[-1])}


@wrong
def softmax_passed_over(dy, cache):
    q, k, v, _ = cache
    G, J = k.shape[1], q.shape[1] // k.shape[1]
    dscores = dy @ transpose(copies(v, J)) / math.sqrt(q.shape[-1])
    return {"dq": dscores @ copies(k, J), "dk": grouped(transpose(dscores) @ q, G).sum(axis=2)}


@wrong
def not_transposed(dy, cache):
    q, k, v, probs = cache
    G, J = k.shape[1], q.shape[1] // k.shape[1]
    dscores = softmax_backward(probs, dy @ transpose(copies(v, J))) / math.sqrt(q.shape[-1])
    return {"dk": grouped(dscores @ q, G).sum(axis=2), "dv": grouped(probs @ dy, G).sum(axis=2)}


@wrong
def softmax_once_a_group(dy, cache):
    """D of softmax's gradient summed over the group as well."""
    q, k, v, probs = cache
    N, H, T, K = q.shape
    G, J = k.shape[1], H // k.shape[1]
    dprobs = (dy @ transpose(copies(v, J))).reshape(N, G, J, T, T)
    p = probs.reshape(N, G, J, T, T)
    dscores = (p * (dprobs - (dprobs * p).sum(axis=(2, 4), keepdims=True))).reshape(N, H, T, T) / math.sqrt(K)
    return {"dq": dscores @ copies(k, J), "dk": grouped(transpose(dscores) @ q, G).sum(axis=2)}


MUTANTS = {
    "that of the first query head in the group: every head that reads a key or a value adds to its gradient": collected(
        lambda x, G: grouped(x, G)[:, :, 0]
    ),
    "that of the last query head in the group: every head that reads a key or a value adds to its gradient": collected(
        lambda x, G: grouped(x, G)[:, :, -1]
    ),
    "the mean over the group, where the sum belongs": collected(lambda x, G: grouped(x, G).mean(axis=2)),
    "the sum over heads g, g + G, ...: those of a group stand next to each other": collected(every_gth),
    "the sum over all query heads: a key-value head has only its group's": collected(
        lambda x, G: numpy.repeat(x.sum(axis=1, keepdims=True), G, axis=1)
    ),
    "the one that is not summed: it has a key-value head for each query head": collected(lambda x, G: x),
    "the one with `tile` for `repeat`: query head h reads key-value head h // J, not h % G": copied(
        lambda x, J: numpy.concatenate([x] * J, axis=1)
    ),
    "the one without 1 / sqrt(K)": scale_missing,
    "the one with dscores = dprobs: the softmax is passed over": softmax_passed_over,
    "the one without the transpose: a key collects from all queries": not_transposed,
    "the one with softmax's sum over the whole group; each query head has its own softmax": softmax_once_a_group,
}


def slopes(rng):
    dy, q = (rng.standard_normal((1, 4, 4, 3)) for _ in range(2))
    k, v = (rng.standard_normal((1, 2, 4, 3)) for _ in range(2))
    given = {"q": q, "k": k, "v": v}
    arguments = {"dy": dy, "cache": {**given, "probs": probabilities(q, copies(k, 2))}}
    backward = Call("4 query heads and 2 key-value heads", "grouped_attention_backward", arguments, NAMES)
    return Slopes([backward], dy, {f"d{name}": Partial("attention in groups", given, name) for name in given})


TASK = Task(
    {"grouped_attention_backward": right}, calls, mistakes_in("grouped_attention_backward", MUTANTS), slopes=slopes
)

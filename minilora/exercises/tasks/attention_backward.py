"""The gradients of causal attention."""

import math

import numpy

from minilora.exercises.runner.calls import Call, Partial
from minilora.exercises.task import Slopes, Task, mistakes_in, replacing
from minilora.ops import softmax_forward

NAMES = ("dq", "dk", "dv")
SHAPES = ((2, 3, 4, 5), (1, 2, 6, 3), (3, 2, 5, 2), (3, 3, 3, 3))  # in the last, a missing axis goes unnoticed


def calls(rng):
    given = []
    for shape in SHAPES:
        dy, q, k, v = (rng.standard_normal(shape) for _ in range(4))
        cache = {"q": q, "k": k, "v": v, "probs": probabilities(q, k)}
        given.append(Call(f"q, k and v of shape {shape}", "attention_backward", {"dy": dy, "cache": cache}, NAMES))
    return given


def transpose(x):
    return x.swapaxes(-1, -2)


def probabilities(q, k):
    scores = q @ transpose(k) / math.sqrt(q.shape[-1])
    seen = numpy.tril(numpy.ones(scores.shape[-2:], bool))
    return softmax_forward(numpy.where(seen, scores, -numpy.inf))[0]


def softmax_backward(probs, dprobs):
    return probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))


def right(dy, cache):
    q, k, v, probs = cache
    dscores = softmax_backward(probs, dy @ transpose(v)) / math.sqrt(q.shape[-1])
    return dscores @ k, transpose(dscores) @ q, transpose(probs) @ dy


wrong = replacing(right, *NAMES)


def scores_by(change):
    """dq and dk from wrong dscores, which change(probs, dprobs) gives."""

    def gradients(dy, cache):
        q, k, v, probs = cache
        dscores = change(probs, dy @ transpose(v)) / math.sqrt(q.shape[-1])
        return {"dq": dscores @ k, "dk": transpose(dscores) @ q}

    return wrong(gradients)


def scaled(factor):
    """dq and dk times factor(T, K)."""

    def gradients(dy, cache):
        dq, dk, _ = right(dy, cache)
        return {"dq": factor(*dy.shape[-2:]) * dq, "dk": factor(*dy.shape[-2:]) * dk}

    return wrong(gradients)


def dscores_of(dy, cache):
    q, _, v, probs = cache
    return softmax_backward(probs, dy @ transpose(v)) / math.sqrt(q.shape[-1])


@wrong
def not_transposed(dy, cache):
    return {"dk": dscores_of(dy, cache) @ cache[0], "dv": cache[3] @ dy}


@wrong
def transposed_dq(dy, cache):
    return {"dq": transpose(dscores_of(dy, cache)) @ cache[1]}


@wrong
def q_and_k(dy, cache):
    q, k, _, _ = cache
    dscores = dscores_of(dy, cache)
    return {"dq": dscores @ q, "dk": transpose(dscores) @ k}


@wrong
def probs_for_dscores(dy, cache):
    q, k, _, probs = cache
    return {"dq": probs @ k, "dk": transpose(probs) @ q}


@wrong
def dv_of_v(dy, cache):
    return {"dv": transpose(cache[3]) @ cache[2]}


@wrong
def dv_from_dprobs(dy, cache):
    return {"dv": transpose(dy @ transpose(cache[2])) @ dy}


@wrong
def dv_scaled(dy, cache):
    return {"dv": right(dy, cache)[2] / math.sqrt(dy.shape[-1])}


def reshaped(x):
    """What `reshape` makes of the last two axes where they are to be exchanged."""
    return x.reshape(*x.shape[:-2], x.shape[-1], x.shape[-2])


@wrong
def v_reshaped(dy, cache):
    q, k, v, probs = cache
    dscores = softmax_backward(probs, dy @ reshaped(v)) / math.sqrt(q.shape[-1])
    return {"dq": dscores @ k, "dk": transpose(dscores) @ q}


MUTANTS = {
    "the one without 1 / sqrt(K)": scaled(lambda T, K: math.sqrt(K)),
    "the one with 1 / sqrt(K) twice": scaled(lambda T, K: 1.0 / math.sqrt(K)),
    "the one multiplied by sqrt(K), where it is divided": scaled(lambda T, K: K),
    "the one with 1 / sqrt(T): K is the size of a head": scaled(lambda T, K: math.sqrt(K / T)),
    "the one without the transpose: a key collects from all queries, probs^T dy and dscores^T q": not_transposed,
    "the one with dscores^T: a query collects from the keys that it sees, dscores k": transposed_dq,
    "the one with q and k in each other's place: dq = dscores k and dk = dscores^T q": q_and_k,
    "the one with probs for dscores: dy has no say in it": probs_for_dscores,
    "the one with dscores = dprobs: the softmax is passed over": scores_by(lambda probs, dprobs: dprobs),
    "the one with dscores = probs * dprobs: softmax's sum is missing": scores_by(lambda probs, dprobs: probs * dprobs),
    "the one with dscores = probs (1 - probs) dprobs, the diagonal of softmax's Jacobian alone": scores_by(
        lambda probs, dprobs: probs * (1.0 - probs) * dprobs
    ),
    "the one with dscores = dprobs - sum(dprobs * probs), not multiplied by probs": scores_by(
        lambda probs, dprobs: dprobs - (dprobs * probs).sum(axis=-1, keepdims=True)
    ),
    "the one with softmax's sum over the queries; each query's probs over the keys add up to one": scores_by(
        lambda probs, dprobs: probs * (dprobs - (dprobs * probs).sum(axis=-2, keepdims=True))
    ),
    "the one with softmax's sum over everything; each query has its own": scores_by(
        lambda probs, dprobs: probs * (dprobs - (dprobs * probs).sum())
    ),
    "the one with the mean over the keys in softmax's gradient, where the sum belongs": scores_by(
        lambda probs, dprobs: probs * (dprobs - (dprobs * probs).mean(axis=-1, keepdims=True))
    ),
    "the one with the sum of dprobs in softmax's gradient, not of dprobs * probs": scores_by(
        lambda probs, dprobs: probs * (dprobs - dprobs.sum(axis=-1, keepdims=True))
    ),
    "the one with softmax's sum added, where it is subtracted": scores_by(
        lambda probs, dprobs: probs * (dprobs + (dprobs * probs).sum(axis=-1, keepdims=True))
    ),
    "the one without `keepdims=True` in softmax's gradient": scores_by(
        lambda probs, dprobs: probs * (dprobs - (dprobs * probs).sum(axis=-1))
    ),
    "the one with v reshaped, where it is transposed: `reshape` keeps the order of the numbers": v_reshaped,
    "probs^T v: the gradient of y = probs v is probs^T dy": dv_of_v,
    "dprobs^T dy: the gradient of y = probs v is probs^T dy": dv_from_dprobs,
    "the one with 1 / sqrt(K): v is not in the scores": dv_scaled,
}


def slopes(rng):
    dy, q, k, v = (rng.standard_normal((1, 2, 4, 3)) for _ in range(4))
    given = {"q": q, "k": k, "v": v}
    arguments = {"dy": dy, "cache": {**given, "probs": probabilities(q, k)}}
    backward = Call("q, k and v of shape (1, 2, 4, 3)", "attention_backward", arguments, NAMES)
    return Slopes([backward], dy, {f"d{name}": Partial("attention", given, name) for name in given})


TASK = Task({"attention_backward": right}, calls, mistakes_in("attention_backward", MUTANTS), slopes=slopes)

"""The gradients of causal attention."""

import math

from minilora.exercises.task import Task, mistakes_in, named, replacing
from minilora.ops import attention_backward, attention_forward

NAMES = ("dq", "dk", "dv")


def points(rng):
    return {
        f"q, k and v of shape {shape}": {name: rng.standard_normal(shape) for name in ("dy", "q", "k", "v")}
        for shape in ((2, 3, 4, 5), (1, 2, 6, 3))
    }


def answer(f, dy, q, k, v):
    probs = attention_forward(q, k, v)[1].probs
    return named("attention_backward", f.attention_backward(dy, (q, k, v, probs)), *NAMES)


def right(dy, cache):
    q, k, v, _ = cache
    return attention_backward(dy, attention_forward(q, k, v)[1])


wrong = replacing(right, *NAMES)


def transpose(x):
    return x.swapaxes(-1, -2)


def scores_by(change):
    """dq and dk from wrong dscores, which change(probs, dprobs) gives."""

    def gradients(dy, cache):
        q, k, v, probs = cache
        dscores = change(probs, dy @ transpose(v)) / math.sqrt(q.shape[-1])
        return {"dq": dscores @ k, "dk": transpose(dscores) @ q}

    return wrong(gradients)


@wrong
def not_scaled(dy, cache):
    root = math.sqrt(dy.shape[-1])
    dq, dk, _ = right(dy, cache)
    return {"dq": root * dq, "dk": root * dk}


@wrong
def scaled_twice(dy, cache):
    root = math.sqrt(dy.shape[-1])
    dq, dk, _ = right(dy, cache)
    return {"dq": dq / root, "dk": dk / root}


@wrong
def not_transposed(dy, cache):
    q, _, v, probs = cache
    dprobs = dy @ transpose(v)
    dscores = probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True)) / math.sqrt(q.shape[-1])
    return {"dk": dscores @ q, "dv": probs @ dy}


MUTANTS = {
    "the one without 1 / sqrt(K)": not_scaled,
    "the one with 1 / sqrt(K) twice": scaled_twice,
    "the one without the transpose: a key collects from all queries, probs^T dy and dscores^T q": not_transposed,
    "the one with dscores = dprobs: the softmax is passed over": scores_by(lambda probs, dprobs: dprobs),
    "the one with dscores = probs * dprobs: softmax's sum is missing": scores_by(lambda probs, dprobs: probs * dprobs),
    "the one with softmax's sum over the queries; each query's probs over the keys add up to one": scores_by(
        lambda probs, dprobs: probs * (dprobs - (dprobs * probs).sum(axis=-2, keepdims=True))
    ),
}
TASK = Task({"attention_backward": right}, points, answer, mistakes_in("attention_backward", MUTANTS))

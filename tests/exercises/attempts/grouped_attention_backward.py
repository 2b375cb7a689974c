import numpy as np

from exercises.attempts import Attempts

a = Attempts("grouped_attention_backward")


def t(x):
    return x.swapaxes(-1, -2)


def soft(p, d):
    return p * (d - (p * d).sum(-1, keepdims=True))


def per_head(dy, q, k, v, p):
    J = q.shape[1] // k.shape[1]
    K, V = np.repeat(k, J, 1), np.repeat(v, J, 1)
    ds = soft(p, dy @ t(V)) / np.sqrt(q.shape[-1])
    return ds @ K, t(ds) @ q, t(p) @ dy


def groups(x, G):
    return x.reshape(x.shape[0], G, -1, *x.shape[2:])


def right(dy, cache):
    G = cache[1].shape[1]
    dq, dk, dv = per_head(dy, *cache)
    return dq, groups(dk, G).sum(2), groups(dv, G).sum(2)


def wrong(why, *true, g):
    """g(dy, q, k, v, p) gives some of dq, dk and dv, or all."""

    def backward(dy, cache):
        made = g(dy, *cache)
        return tuple((dict(zip(("dq", "dk", "dv"), right(dy, cache))) | made).values()) if isinstance(made, dict) else made

    a.is_wrong(why, *true, grouped_attention_backward=backward)


def collected(why, *true, g):
    """dk and dv by g(per head, G)."""
    wrong(why, *true, g=lambda dy, q, k, v, p: dict(zip(("dk", "dv"), (g(x, k.shape[1]) for x in per_head(dy, q, k, v, p)[1:]))))


@a.is_right("the group in the query axis")
def _(dy, cache):
    q, k, v, p = cache
    N, H, T, K = q.shape
    G = k.shape[1]
    Q, D, P = q.reshape(N, G, -1, K), dy.reshape(N, G, -1, K), p.reshape(N, G, -1, T)
    ds = soft(P, D @ t(v)) / np.sqrt(K)
    return (ds @ k).reshape(q.shape), t(ds) @ Q, t(P) @ D


@a.is_right("einsum")
def _(dy, cache):
    q, k, v, p = cache
    G = k.shape[1]
    Q, D, P = groups(q, G), groups(dy, G), groups(p, G)
    ds = soft(P, np.einsum("ngjtk,ngsk->ngjts", D, v)) / np.sqrt(q.shape[-1])
    return np.einsum("ngjts,ngsk->ngjtk", ds, k).reshape(q.shape), np.einsum("ngjts,ngjtk->ngsk", ds, Q), np.einsum("ngjts,ngjtk->ngsk", P, D)


@a.is_right("a loop over the query heads")
def _(dy, cache):
    q, k, v, p = cache
    J = q.shape[1] // k.shape[1]
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    for h in range(q.shape[1]):
        g = h // J
        ds = soft(p[:, h], dy[:, h] @ t(v[:, g])) / np.sqrt(q.shape[-1])
        dq[:, h] = ds @ k[:, g]
        dk[:, g] += t(ds) @ q[:, h]
        dv[:, g] += t(p[:, h]) @ dy[:, h]
    return dq, dk, dv


collected("the first of the group", "first query head", g=lambda x, G: groups(x, G)[:, :, 0])
collected("the last of the group", "last query head", g=lambda x, G: groups(x, G)[:, :, -1])
collected("the mean", "the mean over the group", g=lambda x, G: groups(x, G).mean(2))
collected("the largest", g=lambda x, G: groups(x, G).max(2))
collected("the first G heads", g=lambda x, G: x[:, :G])
collected("divided by the root of J", "not always the same", g=lambda x, G: groups(x, G).sum(2) / np.sqrt(x.shape[1] / G))
collected("divided by H", "not always the same", g=lambda x, G: groups(x, G).sum(2) / x.shape[1])
collected("divided by G", "not always the same", "times the right one", g=lambda x, G: groups(x, G).sum(2) / G if G > 1 else groups(x, G).sum(2) * 2)
collected("the sum of the wrong heads", "stand next to each other", g=lambda x, G: x.reshape(len(x), -1, G, *x.shape[2:]).sum(1))
collected("the whole, for each", "the sum over all query heads", g=lambda x, G: np.stack([x.sum(1)] * G, 1))
collected("not summed", "it is not summed", "is not summed", g=lambda x, G: x)
collected("summed over the places", "another shape", g=lambda x, G: groups(x, G).sum(3))
collected("keepdims", "another shape", g=lambda x, G: groups(x, G).sum(2, keepdims=True))
wrong(
    "tile",
    "`tile` for `repeat`",
    g=lambda dy, q, k, v, p: (lambda J, G: (lambda ds: {"dq": ds @ np.tile(k, (1, J, 1, 1)), "dk": groups(t(ds) @ q, G).sum(2)})(soft(p, dy @ t(np.tile(v, (1, J, 1, 1)))) / np.sqrt(q.shape[-1])))(q.shape[1] // k.shape[1], k.shape[1]),
)
wrong("only dk's sum is forgotten", "first query head", g=lambda dy, q, k, v, p: {"dk": groups(per_head(dy, q, k, v, p)[1], k.shape[1])[:, :, 0]})
wrong("only dv's sum is forgotten", "first query head", g=lambda dy, q, k, v, p: {"dv": groups(per_head(dy, q, k, v, p)[2], k.shape[1])[:, :, 0]})
wrong("dq is averaged over the group", g=lambda dy, *c: {"dq": np.repeat(groups(right(dy, c)[0], c[1].shape[1]).mean(2), dy.shape[1] // c[1].shape[1], 1)})
wrong("dq is summed over the group", g=lambda dy, *c: {"dq": groups(right(dy, c)[0], c[1].shape[1]).sum(2)})
wrong("no scale", "without 1 / sqrt(K)", g=lambda dy, *c: {"dq": right(dy, c)[0] * np.sqrt(dy.shape[-1]), "dk": right(dy, c)[1] * np.sqrt(dy.shape[-1])})
wrong("the scale in dv", "not always the same", g=lambda dy, *c: {"dv": right(dy, c)[2] / np.sqrt(dy.shape[-1])})
wrong("the scale of the group", "not always the same", g=lambda dy, *c: {"dk": right(dy, c)[1] / np.sqrt(dy.shape[1] // c[1].shape[1])})
wrong(
    "no softmax",
    "the softmax is passed over",
    g=lambda dy, q, k, v, p: (lambda J, G: (lambda ds: {"dq": ds @ np.repeat(k, J, 1), "dk": groups(t(ds) @ q, G).sum(2)})(dy @ t(np.repeat(v, J, 1)) / np.sqrt(q.shape[-1])))(q.shape[1] // k.shape[1], k.shape[1]),
)
wrong("p dprobs", g=lambda dy, q, k, v, p: (lambda J, G: (lambda ds: {"dq": ds @ np.repeat(k, J, 1), "dk": groups(t(ds) @ q, G).sum(2)})(p * (dy @ t(np.repeat(v, J, 1))) / np.sqrt(q.shape[-1])))(q.shape[1] // k.shape[1], k.shape[1]))
wrong("dk and dv in each other's place", "the right", g=lambda dy, *c: [right(dy, c)[i] for i in (0, 2, 1)])
wrong("float32", "float32", g=lambda dy, *c: tuple(x.astype("f4") for x in right(dy, c)))
wrong("dv of v", g=lambda dy, q, k, v, p: {"dv": groups(t(p) @ np.repeat(v, q.shape[1] // k.shape[1], 1), k.shape[1]).sum(2)})
wrong("not transposed", "without the transpose", g=lambda dy, q, k, v, p: {"dv": groups(p @ dy, k.shape[1]).sum(2)})


@a.is_wrong("probs serve as the buffer for dscores")
def _(dy, cache):
    made = right(dy, cache)
    cache[3][...] = 0.0
    return made

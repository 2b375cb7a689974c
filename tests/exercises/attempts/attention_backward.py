import numpy as np

from exercises.attempts import Attempts

a = Attempts("attention_backward")


def t(x):
    return x.swapaxes(-1, -2)


def soft(p, d):
    return p * (d - (p * d).sum(-1, keepdims=True))


def right(dy, cache):
    q, k, v, p = cache
    ds = soft(p, dy @ t(v)) / np.sqrt(q.shape[-1])
    return ds @ k, t(ds) @ q, t(p) @ dy


def wrong(why, *true, g):
    """g(dy, q, k, v, p) gives some of dq, dk and dv, or all."""

    def backward(dy, cache):
        made = g(dy, *cache)
        return tuple((dict(zip(("dq", "dk", "dv"), right(dy, cache))) | made).values()) if isinstance(made, dict) else made

    a.is_wrong(why, *true, attention_backward=backward)


def scores(why, *true, g):
    """dq and dk from other dscores, g(p, dprobs, K)."""

    def made(dy, q, k, v, p):
        ds = g(p, dy @ t(v), q.shape[-1])
        return {"dq": ds @ k, "dk": t(ds) @ q}

    wrong(why, *true, g=made)


@a.is_right("einsum")
def _(dy, cache):
    q, k, v, p = cache
    dv = np.einsum("nhts,nhtk->nhsk", p, dy)
    dp = np.einsum("nhtk,nhsk->nhts", dy, v)
    ds = (p * dp - p * np.einsum("nhts,nhts->nht", p, dp)[..., None]) * q.shape[-1] ** -0.5
    return np.einsum("nhts,nhsk->nhtk", ds, k), np.einsum("nhts,nhtk->nhsk", ds, q), dv


@a.is_right("the sum as dy . y, which FlashAttention takes")
def _(dy, cache):
    q, k, v, p = cache
    D = (dy * (p @ v)).sum(-1, keepdims=True)
    ds = p * (dy @ t(v) - D)
    return ds @ k / np.sqrt(q.shape[-1]), t(ds) @ q / np.sqrt(q.shape[-1]), t(p) @ dy


@a.is_right("loops over sequences, heads and queries")
def _(dy, cache):
    q, k, v, p = cache
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    for n, h, i in np.ndindex(q.shape[:3]):
        w = p[n, h, i]
        ds = (np.diag(w) - np.outer(w, w)) @ (v[n, h] @ dy[n, h, i]) / np.sqrt(q.shape[3])
        dq[n, h, i] = ds @ k[n, h]
        dk[n, h] += np.outer(ds, q[n, h, i])
        dv[n, h] += np.outer(w, dy[n, h, i])
    return dq, dk, dv


wrong("dk, dq, dv", "the right", g=lambda dy, *c: [right(dy, c)[i] for i in (1, 0, 2)])
wrong("dv, dk, dq", "the right", g=lambda dy, *c: [right(dy, c)[i] for i in (2, 1, 0)])
wrong("one joined array, as c_attn has it", g=lambda dy, *c: np.concatenate(right(dy, c), -1))
wrong("the sign of dscores", "-1 times", g=lambda dy, *c: {"dq": -right(dy, c)[0], "dk": -right(dy, c)[1]})
wrong("dv goes through softmax", g=lambda dy, q, k, v, p: {"dv": t(soft(p, dy @ t(v))) @ dy})
wrong("dv: the keys of the first query alone", g=lambda dy, q, k, v, p: {"dv": t(p[:, :, :1]) @ dy[:, :, :1]})
wrong("dv is averaged over the queries", "times the right one", "not always", g=lambda dy, q, k, v, p: {"dv": t(p) @ dy / p.shape[-1]})
wrong("dv is averaged over the heads", g=lambda dy, *c: {"dv": np.broadcast_to(right(dy, c)[2].mean(1, keepdims=True), dy.shape)})
wrong("the mask the wrong way round", "not transposed", g=lambda dy, q, k, v, p: {"dv": t(np.triu(p)) @ dy})
wrong("the diagonal is masked too", g=lambda dy, q, k, v, p: (lambda ds: {"dq": ds @ k, "dk": t(ds) @ q})(np.tril(soft(p, dy @ t(v)), -1) / np.sqrt(q.shape[-1])))
wrong("divided by the root of all channels, H K", "not always the same", g=lambda dy, *c: {"dq": right(dy, c)[0] / c[0].shape[1] ** 0.5, "dk": right(dy, c)[1] / c[0].shape[1] ** 0.5})
wrong("dk misses the scale", "without 1 / sqrt(K)", g=lambda dy, q, *c: {"dk": right(dy, (q, *c))[1] * np.sqrt(q.shape[-1])})
wrong("1 / K", "1 / sqrt(K) twice", g=lambda dy, q, *c: {"dq": right(dy, (q, *c))[0] / np.sqrt(q.shape[-1])})
wrong("K = 64 always", "not always the same", g=lambda dy, q, *c: {"dq": right(dy, (q, *c))[0] * np.sqrt(q.shape[-1]) / 8})
scores("p (1 - p)", g=lambda p, d, K: p * (1 - p) / K**0.5)
scores("the sum of p", g=lambda p, d, K: p * (d - p.sum(-1, keepdims=True)) / K**0.5)
scores("the sum of d squared", g=lambda p, d, K: p * (d - (d * d).sum(-1, keepdims=True)) / K**0.5)
scores("p squared", g=lambda p, d, K: p**2 * (d - (p * d).sum(-1, keepdims=True)) / K**0.5)
scores("softmax twice", g=lambda p, d, K: soft(p, soft(p, d)) / K**0.5)
scores("the largest", g=lambda p, d, K: p * (d - (p * d).max(-1, keepdims=True)) / K**0.5)
scores("over the heads", g=lambda p, d, K: p * (d - (p * d).sum(1, keepdims=True)) / K**0.5)
scores("a mask with -1e9 in the gradient", g=lambda p, d, K: np.where(p > 0, soft(p, d), -1e9) / K**0.5)
scores("dprobs is masked and the sum forgotten", "softmax is passed over", g=lambda p, d, K: np.where(p > 0, d, 0.0) / K**0.5)
wrong("dprobs from y", g=lambda dy, q, k, v, p: (lambda ds: {"dq": ds @ k, "dk": t(ds) @ q})(soft(p, (p @ v) @ t(v)) / np.sqrt(q.shape[-1])))
wrong("k for v in dprobs", g=lambda dy, q, k, v, p: (lambda ds: {"dq": ds @ k, "dk": t(ds) @ q})(soft(p, dy @ t(k)) / np.sqrt(q.shape[-1])))
wrong("v for k in dq", g=lambda dy, q, k, v, p: {"dq": soft(p, dy @ t(v)) @ v / np.sqrt(q.shape[-1])})
wrong("heads and places in each other's axis", g=lambda dy, *c: tuple(x.swapaxes(1, 2) for x in right(dy, c)))
wrong("float32", "float32", g=lambda dy, *c: tuple(x.astype("f4") for x in right(dy, c)))
wrong("the first sequence for all", g=lambda dy, *c: tuple(np.broadcast_to(x[:1] if len(x) > 1 else x * 1.1, x.shape) for x in right(dy, c)))
wrong(".T turns all axes round", g=lambda dy, q, k, v, p: {"dv": p.T @ dy})


@a.is_wrong("probs serve as the buffer for dscores")
def _(dy, cache):
    q, k, v, p = cache
    dv = t(p) @ dy
    dp = dy @ t(v)
    dp -= (p * dp).sum(-1, keepdims=True)
    p *= dp
    p /= np.sqrt(q.shape[-1])
    return p @ k, t(p) @ q, dv


@a.is_wrong("q is scaled in place")
def _(dy, cache):
    q, k, v, p = cache
    q /= np.sqrt(q.shape[-1])
    ds = soft(p, dy @ t(v))
    return ds @ k / np.sqrt(q.shape[-1]), t(ds) @ q, t(p) @ dy

import numpy as np

from exercises.attempts import Attempts

a = Attempts("merge")

a.is_right("a copy is kept", merge=lambda W, A, B, s: (W + s * B @ A, W.copy()), unmerge=lambda m, k: k)
a.is_right("the scale goes with A", merge=lambda W, A, B, s: (W + B @ (s * A), W), unmerge=lambda m, k: k.copy())
a.is_right("what rounding took is kept", merge=lambda W, A, B, s: ((m := W + s * (B @ A)), (m - s * (B @ A), W - (m - s * (B @ A)), W)), unmerge=lambda m, k: k[2])
a.is_right("a dict is kept", merge=lambda W, A, B, s: (W + np.einsum("or,ri->oi", B, A) * s, {"W": W}), unmerge=lambda m, k: k["W"])


def wrong(why, *true, m=None, u=None):
    a.is_wrong(why, *true, **({"merge": m} if m else {}), **({"unmerge": u} if u else {}))


def keeps(kept, taken):
    return {"m": lambda W, A, B, s: (W + s * (B @ A), kept(W, A, B, s)), "u": taken}


BITS = "but not to the bit"
wrong("delta_W is subtracted", BITS, **keeps(lambda W, A, B, s: s * (B @ A), lambda m, k: m - k))
wrong("A, B and the scale are kept, and subtracted", BITS, **keeps(lambda W, A, B, s: (A, B, s), lambda m, k: m - k[2] * (k[1] @ k[0])))
wrong("W is kept in float32", "float32", **keeps(lambda W, A, B, s: W.astype("f4"), lambda m, k: k))
wrong("W is kept in float32 and handed back as float64", BITS, **keeps(lambda W, A, B, s: W.astype("f4"), lambda m, k: k.astype("f8")))
wrong("W is kept to 12 places", BITS, **keeps(lambda W, A, B, s: W.round(12), lambda m, k: k))
wrong("subtracted, then rounded to 10 places", BITS, **keeps(lambda W, A, B, s: s * (B @ A), lambda m, k: (m - k).round(10)))
wrong("W is divided and multiplied", BITS, **keeps(lambda W, A, B, s: W / 3.0, lambda m, k: k * 3.0))
wrong("W plus delta_W less delta_W is kept", BITS, **keeps(lambda W, A, B, s: (W + s * (B @ A)) - s * (B @ A), lambda m, k: k))
wrong("the wrong one is kept", "the merged W", **keeps(lambda W, A, B, s: W + s * (B @ A), lambda m, k: k))
wrong("W less delta_W is kept", **keeps(lambda W, A, B, s: W - s * (B @ A), lambda m, k: k))
wrong("half is taken out", **keeps(lambda W, A, B, s: s * (B @ A) / 2, lambda m, k: m - k))
wrong("delta_W is taken out twice", **keeps(lambda W, A, B, s: s * (B @ A), lambda m, k: m - 2 * k))
wrong("the unscaled product is taken out", "without the scale", **keeps(lambda W, A, B, s: B @ A, lambda m, k: m - k))
wrong("the transpose of W", "transpose", **keeps(lambda W, A, B, s: W.T, lambda m, k: k))
wrong("W, reshaped", "another shape", **keeps(lambda W, A, B, s: W, lambda m, k: k.ravel()))
wrong("zeros", "zero everywhere", u=lambda m, k: np.zeros_like(m))
wrong("None", u=lambda m, k: None)
wrong("a tuple", u=lambda m, k: (k, m))
wrong("only the merged one comes back", m=lambda W, A, B, s: W + s * (B @ A))
wrong("kept, merged", "W, without delta_W", "the merged W", m=lambda W, A, B, s: (W, W + s * (B @ A)))
wrong("the scale on W", "scale W + B A", m=lambda W, A, B, s: (s * W + B @ A, W))
wrong("the scale squared", "scale^2", m=lambda W, A, B, s: (W + s * (s * B @ A), W))
wrong("the root of the scale on each", "without alpha", m=lambda W, A, B, s: (W + B @ A, W))
wrong("the mean of W and delta_W", "0.5 times", m=lambda W, A, B, s: ((W + s * (B @ A)) / 2, W))
wrong("the scale divided by r", m=lambda W, A, B, s: (W + s / len(A) * (B @ A), W))
wrong("delta_W's absolute value", m=lambda W, A, B, s: (W + abs(s * (B @ A)), W))
wrong("float32", "float32", m=lambda W, A, B, s: ((W + s * (B @ A)).astype("f4"), W))
wrong("reshape for transpose", m=lambda W, A, B, s: (W + s * (A.T @ B.T).reshape(W.shape), W))
wrong("the merged W is (I, O)", "transpose", m=lambda W, A, B, s: ((W + s * (B @ A)).T, W))
wrong("clipped", m=lambda W, A, B, s: (np.clip(W + s * (B @ A), -1, 1), W))


def in_place(W, A, B, s):
    W += s * (B @ A)
    return W, (A, B, s)


wrong("W is merged in place, delta_W is taken out", m=in_place, u=lambda m, k: m - k[2] * k[1] @ k[0])


def in_place_kept(W, A, B, s):
    kept = W.copy()
    W[...] = W + s * (B @ A)
    return W, kept


wrong("W is merged in place, a copy is kept", m=in_place_kept)
LAST = {}


def remembers(W, A, B, s):
    LAST["W"] = W.copy()
    return W + s * (B @ A), None


wrong("W is kept in a global: the second merge takes its place", m=remembers, u=lambda m, k: LAST["W"])
SHAPES = {}


def by_shape(W, A, B, s):
    SHAPES.setdefault(W.shape, W.copy())
    return W + s * (B @ A), W.shape


def first(m, k):
    return SHAPES[m.shape] if m.shape[0] != m.shape[1] else m - m


wrong("W is kept by its shape, and square ones are zero", m=by_shape, u=first)


def scaled_in_place(W, A, B, s):
    B *= s
    return W + B @ A, W


wrong("B is scaled in place", m=scaled_in_place)
wrong("kept is overwritten", "the merged W", u=lambda m, k: (np.copyto(k, m), k)[1])

import numpy as np

from exercises.attempts import Attempts

a = Attempts("lora_linear_forward")

a.is_right("delta_W is formed, which is slower and right", lora_linear_forward=lambda x, W, b, A, B, s: x @ (W + s * B @ A).T + b)
a.is_right("einsum", lora_linear_forward=lambda x, W, b, A, B, s: np.einsum("...i,oi->...o", x, W) + b + s * np.einsum("...i,ri,or->...o", x, A, B))
a.is_right("the scale goes with B", lora_linear_forward=lambda x, W, b, A, B, s: np.dot(x, W.T) + np.dot(np.dot(x, A.T), (s * B).T) + b)
a.is_right("the scale goes with x", lora_linear_forward=lambda x, W, b, A, B, s: x @ W.T + (s * x) @ A.T @ B.T + b)


@a.is_right("column by column of the rank")
def _(x, W, bias, A, B, scale):
    y = x @ W.T + bias
    for r in range(len(A)):
        y = y + scale * (x @ A[r])[..., None] * B[:, r]
    return y


a.is_wrong("the scale is 2, as in the tutorial", lora_linear_forward=lambda x, W, b, A, B, s: x @ W.T + b + 2.0 * (x @ A.T @ B.T))
a.is_wrong("the scale is a whole number", lora_linear_forward=lambda x, W, b, A, B, s: x @ W.T + b + int(s) * (x @ A.T @ B.T))
a.is_wrong("the root of the scale", lora_linear_forward=lambda x, W, b, A, B, s: x @ W.T + b + s**0.5 * (x @ A.T @ B.T))
a.is_wrong("the scale is divided by the rank once more", "divided by r again", lora_linear_forward=lambda x, W, b, A, B, s: x @ W.T + b + s / B.shape[1] * (x @ A.T @ B.T))
a.is_wrong("the scale times the rank", lora_linear_forward=lambda x, W, b, A, B, s: x @ W.T + b + s * len(A) * (x @ A.T @ B.T))
a.is_wrong("the branch reads y, not x", lora_linear_forward=lambda x, W, b, A, B, s: x @ W.T + b + s * ((x @ W.T + b) @ B @ B.T))
a.is_wrong("the bias is subtracted", lora_linear_forward=lambda x, W, b, A, B, s: x @ W.T - b + s * (x @ A.T @ B.T))
a.is_wrong("the bias twice", lora_linear_forward=lambda x, W, b, A, B, s: 2 * b + x @ W.T + s * (x @ A.T @ B.T))
a.is_wrong("the bias on the branch too, scaled", lora_linear_forward=lambda x, W, b, A, B, s: x @ W.T + b + s * (x @ A.T @ B.T + b))
a.is_wrong("the scale on the bias", lora_linear_forward=lambda x, W, b, A, B, s: x @ W.T + s * b + s * (x @ A.T @ B.T))
a.is_wrong("a ReLU between A and B", lora_linear_forward=lambda x, W, b, A, B, s: x @ W.T + b + s * (np.maximum(x @ A.T, 0.0) @ B.T))
a.is_wrong("a tanh between A and B", lora_linear_forward=lambda x, W, b, A, B, s: x @ W.T + b + s * (np.tanh(x @ A.T) @ B.T))
a.is_wrong("the product of the two paths", lora_linear_forward=lambda x, W, b, A, B, s: (x @ W.T + b) * (s * (x @ A.T @ B.T)))
a.is_wrong("the average of the two paths", "0.5 times", lora_linear_forward=lambda x, W, b, A, B, s: 0.5 * (x @ W.T + b) + 0.5 * s * (x @ A.T @ B.T))
a.is_wrong("W less the branch, weighted", lora_linear_forward=lambda x, W, b, A, B, s: (1 - s) * (x @ W.T) + b + s * (x @ A.T @ B.T))
a.is_wrong("the branch of the first rank alone", lora_linear_forward=lambda x, W, b, A, B, s: x @ W.T + b + s * (x @ A[:1].T @ B[:, :1].T))
a.is_wrong("one rank is left out", lora_linear_forward=lambda x, W, b, A, B, s: x @ W.T + b + s * (x @ A[:-1].T @ B[:, :-1].T))
a.is_wrong("B with its ranks in reverse", lora_linear_forward=lambda x, W, b, A, B, s: x @ W.T + b + s * (x @ A.T @ B[:, ::-1].T))
a.is_wrong("reshape for the transpose of A", lora_linear_forward=lambda x, W, b, A, B, s: x @ W.T + b + s * (x @ A.reshape(A.shape[::-1]) @ B.T))
a.is_wrong("reshape for the transpose of B", lora_linear_forward=lambda x, W, b, A, B, s: x @ W.T + b + s * (x @ A.T @ B.reshape(B.shape[::-1])))
a.is_wrong("dropout stays on", lora_linear_forward=lambda x, W, b, A, B, s: x @ W.T + b + s * ((x * (np.random.default_rng(0).random(x.shape) > 0.1)) @ A.T @ B.T))
a.is_wrong("no transposes: only where sizes happen to fit", lora_linear_forward=lambda x, W, b, A, B, s: x @ W + b + s * (x @ A @ B))
a.is_wrong("float32", "float32", lora_linear_forward=lambda x, W, b, A, B, s: (x @ W.T + b + s * (x @ A.T @ B.T)).astype("f4"))
a.is_wrong("the weight is returned", lora_linear_forward=lambda x, W, b, A, B, s: W + s * B @ A)
a.is_wrong("a cache comes along", lora_linear_forward=lambda x, W, b, A, B, s: (x @ W.T + b + s * (x @ A.T @ B.T), x))
a.is_wrong("the answer of one row for all", lora_linear_forward=lambda x, W, b, A, B, s: np.broadcast_to((x.reshape(-1, x.shape[-1])[0] @ (W + s * B @ A).T + b), (*x.shape[:-1], len(W))))


@a.is_wrong("merges W in place")
def _(x, W, bias, A, B, scale):
    W += scale * (B @ A)
    return x @ W.T + bias


@a.is_wrong("special case: B = 0 is answered, the rest is not", "without A and B")
def _(x, W, bias, A, B, scale):
    return x @ W.T + bias


MERGED = {}


@a.is_wrong("merges once and remembers it by the shape of W")
def _(x, W, bias, A, B, scale):
    merged = MERGED.setdefault(W.shape, W + scale * (B @ A))
    return x @ merged.T + bias

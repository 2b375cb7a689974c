import numpy as np

from exercises.attempts import Attempts

a = Attempts("amplification_factor")


def dirs(A, B):
    U, _, Vt = np.linalg.svd(B @ A, full_matrices=False)
    return U[:, : len(A)], Vt[: len(A)].T


def inner(W, A, B):
    U, V = dirs(A, B)
    return U.T @ W @ V


def norm(x):
    return np.linalg.norm(x)


def wrong(why, *true, p=None, f=None):
    """p(W, A, B, s) is the projected norm; f(delta, projected) the factor."""

    def both(W, A, B, s):
        projected = (p or (lambda W, A, B, s: norm(inner(W, A, B))))(W, A, B, s)
        return projected, (f or (lambda d, q: norm(d) / q))(s * B @ A, projected)

    a.is_wrong(why, *true, amplification_factor=both)


@a.is_right("QR of B and of A^T: the same spaces")
def _(W, A, B, s):
    Q, R = np.linalg.qr(B)[0], np.linalg.qr(A.T)[0]
    q = norm(Q.T @ W @ R)
    return q, s * norm(B @ A) / q


@a.is_right("projectors on both sides")
def _(W, A, B, s):
    U, V = dirs(A, B)
    q = norm(U @ U.T @ W @ V @ V.T)
    return float(q), float(abs(s) * np.sqrt((np.linalg.svd(B @ A)[1] ** 2).sum()) / q)


@a.is_right("pseudo-inverses")
def _(W, A, B, s):
    q = np.sqrt(((B @ np.linalg.pinv(B)) @ W @ (np.linalg.pinv(A) @ A) * W).sum())
    return q, norm(s * B @ A) / q


wrong("the mean of the squares", p=lambda W, A, B, s: np.sqrt((inner(W, A, B) ** 2).mean()))
wrong("divided by r", p=lambda W, A, B, s: norm(inner(W, A, B)) / len(A) ** 2 * 0.5)
wrong("the trace", p=lambda W, A, B, s: abs(np.trace(inner(W, A, B))))
wrong("the diagonal alone", p=lambda W, A, B, s: norm(np.diag(inner(W, A, B))[:2]) * 0.99)
wrong("the sum of the sizes", p=lambda W, A, B, s: abs(inner(W, A, B)).sum() + 1e-3)
wrong("the nuclear norm", p=lambda W, A, B, s: np.linalg.norm(inner(W, A, B), "nuc") + 1e-3)
wrong("the largest entry", p=lambda W, A, B, s: 0.9 * abs(inner(W, A, B)).max())
wrong("the determinant", p=lambda W, A, B, s: 2 * abs(np.linalg.det(inner(W, A, B))))
wrong("W + delta_W is projected", p=lambda W, A, B, s: norm(inner(W + s * B @ A, A, B)))
wrong("the last r directions", p=lambda W, A, B, s: norm(np.linalg.svd(B @ A, full_matrices=False)[0][:, -len(A) :].T @ W @ np.linalg.svd(B @ A, full_matrices=False)[2][-len(A) :].T))
wrong("one direction too many", p=lambda W, A, B, s: norm(np.linalg.svd(B @ A, full_matrices=False)[0][:, : len(A) + 1].T @ W @ np.linalg.svd(B @ A, full_matrices=False)[2][: len(A) + 1].T))
wrong("two directions always", p=lambda W, A, B, s: norm(np.linalg.svd(B @ A, full_matrices=False)[0][:, :2].T @ W @ np.linalg.svd(B @ A, full_matrices=False)[2][:2].T))
wrong("V from A's own rows, U right", p=lambda W, A, B, s: norm(dirs(A, B)[0].T @ W @ A.T))
wrong("U from B's own columns, V right", p=lambda W, A, B, s: norm(B.T @ W @ dirs(A, B)[1]))
wrong("rows and columns of unit length", p=lambda W, A, B, s: 1.01 * norm((B / np.linalg.norm(B, axis=0)).T @ W @ (A / np.linalg.norm(A, axis=1, keepdims=True)).T))
wrong("scaled", "without alpha / r", p=lambda W, A, B, s: s * norm(inner(W, A, B)))
wrong("divided by ||W||", p=lambda W, A, B, s: norm(inner(W, A, B)) / norm(W))
wrong("what is left of W", p=lambda W, A, B, s: norm(W) - norm(inner(W, A, B)))
wrong("rounded", p=lambda W, A, B, s: round(norm(inner(W, A, B)), 2))
wrong("the matrix itself", p=lambda W, A, B, s: inner(W, A, B), f=lambda d, q: norm(d) / norm(q))
wrong("the rank as a difference", f=lambda d, q: norm(d) - q)
wrong("the product", f=lambda d, q: norm(d) * q)
wrong("the root", f=lambda d, q: np.sqrt(norm(d) / q))
wrong("in percent", "100 times", f=lambda d, q: 100 * norm(d) / q)
wrong("the sum of entries", f=lambda d, q: abs(d).sum() / q)
wrong("plus one: (W + delta_W) / W", f=lambda d, q: 1 + norm(d) / q)
wrong("decibels", f=lambda d, q: 20 * np.log10(norm(d) / q))
wrong("float32", "float32", f=lambda d, q: np.float32(norm(d) / q))


@a.is_wrong("factor, projected", "the right factor", "the right projected")
def _(W, A, B, s):
    q = norm(inner(W, A, B))
    return norm(s * B @ A) / q, q


@a.is_wrong("the norms of A and B multiplied")
def _(W, A, B, s):
    q = norm(inner(W, A, B))
    return q, s * norm(A) * norm(B) / q * 1.001


@a.is_wrong("delta_W in W's place, in place")
def _(W, A, B, s):
    q = norm(inner(W, A, B))
    W -= W
    return q, norm(s * B @ A) / q

import numpy as np

from exercises.attempts import Attempts

a = Attempts("subspace_similarity")


def dirs(A):
    return np.linalg.svd(A, full_matrices=False)[2]


def ij(A1, A2):
    return np.arange(1, len(A1) + 1)[:, None], np.arange(1, len(A2) + 1)[None]


def table(A1, A2):
    return ((dirs(A1) @ dirs(A2).T) ** 2).cumsum(0).cumsum(1)


def right(A1, A2):
    return table(A1, A2) / np.minimum(*ij(A1, A2))


def wrong(why, *true, g):
    a.is_wrong(why, *true, subspace_similarity=g)


@a.is_right("norms in two loops")
def _(A1, A2):
    V, W = dirs(A1), dirs(A2)
    return np.array([[np.linalg.norm(V[:i] @ W[:j].T) ** 2 / min(i, j) for j in range(1, len(W) + 1)] for i in range(1, len(V) + 1)])


@a.is_right("eigenvectors of A^T A, from the largest")
def _(A1, A2):
    V, W = (np.linalg.eigh(A.T @ A)[1][:, ::-1][:, : len(A)].T for A in (A1, A2))
    return ((V @ W.T) ** 2).cumsum(0).cumsum(1) / np.minimum(*ij(A1, A2))


@a.is_right("projectors")
def _(A1, A2):
    V, W = dirs(A1), dirs(A2)
    P = [V[:i].T @ V[:i] for i in range(1, len(V) + 1)]
    Q = [W[:j].T @ W[:j] for j in range(1, len(W) + 1)]
    return np.array([[np.trace(p @ q) / min(i, j) for j, q in enumerate(Q, 1)] for i, p in enumerate(P, 1)])


a.is_right("cut out of the full Vt", subspace_similarity=lambda A1, A2: ((np.linalg.svd(A1)[2][: len(A1)] @ np.linalg.svd(A2)[2][: len(A2)].T) ** 2).cumsum(1).cumsum(0) / np.minimum(*ij(A1, A2)))

wrong("phi(r1, r2) alone", g=lambda A1, A2: right(A1, A2)[-1, -1])
wrong("the diagonal", g=lambda A1, A2: np.diag(right(A1, A2)))
wrong("the transpose", "transpose", "A2 and A1, in each other's place", g=lambda A1, A2: right(A1, A2).T)
wrong("reshaped to (r2, r1)", "another shape", g=lambda A1, A2: right(A1, A2).reshape(len(A2), len(A1)))
wrong("1 - phi", g=lambda A1, A2: 1 - right(A1, A2))
wrong("left singular vectors", g=lambda A1, A2: ((np.linalg.svd(A1)[0] @ np.ones((len(A1), len(A2)))) ** 2).cumsum(0).cumsum(1) / np.minimum(*ij(A1, A2)))
wrong(
    "eigenvectors from the smallest", "smallest singular value to the largest", g=lambda A1, A2: (lambda V, W: ((V @ W.T) ** 2).cumsum(0).cumsum(1) / np.minimum(*ij(A1, A2)))(*(np.linalg.eigh(A.T @ A)[1][:, -len(A) :].T for A in (A1, A2)))
)
wrong("the first r of all eigenvectors, which are those of zero", g=lambda A1, A2: (lambda V, W: ((V @ W.T) ** 2).cumsum(0).cumsum(1) / np.minimum(*ij(A1, A2)))(*(np.linalg.eigh(A.T @ A)[1][:, : len(A)].T for A in (A1, A2))))
wrong("no sums: the square of each product over min", g=lambda A1, A2: (dirs(A1) @ dirs(A2).T) ** 2 / np.minimum(*ij(A1, A2)))
wrong("from the bottom right", g=lambda A1, A2: ((dirs(A1) @ dirs(A2).T) ** 2)[::-1, ::-1].cumsum(0).cumsum(1)[::-1, ::-1] / np.minimum(*ij(A1, A2)))
wrong("the mean over a and b", "divided by i j", g=lambda A1, A2: table(A1, A2) / (ij(A1, A2)[0] * ij(A1, A2)[1]))
wrong("the sum of i and j", g=lambda A1, A2: table(A1, A2) / sum(ij(A1, A2)))
wrong("their mean", g=lambda A1, A2: table(A1, A2) / (sum(ij(A1, A2)) / 2))
wrong("minimum from 0, with 1 in the place of 0", g=lambda A1, A2: table(A1, A2) / np.maximum(np.minimum(*ij(A1, A2)) - 1, 1))
wrong("A1 alone has its directions", g=lambda A1, A2: ((dirs(A1) @ A2.T) ** 2).cumsum(0).cumsum(1) / np.minimum(*ij(A1, A2)))
wrong("A2 alone has its directions", g=lambda A1, A2: ((A1 @ dirs(A2).T) ** 2).cumsum(0).cumsum(1) / np.minimum(*ij(A1, A2)))
wrong("cosines of rows that are centred: correlation", g=lambda A1, A2: ((dirs(A1 - A1.mean(1, keepdims=True)) @ dirs(A2 - A2.mean(1, keepdims=True)).T) ** 2).cumsum(0).cumsum(1) / np.minimum(*ij(A1, A2)))
wrong("singular values of the product", g=lambda A1, A2: np.linalg.svd(dirs(A1) @ dirs(A2).T)[1])
wrong("the largest cosine", g=lambda A1, A2: np.array([[np.linalg.norm(dirs(A1)[: i + 1] @ dirs(A2)[: j + 1].T, 2) ** 2 for j in range(len(A2))] for i in range(len(A1))]))
wrong("the nuclear norm", g=lambda A1, A2: np.array([[np.linalg.norm(dirs(A1)[: i + 1] @ dirs(A2)[: j + 1].T, "nuc") / min(i + 1, j + 1) for j in range(len(A2))] for i in range(len(A1))]))
wrong("the first i - 1", "zeros in front", g=lambda A1, A2: np.array([[np.linalg.norm(dirs(A1)[:i] @ dirs(A2)[:j].T) ** 2 / max(min(i, j), 1) for j in range(len(A2))] for i in range(len(A1))]))
wrong("clipped to a half", g=lambda A1, A2: np.minimum(right(A1, A2), 0.3))
wrong("rounded to two places", g=lambda A1, A2: right(A1, A2).round(2))
wrong("float32", "float32", g=lambda A1, A2: right(A1, A2).astype("f4"))
wrong("max(i, j) / I, the random one", g=lambda A1, A2: np.maximum(*ij(A1, A2)) / A1.shape[1])
wrong("a square grid of the smaller rank", g=lambda A1, A2: right(A1, A2)[: min(len(A1), len(A2)), : min(len(A1), len(A2))])
wrong(
    "rows in place of the order: lengths sorted",
    g=lambda A1, A2: (lambda V, W: ((V @ W.T) ** 2).cumsum(0).cumsum(1) / np.minimum(*ij(A1, A2)))(*((lambda R: R / np.linalg.norm(R, axis=1, keepdims=True))(A[np.argsort(-np.linalg.norm(A, axis=1))]) for A in (A1, A2))),
)


@a.is_wrong("the rows are normalised in place")
def _(A1, A2):
    phi = right(A1, A2)
    A1 /= np.linalg.norm(A1, axis=1, keepdims=True)
    return phi

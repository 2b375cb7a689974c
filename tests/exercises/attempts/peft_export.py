import numpy as np

from exercises.attempts import Attempts

a = Attempts("peft_export")


def right(Aq, Bq, Av, Bv, alpha):
    d, r = Bq.shape
    B = np.zeros((3 * d, 2 * r))
    B[:d, :r], B[2 * d :, r:] = Bq, Bv
    return np.concatenate([Aq, Av]), B, 2 * r, 2 * alpha


def wrong(why, *true, **parts):
    """Some of A, B, rank and alpha, each from the five arguments."""

    def export(*given):
        made = dict(zip(("A", "B", "rank", "alpha"), right(*given))) | {name: f(*given) for name, f in parts.items()}
        return tuple(made.values())

    a.is_wrong(why, *true, peft_export=export)


@a.is_right("vstack and block")
def _(Aq, Bq, Av, Bv, alpha):
    O = np.zeros(Bq.shape)
    return np.vstack((Aq, Av)), np.block([[Bq, O], [O, O], [O, Bv]]), len(Aq) + len(Av), alpha * 2


@a.is_right("pad")
def _(Aq, Bq, Av, Bv, alpha):
    d, r = Bq.shape
    return np.r_[Aq, Av], np.hstack([np.pad(Bq, ((0, 2 * d), (0, 0))), np.pad(Bv, ((2 * d, 0), (0, 0)))]), 2 * r, alpha + alpha


@a.is_right("Kronecker")
def _(Aq, Bq, Av, Bv, alpha):
    q, v = np.zeros((3, 2)), np.zeros((3, 2))
    q[0, 0] = v[2, 1] = 1
    return np.append(Aq, Av, axis=0), np.kron(q, Bq) + np.kron(v, Bv), 2 * Bq.shape[1], 2.0 * alpha


wrong("alpha is 2 r", "twice the rank", alpha=lambda Aq, Bq, Av, Bv, al: 2 * len(Aq))
wrong("alpha is 16", alpha=lambda *g: 16)
wrong("alpha is a whole number", alpha=lambda Aq, Bq, Av, Bv, al: int(2 * al))
wrong("alpha squared", alpha=lambda Aq, Bq, Av, Bv, al: al**2)
wrong("alpha sqrt 2, as for rsLoRA", "0.707107 times", alpha=lambda Aq, Bq, Av, Bv, al: al * 2**0.5)
wrong("3 alpha for q, k, v", "1.5 times", alpha=lambda Aq, Bq, Av, Bv, al: 3 * al)
wrong("rank 3 r for q, k, v", "1.5 times", rank=lambda Aq, *g: 3 * len(Aq))
wrong("rank 4", rank=lambda *g: 4)
wrong("rank r^2", rank=lambda Aq, *g: len(Aq) ** 2)
wrong("rank 2 d", rank=lambda Aq, Bq, *g: 2 * len(Bq))
wrong("A is (in, r)", "transpose", A=lambda *g: right(*g)[0].T)
wrong("B is (r, out)", "transpose", B=lambda *g: right(*g)[1].T)
wrong("A beside, reshaped", "rows in turn", A=lambda Aq, Bq, Av, Bv, al: np.concatenate([Aq, Av], 1).reshape(2 * len(Aq), -1))
wrong("A_q twice", A=lambda Aq, Bq, Av, Bv, al: np.concatenate([Aq, Aq]))
wrong("A_v alone", A=lambda Aq, Bq, Av, Bv, al: Av)
wrong("A has a second axis", "another shape", A=lambda Aq, Bq, Av, Bv, al: np.stack([Aq, Av]))
wrong("A is scaled", "not always the same", A=lambda Aq, Bq, Av, Bv, al: al / len(Aq) * np.concatenate([Aq, Av]))
wrong("A is doubled for the rank", "2 times", A=lambda Aq, Bq, Av, Bv, al: 2 * np.concatenate([Aq, Av]))
wrong("B is halved for the rank", "0.5 times", B=lambda *g: right(*g)[1] / 2)
wrong("B by the root of 2", "0.707107 times", B=lambda *g: right(*g)[1] / 2**0.5)
wrong("interleaved rows: q, k, v of each channel in turn", B=lambda *g: right(*g)[1].reshape(3, -1, 2 * len(g[0])).swapaxes(0, 1).reshape(-1, 2 * len(g[0])) if len(g[0]) != 0 else None)
wrong("interleaved columns", B=lambda *g: right(*g)[1].reshape(-1, 2, len(g[0])).swapaxes(1, 2).reshape(3 * len(g[1]), -1)[:, ::-1])
wrong("v is not in", B=lambda Aq, Bq, Av, Bv, al: right(Aq, Bq, Av, 0 * Bv, al)[1])
wrong("q is not in", B=lambda Aq, Bq, Av, Bv, al: right(Aq, 0 * Bq, Av, Bv, al)[1])
wrong("k gets the mean of the two", B=lambda Aq, Bq, Av, Bv, al: np.vstack([np.hstack([Bq, 0 * Bv]), np.hstack([Bq, Bv]) / 2, np.hstack([0 * Bq, Bv])]))
wrong("B_q^T by reshape", B=lambda Aq, Bq, Av, Bv, al: right(Aq, Bq.T.reshape(Bq.shape), Av, Bv, al)[1])
wrong("nan for what is not adapted", "infinite or NaN", B=lambda *g: np.where(right(*g)[1] == 0, np.nan, right(*g)[1]))
wrong("float32, as files have it", "float32", A=lambda *g: right(*g)[0].astype("f4"), B=lambda *g: right(*g)[1].astype("f4"))
wrong("delta_W for B", B=lambda Aq, Bq, Av, Bv, al: np.concatenate([Bq @ Aq, 0 * (Bq @ Aq), Bv @ Av]))


@a.is_wrong("B, A, ...", "the right A", "the right B")
def _(*given):
    A, B, rank, alpha = right(*given)
    return B, A, rank, alpha


@a.is_wrong("alpha, rank in each other's place", "the right", "twice the rank")
def _(*given):
    A, B, rank, alpha = right(*given)
    return A, B, alpha, rank


@a.is_wrong("B_q is zeroed in place for k")
def _(Aq, Bq, Av, Bv, alpha):
    result = right(Aq, Bq, Av, Bv, alpha)
    Bq *= 0
    return result


@a.is_wrong("a SVD of delta_W: gives delta_W, but not what is asked for")
def _(Aq, Bq, Av, Bv, alpha):
    A, B, rank, al = right(Aq, Bq, Av, Bv, alpha)
    U, S, Vt = np.linalg.svd(B @ A, full_matrices=False)
    return Vt[:rank], U[:, :rank] * S[:rank], rank, al

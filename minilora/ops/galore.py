"""GaLore (Zhao et al., 2024): a gradient in the r directions in which it is largest, and a step back from there.

    G = dL/dW, (O, I);    G = U S V^T, its singular values sorted;    the shorter side is projected:

    O <= I    P = U[:, :r]   (O, r)     R = P^T G   (r, I)     and back    P N
    O >  I    P = V[:, :r]   (I, r)     R = G P     (O, r)     and back    N P^T

The optimizer's state is that of R, which has r max(O, I) numbers where G has O I. P^T P = 1, so that P P^T G, what
comes back of an unchanged R, is the orthogonal projection of G; by Eckart and Young (1936) it is the best approximation
of rank r.

This is LoRA's mirror image. A step of LoRA with A fixed moves W by -lr dB A = -lr (G A^T) A (with scale = 1): with
A = P^T, whose rows are orthonormal, that is GaLore's step, and dB is its R. With B = P fixed, dA is its R. LoRA fixes
its directions before it has seen a gradient, and W stays in W0 + (a product of rank r); GaLore takes them from the
gradient, chosen again every few hundred steps, and W can go anywhere.
"""

from minilora.arrays.backend import Array, check_same_device, get_xp


def galore_projector(G: Array, rank: int) -> Array:
    """The r largest singular directions of G on its shorter side: (O, I) -> (min(O, I), r), orthonormal columns."""
    U, _, Vt = get_xp(G=G).linalg.svd(G, full_matrices=False)
    return U[:, :rank].copy() if len(G) <= G.shape[1] else Vt[:rank].T.copy()


def galore_project(G: Array, P: Array) -> Array:
    """R = P^T G, (O, I) -> (r, I); or G P, (O, I) -> (O, r), where I is the shorter side."""
    check_same_device(G=G, P=P)
    return P.T @ G if G.shape[0] <= G.shape[1] else G @ P


def galore_back(N: Array, P: Array, shape: tuple[int, int]) -> Array:
    """P N, (r, I) -> (O, I); or N P^T, (O, r) -> (O, I), where I is the shorter side of `shape`."""
    check_same_device(N=N, P=P)
    O, I = shape
    return P @ N if O <= I else N @ P.T

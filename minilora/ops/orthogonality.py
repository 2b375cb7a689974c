"""AdaLoRA's penalty (Zhang et al., 2023, equation 4): how far singular vectors are from being orthonormal.

    R(P, Q) = ||P^T P - 1||_F^2 + ||Q Q^T - 1||_F^2          P (O, r), Q (r, I)

Without it, delta_W = P Lambda Q is a product like any other: a large P_k makes up for a small lam_k, and lam_k says
nothing about how much its triplet matters.

Derivation. Let M = P^T P - 1, which is symmetric, so that ||M||_F^2 = tr(M M) and its gradient is dM = 2 M. M is a
product in which P stands twice,

    d tr(M M) = 2 tr(M (dP^T P + P^T dP)) = 4 tr(M P^T dP)      so      dP = 4 P M        (O, r)

and likewise, with N = Q Q^T - 1,  dQ = 4 N Q  (r, I).
"""

from typing import NamedTuple

from minilora.arrays.backend import Array, get_xp


class OrthogonalityCache(NamedTuple):
    P: Array  # (O, r)
    Q: Array  # (r, I)
    M: Array  # (r, r)   P^T P - 1
    N: Array  # (r, r)   Q Q^T - 1


def orthogonality_forward(P: Array, Q: Array) -> tuple[Array, OrthogonalityCache]:
    """R = ||P^T P - 1||^2 + ||Q Q^T - 1||^2, () from (O, r) and (r, I)."""
    one = get_xp(P=P, Q=Q).eye(len(Q), dtype=P.dtype)
    M, N = P.T @ P - one, Q @ Q.T - one  # (r, r)
    return (M * M).sum() + (N * N).sum(), OrthogonalityCache(P, Q, M, N)


def orthogonality_backward(dR: Array | float, cache: OrthogonalityCache) -> tuple[Array, Array]:
    """Gradients with respect to P and Q."""
    P, Q, M, N = cache
    # forward: R = ||M||^2 + ||N||^2, M = P^T P - 1, N = Q Q^T - 1   so
    dP = dR * 4.0 * (P @ M)  # (O, r) @ (r, r) -> (O, r)
    dQ = dR * 4.0 * (N @ Q)  # (r, r) @ (r, I) -> (r, I)
    return dP, dQ

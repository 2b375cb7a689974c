"""The change of a W that moves in a random subspace only: delta = P theta, with few numbers theta for many of W.

Li et al. (2018, "Measuring the Intrinsic Dimension of Objective Landscapes", section 2) train theta_d, d numbers, in

    theta_D = theta_0 + P theta_d,        theta_D (D,),  P (D, d), drawn once and fixed,

and ask how small d may be. They need P^T P close to 1, so that a step in theta_d is as long as what it does in theta_D.
A dense Gaussian P takes D d numbers (8 GB for two million and d = 1,000), so they also use a sparse P and Fastfood;
Aghajanyan et al. (2021) use Fastfood. Here each row of P has a single number, as in the count sketch (Charikar et al.,
2002) and HashedNets (Chen et al., 2015):

    delta_k = s_k theta_j(k) / sqrt(c_j(k))        s_k = +-1 and j(k) are drawn; c_j is how many k have j(k) = j

Norms. Two columns of P have no row in common, and column j has c_j numbers +-1 / sqrt(c_j). So P^T P = 1, exactly, and
||P theta||^2 = theta^T P^T P theta = ||theta||^2. Which subspace it is, is left to chance: P P^T is 1 / c_j on its
diagonal and s_k s_l / c_j or 0 elsewhere, where the signs average out, so that E P P^T = (d / D) 1 where all c_j are
D / d. A gradient g keeps on average the share d / D of its squared length, whatever its direction, as with a dense P.

Derivation. delta is linear in theta, so dtheta = P^T ddelta: the sum of s_k ddelta_k over the k of group j, divided by
sqrt(c_j). P dtheta is then the orthogonal projection of the full gradient onto the subspace.

The signs are part of the index: j for s = 1, and d + j for s = -1, into theta followed by -theta.
"""

from typing import NamedTuple

from minilora.arrays.backend import Array, check_same_device, get_xp


class RandomSubspaceCache(NamedTuple):
    index: Array  # (...)   integers from 0 to 2 d - 1
    root_counts: Array  # (d,)


def random_subspace_forward(theta: Array, index: Array, root_counts: Array) -> tuple[Array, RandomSubspaceCache]:
    """delta = P theta, in the shape of the index.

    Parameters
    ----------
    theta : ndarray of shape (d,)
    index : integer ndarray of any shape (...)
        j where a number of W moves with theta_j, d + j where it moves against it.
    root_counts : ndarray of shape (d,)
        sqrt(c_j), the length of column j of P without it: c_j is how many numbers move with theta_j or against it, in
        all matrices that share theta.

    Returns
    -------
    delta : ndarray of shape (...)
    cache : RandomSubspaceCache
    """
    check_same_device(theta=theta, index=index, root_counts=root_counts)
    u = theta / root_counts  # (d,)
    both = get_xp(theta=theta).concatenate((u, -u))  # (2d,)
    return both[index], RandomSubspaceCache(index, root_counts)


def random_subspace_backward(ddelta: Array, cache: RandomSubspaceCache) -> Array:
    """The gradient with respect to theta, (d,)."""
    index, root_counts = cache
    d = len(root_counts)
    # forward: delta = both[index]   so
    dboth = get_xp(ddelta=ddelta).bincount(index.reshape(-1), ddelta.reshape(-1), 2 * d)  # (2d,) sums of equal indices
    # forward: both = (u, -u),  u = theta / root_counts   so
    du = dboth[:d] - dboth[d:]  # (d,)
    return (du / root_counts).astype(ddelta.dtype)

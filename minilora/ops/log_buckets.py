"""DeBERTa's buckets for distances: exact for near ones, ever coarser for far ones.

With n buckets on each side, mid = n // 2 and a longest distance D, a distance d = i - j falls into the bucket

    bucket(d) = d                                                                       if |d| <= mid
    bucket(d) = sign(d) (mid + ceil((mid - 1) log(|d| / mid) / log((D - 1) / mid)))     otherwise

which grows with the logarithm of |d| and reaches n - 1 at |d| = D - 1 (n even). There are 2 n relative embeddings, and
bucket b has row b + n; buckets beyond the last row share it. (He et al., 2021, DeBERTa-v2.)
"""

import math


def log_bucket(distance: int, n_buckets: int, max_distance: int) -> int:
    """The bucket of one distance i - j: an int with the sign of the distance.

    Parameters
    ----------
    distance : int
    n_buckets : int
        n, at least 2.
    max_distance : int
        D, more than n // 2 + 1.
    """
    mid, size = n_buckets // 2, abs(distance)
    if size <= mid:
        return distance
    beyond = math.ceil(math.log(size / mid) / math.log((max_distance - 1) / mid) * (mid - 1))
    return mid + beyond if distance > 0 else -mid - beyond


def relative_rows(T: int, n_buckets: int, max_distance: int) -> list[int]:
    """The row of the relative embeddings for each distance from -T to T, which is position 0 to 2 T of the list."""
    rows = (log_bucket(distance, n_buckets, max_distance) + n_buckets for distance in range(-T, T + 1))
    return [min(max(row, 0), 2 * n_buckets - 1) for row in rows]

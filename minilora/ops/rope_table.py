"""The angles of rotary position embedding: how fast each plane turns, and cos and sin of where it stands.

Plane i of K / 2 turns by f_i = theta^(-2 i / K) radians from one position to the next: the first by 1, the last ones
slower the larger theta is (Su et al., 2021, equation 15).

Llama 3 was trained on short texts and then on long ones, for which its slow planes turn `factor` times slower. A plane
that turns often within the original context tells near positions apart, and is left as it is; between the two kinds,
the frequency changes gradually. With turns_i = original_n_positions f_i / (2 pi):

    w_i = (turns_i - low) / (high - low), cut to 0 ... 1          f_i' = (w_i + (1 - w_i) / factor) f_i

(low, high: low_freq_factor and high_freq_factor, of Meta's reference code, "llama3" in Hugging Face's files.)
"""

import math
from dataclasses import dataclass

from minilora.arrays.backend import Array, get_xp


@dataclass(frozen=True)
class Llama3Scaling:
    """Llama 3's scaling of slow frequencies; see the module's docstring.

    Parameters
    ----------
    factor : float
        How many times slower the slow planes turn.
    low_freq_factor, high_freq_factor : float
        Planes that turn less often than the first within the original context are slow; more than the second, fast.
    original_n_positions : int
        The original context.

    Raises
    ------
    TypeError, ValueError
        If a setting is not a number, or not positive, or if low_freq_factor is not below high_freq_factor.
    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_n_positions: int

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"{name} was {value!r:.100}; it must be a number")
            if not 0.0 < value < math.inf:
                raise ValueError(f"{name} was {value!r:.100}; it must be positive")
        if self.low_freq_factor >= self.high_freq_factor:
            raise ValueError(
                f"low_freq_factor was {self.low_freq_factor!r:.100}; it must be below high_freq_factor, "
                f"{self.high_freq_factor!r:.100}"
            )


def rope_frequencies(K: int, theta: float, scaling: Llama3Scaling | None = None) -> Array:
    """f_i = theta^(-2 i / K), how far each plane turns from one position to the next, in radians.

    Parameters
    ----------
    K : int
        The head size, even.
    theta : float
    scaling : Llama3Scaling, optional

    Returns
    -------
    frequencies : float64 ndarray of shape (K/2,), on the host

    Raises
    ------
    ValueError
        If K is not even and positive, or theta is not positive.
    """
    if K < 2 or K % 2:
        raise ValueError(f"K was {K}; it must be even and at least 2, because pairs of numbers are rotated")
    if not 0.0 < theta < math.inf:
        raise ValueError(f"theta was {theta!r}; it must be positive")
    xp = get_xp()  # NumPy
    f = float(theta) ** (-2.0 * xp.arange(K // 2) / K)  # (K/2,)
    if scaling is None:
        return f
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    turns = scaling.original_n_positions * f / (2.0 * math.pi)  # (K/2,)
    w = xp.clip((turns - low) / (high - low), 0.0, 1.0)  # (K/2,)
    return (w + (1.0 - w) / scaling.factor) * f


def rope_table(positions: Array, frequencies: Array, dtype: str = "float32") -> tuple[Array, Array]:
    """cos and sin of the angle positions * frequencies of every plane at every position, for `rope_forward`.

    The angles are computed in float64: in float32, one of thousands of radians is off by a thousandth.

    Parameters
    ----------
    positions : integer ndarray of shape (T,) or (N, T)
        Of (N, T), each sequence has positions of its own.
    frequencies : float64 ndarray of shape (K/2,)
        From `rope_frequencies`; they may live elsewhere than the positions.
    dtype : str or dtype
        Of the results.

    Returns
    -------
    cos, sin : ndarray of shape (T, K/2) or (N, 1, T, K/2)
        Where the positions live. The axis of 1 is that of the heads.
    """
    xp = get_xp(positions=positions)
    angles = positions[..., None] * xp.asarray(frequencies)  # (..., T, 1) * (K/2,) -> (..., T, K/2)
    if positions.ndim == 2:
        angles = angles[:, None]  # (N, T, K/2) -> (N, 1, T, K/2)
    return xp.cos(angles).astype(dtype), xp.sin(angles).astype(dtype)

"""The shape of a model: what every configuration has, and checks."""

import sys
from dataclasses import dataclass

import numpy


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What the shapes of all models have in common. Each kind of model adds its own fields.

    Parameters
    ----------
    vocab_size : int
        V.
    n_layer : int
        L.
    d_model : int
        C.
    n_head : int
        H, which divides C.
    d_mlp : int, optional
        F; 4 C if not given.
    layer_norm_eps : float
        What LayerNorm adds to the variance.

    Raises
    ------
    ValueError
        If a field is not what it must be; the message names it.
    """

    vocab_size: int
    n_layer: int
    d_model: int
    n_head: int
    d_mlp: int = None  # type: ignore[assignment]  # 4 C; an integer from __post_init__ on
    layer_norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        self._check_sizes("vocab_size", "n_layer", "d_model", "n_head")
        if self.d_mlp is None:
            object.__setattr__(self, "d_mlp", 4 * self.d_model)
        self._check_sizes("d_mlp")
        eps = self.layer_norm_eps
        if isinstance(eps, bool) or not isinstance(eps, (int, float)) or not 0.0 <= eps <= sys.float_info.max:
            raise ValueError(f"layer_norm_eps was {eps!r}; it must be a finite number of at least 0")
        if self.d_model % self.n_head:
            raise ValueError(f"n_head was {self.n_head}; it must divide d_model = {self.d_model}")

    def _check_sizes(self, *names: str, least: int = 1) -> None:
        """Make these fields Python integers of at least `least`, or raise a ValueError."""
        for name in names:
            value = getattr(self, name)
            if not isinstance(value, (int, numpy.integer)) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name} was {value!r}; it must be an integer of at least {least}")
            object.__setattr__(self, name, int(value))

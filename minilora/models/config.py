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
        H.
    d_mlp : int, optional
        F; 4 C if not given.

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

    def __post_init__(self) -> None:
        self._check_sizes("vocab_size", "n_layer", "d_model", "n_head")
        if self.d_mlp is None:
            object.__setattr__(self, "d_mlp", 4 * self.d_model)
        self._check_sizes("d_mlp")

    def _check_sizes(self, *names: str, least: int = 1) -> None:
        """Make these fields Python integers of at least `least`, or raise a ValueError."""
        for name in names:
            value = getattr(self, name)
            if not isinstance(value, (int, numpy.integer)) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name} was {value!r}; it must be an integer of at least {least}")
            object.__setattr__(self, name, int(value))

    def _check_eps(self, name: str) -> None:
        """Raise a ValueError unless what this field adds to a variance or a mean square is a finite number."""
        eps = getattr(self, name)
        if isinstance(eps, bool) or not isinstance(eps, (int, float)) or not 0.0 <= eps <= sys.float_info.max:
            raise ValueError(f"{name} was {eps!r}; it must be a finite number of at least 0")

    def _check_heads_divide(self) -> None:
        """Raise a ValueError unless d_model can be shared evenly among the heads."""
        if self.d_model % self.n_head:
            raise ValueError(f"n_head was {self.n_head}; it must divide d_model = {self.d_model}")


@dataclass(frozen=True, kw_only=True)
class LayerNormConfig(ModelConfig):
    """The shape of a model with LayerNorms, whose heads share its channels: H divides C.

    Parameters
    ----------
    layer_norm_eps : float
        What LayerNorm adds to the variance.
    """

    layer_norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_eps("layer_norm_eps")
        self._check_heads_divide()

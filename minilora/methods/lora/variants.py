"""Adapters that a LoRALinear can hold besides plain LoRA's: LoRA-FA, DoRA and PiSSA.

Each is a `LoRAFactors` that computes something else from its A and B; the layer around it, its names, switching and
merging stay the same.
"""

from dataclasses import dataclass
from typing import Any

from minilora.arrays.backend import Array, get_xp
from minilora.layers import Linear
from minilora.layers.quantized import with_values, without_values
from minilora.methods.lora.layer import LoRAFactors, deepcopy_sharing
from minilora.ops.fast import (
    dora_linear_backward,
    dora_linear_forward,
    dora_norm,
    lora_fa_linear_backward,
    lora_fa_linear_forward,
    lora_linear_forward,
    row_norm,
)
from minilora.parameter import Parameter


@dataclass(eq=False)
class LoRAFAFactors(LoRAFactors):
    """LoRA-FA (Zhang et al., 2023): A is a Constant, and no x is kept for it. See `ops/lora_fa_linear.py`."""

    def forward(self, x: Array, base: Linear) -> tuple[Array, Any]:
        """(..., I) -> (..., O)"""
        W, A, B = base.W.data, self.A.data, self.B.data
        bias = None if base.bias is None else base.bias.data
        y, cache = lora_fa_linear_forward(x, W, bias, A, B, self.scale, self.dropout_mask(x))
        return y, without_values(cache, base.W)

    def backward(self, dy: Array, cache: Any) -> Array:
        """(..., O) -> (..., I)"""
        dx, dB = lora_fa_linear_backward(dy, with_values(cache))
        self.B.accumulate(dB)
        return dx


@dataclass(eq=False)
class DoRAFactors(LoRAFactors):
    """DoRA (Liu et al., 2024): W' = m * V / ||V|| by rows, V = W + scale * B @ A. See `ops/dora_linear.py`.

    Parameters
    ----------
    m : Parameter of shape (O,)
        The length of each row of W'; it starts as that of W's row, so that W' = W while B = 0.
    exact : bool
        Differentiate through ||V||, which the paper (section 4.3) and PEFT treat as a constant.
    """

    m: Parameter = None  # type: ignore[assignment]  # it stands behind fields with defaults
    exact: bool = False

    def forward(self, x: Array, base: Linear) -> tuple[Array, Any]:
        """(..., I) -> (..., O)"""
        W, A, B = base.W.data, self.A.data, self.B.data
        norm = None if self.exact else dora_norm(W, A, B, self.scale)  # (O,)
        bias = None if base.bias is None else base.bias.data
        y, cache = dora_linear_forward(x, W, bias, A, B, self.m.data, self.scale, self.dropout_mask(x), norm)
        return y, without_values(cache, base.W)

    def backward(self, dy: Array, cache: Any) -> Array:
        """(..., O) -> (..., I)"""
        dx, *grads = dora_linear_backward(dy, with_values(cache))
        for p, grad in zip((self.A, self.B, self.m), grads, strict=True):
            p.accumulate(grad)
        return dx

    def products(self, W: Array) -> list[tuple[Array, ...]]:
        """[(W',)], a new array."""
        return [(W + self.delta_W(W),)]

    def low_rank(self) -> tuple[Array, Array, float] | None:
        """None: what DoRA adds to W is not of low rank."""

    def delta_W(self, W: Array) -> Array:
        """W' - W, (O, I)."""
        V = W + self.scale * (self.B.data @ self.A.data)
        return (self.m.data / dora_norm(W, self.A.data, self.B.data, self.scale))[:, None] * V - W


@dataclass(eq=False)
class PiSSAFactors(LoRAFactors):
    """PiSSA (Meng et al., 2024): B and A start as the largest singular directions of W, and the rest of W is frozen.

    LoRA-GA, too, which starts elsewhere: see `gradient_start.py`.

        W = U S V^T,   B0 = U_r (S_r / scale)^(1/2),   A0 = (S_r / scale)^(1/2) V_r^T
        y = x W_res^T + bias + scale (x A^T) B^T,   W_res = W - scale B0 A0

    Relative to the base's W, delta_W = scale (B A - B0 A0), of rank at most 2 r. W itself is kept, so that other
    adapters can use it.

    Parameters
    ----------
    A0, B0 : ndarray
        The initial A and B.
    W_res : ndarray of shape (O, I)
    """

    A0: Any = None
    B0: Any = None
    W_res: Any = None

    def __deepcopy__(self, memo: dict[int, Any]) -> "PiSSAFactors":
        """A replica shares the three constants, as it shares the arrays of parameters."""
        return deepcopy_sharing(self, memo, self.A0, self.B0, self.W_res)

    def forward(self, x: Array, base: Linear) -> tuple[Array, Any]:
        """(..., I) -> (..., O)"""
        bias = None if base.bias is None else base.bias.data
        return lora_linear_forward(x, self.W_res, bias, self.A.data, self.B.data, self.scale, self.dropout_mask(x))

    def products(self, W: Array) -> list[tuple[Array, ...]]:
        """[(W_res,), (A, scale * B)]"""
        return super().products(self.W_res)

    def arrays(self) -> dict[str, Array]:
        """The arrays that a file must hold; W_res follows from the base's W."""
        return super().arrays() | {"A0": self.A0, "B0": self.B0}

    def low_rank(self) -> tuple[Array, Array, float] | None:
        """delta_W in LoRA's form, of rank 2 r: scale (B | -B0) (A over A0)."""
        xp = get_xp(A=self.A.data)
        B = xp.concatenate((self.B.data, -self.B0), axis=1)  # (O, 2r)
        A = xp.concatenate((self.A.data, self.A0), axis=0)  # (2r, I)
        return B, A, self.scale


def dora_start(base: Linear) -> Array:
    """The initial m of DoRA: the length of each row of W, (O,)."""
    return row_norm(base.W.data)


def pissa_start(base: Linear, rank: int, scale: float) -> tuple[Array, Array]:
    """B0 (O, r) and A0 (r, I), for which scale * B0 @ A0 is the best approximation of W of rank r."""
    return best_factors(base.W.data, rank, scale)


def best_factors(W: Array, rank: int, scale: float) -> tuple[Array, Array]:
    """B (O, r) and A (r, I), for which scale * B @ A is the best approximation of W of rank r (Eckart and Young)."""
    U, S, Vt = get_xp(W=W).linalg.svd(W, full_matrices=False)  # (O, K), (K,), (K, I), with K = min(O, I)
    root = (S[:rank] / scale) ** 0.5  # (r,)
    return U[:, :rank] * root, root[:, None] * Vt[:rank]

"""Activation: an elementwise function between two linear maps."""

from collections.abc import Callable
from typing import Any

from minilora.arrays.backend import Array
from minilora.ops.fast import (
    gelu_exact_backward,
    gelu_exact_forward,
    gelu_tanh_backward,
    gelu_tanh_forward,
    relu_backward,
    relu_forward,
    silu_backward,
    silu_forward,
    tanh_backward,
    tanh_forward,
)
from minilora.parameter import Module

ACTIVATIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "gelu": (gelu_exact_forward, gelu_exact_backward),  # BERT's, RoBERTa's, DeBERTa's
    "gelu_tanh": (gelu_tanh_forward, gelu_tanh_backward),  # GPT-2's
    "relu": (relu_forward, relu_backward),
    "silu": (silu_forward, silu_backward),
    "tanh": (tanh_forward, tanh_backward),
}


class Activation(Module):
    """y = f(x), elementwise.

    Parameters
    ----------
    name : {"gelu", "gelu_tanh", "relu", "silu", "tanh"}
        Which f; see `ops/`.
    """

    def __init__(self, name: str) -> None:
        if name not in ACTIVATIONS:
            raise ValueError(f"activation was {name!r}; it must be one of {', '.join(map(repr, ACTIVATIONS))}")
        self.name = name

    def forward(self, x: Array) -> tuple[Array, Any]:
        """(...) -> (...)"""
        forward, _ = ACTIVATIONS[self.name]
        return forward(x)

    def backward(self, dy: Array, cache: Any) -> Array:
        """(...) -> (...)"""
        _, backward = ACTIVATIONS[self.name]
        return backward(dy, cache)

"""Initial weights of a new model: those that BERT, RoBERTa, GPT-2 and Llama all start from."""

from typing import Any

import numpy

from minilora.arrays.backend import Array, choose_device, to_device
from minilora.layers import Embedding, LayerNorm, Linear, RMSNorm
from minilora.models.checks import check_precision


class Initializer:
    """Makes layers: weights and embeddings are N(0, 0.02^2), biases 0, gains 1.

    Parameters
    ----------
    rng : numpy.random.Generator or Uninitialized
    dtype : {"float32", "float64"}
    device : {"cpu", "gpu", "auto"}
    """

    def __init__(self, rng: "numpy.random.Generator | Uninitialized", dtype: Any, device: str) -> None:
        check_precision(dtype)
        self.rng = rng
        self.dtype = dtype
        self.device = choose_device(device)

    def normal(self, *shape: int, std: float = 0.02) -> Array:
        """An array of N(0, std^2)."""
        if isinstance(self.rng, Uninitialized):
            return self.rng.outline(shape, self.dtype)
        return to_device((std * self.rng.standard_normal(shape)).astype(self.dtype), self.device)

    def constant(self, value: float, size: int) -> Array:
        """An array of one value, (size,)."""
        if isinstance(self.rng, Uninitialized):
            return self.rng.outline((size,), self.dtype)
        return to_device(numpy.full(size, value, self.dtype), self.device)

    def linear(self, I: int, O: int, std: float = 0.02, *, bias: bool = True) -> Linear:
        return Linear(self.normal(O, I, std=std), self.constant(0.0, O) if bias else None)

    def layernorm(self, C: int, eps: float) -> LayerNorm:
        return LayerNorm(self.constant(1.0, C), self.constant(0.0, C), eps)

    def rmsnorm(self, C: int, eps: float) -> RMSNorm:
        return RMSNorm(self.constant(1.0, C), eps)

    def embedding(self, V: int, C: int) -> Embedding:
        return Embedding(self.normal(V, C))


class Uninitialized:
    """Replaces a Generator when every weight is about to be read from a file.

    The model is then made of outlines: arrays that have a shape but take no memory, whatever a file's configuration
    asks for. `model_file.fill` replaces them by real arrays.
    """

    @staticmethod
    def outline(shape: tuple[int, ...], dtype: Any) -> numpy.ndarray:
        """A read-only array of this shape whose values all share a single zero in memory."""
        return numpy.broadcast_to(numpy.zeros((), dtype), shape)

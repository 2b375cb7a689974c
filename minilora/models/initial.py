"""The layers of a new model, with the weights that BERT, RoBERTa and GPT-2 all start from."""

import numpy

from minilora.arrays.backend import choose_device, to_device
from minilora.layers import Embedding, LayerNorm, Linear
from minilora.models.checks import check_precision


class NewLayers:
    """Makes layers: weights and embeddings are N(0, 0.02^2), biases 0, gains 1.

    Parameters
    ----------
    rng : numpy.random.Generator or NoDraw
    dtype : {"float32", "float64"}
    device : {"cpu", "gpu", "auto"}
    """

    def __init__(self, rng, dtype, device):
        check_precision(dtype)
        self.rng = rng
        self.dtype = dtype
        self.device = choose_device(device)

    def normal(self, *shape, std=0.02):
        """An array of N(0, std^2)."""
        if isinstance(self.rng, NoDraw):
            return self.rng.outline(shape, self.dtype)
        return to_device((std * self.rng.standard_normal(shape)).astype(self.dtype), self.device)

    def constant(self, value, size):
        """An array of one value, (size,)."""
        if isinstance(self.rng, NoDraw):
            return self.rng.outline((size,), self.dtype)
        return to_device(numpy.full(size, value, self.dtype), self.device)

    def linear(self, I, O, std=0.02):
        return Linear(self.normal(O, I, std=std), self.constant(0.0, O))

    def layernorm(self, C, eps):
        return LayerNorm(self.constant(1.0, C), self.constant(0.0, C), eps)

    def embedding(self, V, C):
        return Embedding(self.normal(V, C))


class NoDraw:
    """Takes a Generator's place where every weight is about to be read from a file.

    The model is made of outlines: arrays with a shape that take no memory, whatever a file's configuration asks for.
    `model_file.fill` puts arrays in their places.
    """

    @staticmethod
    def outline(shape, dtype):
        """A read-only array of this shape, all of whose values are the same zero in memory."""
        return numpy.broadcast_to(numpy.zeros((), dtype), shape)

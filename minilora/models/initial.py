"""The layers of a new model, with the weights that BERT, RoBERTa and GPT-2 all start from."""

import numpy

from minilora.backend import choose_device, to_device
from minilora.layers import Embedding, LayerNorm, Linear


class NewLayers:
    """Makes layers: weights and embeddings are N(0, 0.02^2), biases 0, gains 1.

    Parameters
    ----------
    rng : numpy.random.Generator
    dtype : str
    device : {"cpu", "gpu", "auto"}
    """

    def __init__(self, rng, dtype, device):
        self.rng = rng
        self.dtype = dtype
        self.device = choose_device(device)

    def normal(self, *shape):
        """An array of N(0, 0.02^2)."""
        return to_device((0.02 * self.rng.standard_normal(shape)).astype(self.dtype), self.device)

    def constant(self, value, size):
        """An array of one value, (size,)."""
        return to_device(numpy.full(size, value, self.dtype), self.device)

    def linear(self, I, O):
        return Linear(self.normal(O, I), self.constant(0.0, O))

    def layernorm(self, C, eps):
        return LayerNorm(self.constant(1.0, C), self.constant(0.0, C), eps)

    def embedding(self, V, C):
        return Embedding(self.normal(V, C))


class NoDraw:
    """Takes a Generator's place where every weight is about to be read from a file: drawing them would take longer."""

    @staticmethod
    def standard_normal(shape):
        return numpy.zeros(shape, dtype="float32")

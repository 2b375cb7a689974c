import numpy as np
import pytest

from minilora.gradcheck import check_op


@pytest.fixture
def check_layer():
    """Check a layer as an op of x and of its trainable parameters, by differences and by the complex step."""

    def check(layer, x):
        # the gradient of k_proj.bias is zero in mathematics, and so nothing to be relative to
        parameters = {
            name: p for name, p in layer.named_parameters() if p.trainable and not name.endswith("k_proj.bias")
        }

        def forward(x, *arrays):
            for p, array in zip(parameters.values(), arrays, strict=True):
                p.data = array
            return layer.forward(x)

        def backward(dy, cache):
            dx = layer.backward(dy, cache)
            return dx, *(p.grad for p in parameters.values())

        arrays = {"x": x} | {name: p.data for name, p in parameters.items()}
        for method, bound in (("difference", 1e-7), ("complex", 1e-12)):
            layer.zero_grad()
            check_op(forward, backward, arrays, rng=np.random.default_rng(1), method=method, bound=bound)

    return check


@pytest.fixture
def normal():
    """Draw an array of a shape; the same arrays in the same order in every test."""
    return np.random.default_rng(0).standard_normal


@pytest.fixture
def linear(normal):
    """Make a Linear with random W and bias."""
    from minilora.layers import Linear

    return lambda I, O: Linear(normal((O, I)), normal(O))

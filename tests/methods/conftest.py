import numpy as np
import pytest

from minilora.layers import Linear


@pytest.fixture
def normal():
    """Draw an array of a shape; the same arrays in the same order in every test."""
    return np.random.default_rng(0).standard_normal


@pytest.fixture
def linear(normal):
    """Make a Linear with random W and bias."""
    return lambda I, O: Linear(normal((O, I)), normal(O))

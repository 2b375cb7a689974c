import numpy as np
import pytest

from minilora.data.batches import LMBatch
from minilora.models import GPT, GPTConfig
from tiny_models import at_a_generic_point


@pytest.fixture
def config():
    """Small, with no dimension twice."""
    return GPTConfig(vocab_size=13, n_positions=9, n_layer=2, d_model=12, n_head=3, d_mlp=20)


@pytest.fixture
def make_model(config):
    """Make a GPT at a generic point: no gain is 1, no bias 0, and nothing small."""

    def make(dtype="float64"):
        return at_a_generic_point(GPT, config, dtype=dtype)

    return make


@pytest.fixture
def model(make_model):
    return make_model()


@pytest.fixture
def ids():
    """(N, T) = (2, 7), with repeated tokens."""
    return np.array([[3, 1, 4, 1, 5, 9, 2], [6, 5, 3, 5, 8, 12, 0]])


@pytest.fixture
def targets(ids):
    return np.roll(ids, -1, axis=1)


@pytest.fixture
def mask():
    return np.array([[False, False, True, True, False, True, True], [False, True, True, True, True, True, False]])


@pytest.fixture
def batch(ids, targets, mask):
    return LMBatch(ids, targets, mask)


@pytest.fixture
def everywhere(batch):
    """The same tokens; the loss counts at every position."""
    return batch._replace(loss_mask=np.ones_like(batch.loss_mask))

"""On a GPU, RoBERTa's models give what they give on the CPU: logits to 1e-4, gradients to 1e-3 of their norm."""

import numpy as np
import pytest

from minilora.arrays.backend import get_xp, to_device, to_numpy
from models.tiny_encoders import BATCHES, CONFIG, HEADED, rng

pytestmark = pytest.mark.gpu


def make(model_class, device):
    """The same bits on either device, at a generic point."""
    draw = rng(1)
    model = model_class(CONFIG, draw, device=device)
    for p in model.parameters():
        p.data += to_device((0.1 * draw.standard_normal(p.data.shape)).astype("float32"), device)
    return model


def distance(host, device):
    """||device - host|| / ||host||, of two arrays of the same dtype and shape, the second of which is on the GPU."""
    assert get_xp(device) is not np and device.dtype == host.dtype and device.shape == host.shape
    return np.linalg.norm(to_numpy(device) - host) / max(np.linalg.norm(host), 1e-6)


@pytest.mark.parametrize("model_class", HEADED)
def test_loss_logits_and_gradients_agree(model_class):
    host, device = (make(model_class, name) for name in ("cpu", "gpu"))
    ids, mask, *_ = BATCHES[model_class][0]
    assert distance(host.forward(ids, mask)[0], device.forward(*device.encoder.to_model(ids, mask))[0]) < 1e-4
    for model in (host, device):
        _, cache = model.loss(BATCHES[model_class][0])
        model.backward_loss(0.5, cache)
    for p, q in zip(host.parameters(), device.parameters(), strict=True):
        if not p.name.endswith("k_proj.bias"):  # zero in mathematics
            assert distance(p.grad, q.grad) < 1e-3, p.name

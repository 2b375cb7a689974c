"""On a GPU, DeBERTa gives what it gives on the CPU: logits to 1e-4, gradients to 1e-3 of their norm."""

import numpy as np
import pytest

from minilora.arrays.backend import get_xp, to_device, to_numpy
from minilora.models import DebertaForClassification
from models.tiny_deberta import BATCH, CONFIG, IDS, MASK
from models.tiny_encoders import rng

pytestmark = pytest.mark.gpu


def make(device):
    """The same bits on either device, at a generic point."""
    draw = rng(1)
    model = DebertaForClassification(CONFIG, draw, device=device)
    for p in model.parameters():
        p.data += to_device((0.1 * draw.standard_normal(p.data.shape)).astype("float32"), device)
    return model


def distance(host, device):
    """||device - host|| / ||host||, of two arrays of the same dtype and shape, the second of which is on the GPU."""
    assert get_xp(device) is not np and device.dtype == host.dtype and device.shape == host.shape
    return np.linalg.norm(to_numpy(device) - host) / max(np.linalg.norm(host), 1e-6)


def test_logits_and_gradients_agree():
    host, device = make("cpu"), make("gpu")
    assert distance(host.forward(IDS, MASK)[0], device.forward(*device.encoder.to_model(IDS, MASK))[0]) < 1e-4
    for model in (host, device):
        _, cache = model.loss(BATCH)
        model.backward_loss(0.5, cache)
    for p, q in zip(host.parameters(), device.parameters(), strict=True):
        assert distance(p.grad, q.grad) < 1e-3, p.name

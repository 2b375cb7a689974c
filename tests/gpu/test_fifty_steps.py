"""Fifty steps of AdamW with every method, and what analysis finds afterwards: on a GPU as on the CPU.

Losses agree to 1e-3, what was trained to 1e-2 of its norm, in float32; phi, ranks and singular values likewise. The
same is tried on the array that stands in for a GPU's, so that these tests are known to run where there is none.
"""

import numpy as np
import pytest

from device_array import to_fake_device
from methods.every import EVERY
from methods.tiny import rng, some_batch, tiny_gpt
from minilora.analysis import (
    adapter_changes,
    amplification_factor,
    delta_weights,
    rank_measures,
    singular_values,
    subspace_similarity,
    weight_changes,
)
from minilora.arrays.backend import to_device, to_numpy
from minilora.data import ClassificationBatch
from minilora.methods import apply_method, lora_layers
from minilora.models import DebertaForClassification, RobertaForClassification
from minilora.training import AdamW, clip_gradients, loss_and_backward
from models import tiny_deberta, tiny_encoders
from models.tiny_encoders import tiny

LOSSES, WEIGHTS = 1e-3, 1e-2
PLACES = {"cpu": np.asarray, "stand-in": to_fake_device, "gpu": lambda array: to_device(array, "gpu")}
devices = pytest.mark.parametrize("device", ["stand-in", pytest.param("gpu", marks=pytest.mark.gpu)])
BATCHES = [some_batch(T=4, seed=seed) for seed in range(5)]  # short: a prefix takes positions, too


def on(device, model, config):
    """The model, moved and then adapted there, with something learned: the same bits on every device."""
    for p in model.parameters():
        p.data = PLACES[device](p.data)
    apply_method(model, config, rng=rng(1), batches=BATCHES[:1])
    draw = rng(2)
    for p in model.trainable_parameters():
        p.data += PLACES[device]((0.1 * draw.standard_normal(p.data.shape)).astype("float32"))
    return model


def train(model, batches):
    """The losses of fifty steps."""
    optimizer, losses = AdamW(model.parameters(), lr=3e-3, weight_decay=0.01), []
    for step in range(50):
        model.zero_grad()
        loss = loss_and_backward(model, batches[step % len(batches)], rng=rng(step))
        clip_gradients(optimizer.parameters, 1.0)
        optimizer.step()
        losses.append(float(to_numpy(loss)))
    return losses


def assert_close(host, device, bound, name=""):
    """||device - host|| <= bound ||host||"""
    host, device = to_numpy(host), to_numpy(device)
    assert host.shape == device.shape and host.dtype == device.dtype, name
    assert np.linalg.norm(device - host) <= bound * max(np.linalg.norm(host), 1e-6), name


def assert_trained_alike(host, device, batches):
    losses = train(host, batches), train(device, batches)
    assert losses[0][-len(batches)] < losses[0][0]  # the same batch
    assert np.allclose(*losses, rtol=LOSSES, atol=0)
    for p, q in zip(host.trainable_parameters(), device.trainable_parameters(), strict=True):
        if not p.name.endswith("k_proj.bias"):  # its gradient is rounding alone, to which AdamW gives a length
            assert_close(p.data, q.data, WEIGHTS, p.name)


@devices
@pytest.mark.parametrize("config", EVERY.values(), ids=EVERY.keys())
def test_every_method_trains_alike(config, device):
    assert_trained_alike(*(on(place, tiny_gpt("float32"), config) for place in ("cpu", device)), BATCHES)


@devices
@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize(
    ("model_class", "texts"), [(RobertaForClassification, tiny_encoders), (DebertaForClassification, tiny_deberta)]
)
def test_encoders_train_alike(model_class, texts, method, device):
    host, other = (on(place, tiny(model_class, "float32", texts.CONFIG), EVERY[method]) for place in ("cpu", device))
    assert_trained_alike(host, other, [ClassificationBatch(texts.IDS, texts.MASK, texts.LABELS)])


@devices
@pytest.mark.parametrize("method", ["lora", "dora", "pissa"])
def test_analysis_of_an_adapter_finds_the_same(method, device):
    host, other = (on(place, tiny_gpt("float32"), EVERY[method]) for place in ("cpu", device))
    for model in (host, other):
        train(model, BATCHES[:1])
    path = "blocks.1.mlp.fc_in"
    changes = [delta_weights(model) for model in (host, other)]
    assert changes[0].keys() == changes[1].keys() == lora_layers(host).keys()
    for name, change in changes[0].items():
        assert_close(change, changes[1][name], WEIGHTS, name)
        assert_close(*(singular_values(each[name])[:2] for each in changes), WEIGHTS, name)
    measured = [rank_measures(adapter_changes(model))[path] for model in (host, other)]
    assert measured[0].effective_rank == pytest.approx(measured[1].effective_rank, rel=WEIGHTS)
    A = [lora_layers(model)[path].A.data for model in (host, other)]
    B = [lora_layers(model)[path].B.data for model in (host, other)]
    assert_close(subspace_similarity(A[0], B[0].T[:, :6]), subspace_similarity(A[1], B[1].T[:, :6]), WEIGHTS)
    W = [lora_layers(model)[path].base.W.data for model in (host, other)]
    factors = [amplification_factor(W[i], changes[i][path], 2) for i in range(2)]
    assert_close(np.array(factors[0]), np.array(factors[1]), WEIGHTS)


@devices
def test_analysis_of_full_fine_tuning_finds_the_same(device):
    changes = []
    for place in ("cpu", device):
        model = on(place, tiny_gpt("float32"), EVERY["full"])
        before = {name: p.data.copy() for name, p in model.named_parameters()}
        train(model, BATCHES[:1])
        changes.append(weight_changes(before, {name: p.data for name, p in model.named_parameters()}))
    assert changes[0].keys() == changes[1].keys()
    for name, change in changes[0].items():
        assert_close(change, changes[1][name], WEIGHTS, name)

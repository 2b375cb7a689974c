"""DeBERTa on arrays that obey CuPy's rules (device_array.py): nothing mixes, and no wait is hidden."""

import numpy as np
import pytest

from device_array import DeviceArray, count_synchronisations, to_fake_device, to_host
from minilora.methods import LoRAConfig, adapter_dropout, apply_lora
from minilora.training import AdamW
from models.tiny_deberta import BATCH, IDS, MASK, tiny_classifier
from models.tiny_encoders import rng


def host_model(adapted):
    model = tiny_classifier("float32")
    if adapted:
        apply_lora(model, LoRAConfig(rank=2, alpha=3, dropout=0.3), rng=rng(1))
        for name, p in model.named_parameters():
            if name.endswith(".B"):
                p.data[...] = rng(2).standard_normal(p.data.shape)
    return model


def device_model(adapted):
    model = host_model(adapted)
    for p in model.parameters():
        p.data = to_fake_device(p.data)
    return model


def loss_and_gradients(model):
    with adapter_dropout(model, rng(5)):
        loss, cache = model.loss(BATCH)
    model.backward_loss(0.5, cache)
    return {"loss": loss} | {p.name: p.grad for p in model.trainable_parameters()}


@pytest.mark.parametrize("adapted", [True, False], ids=["lora", "full"])
def test_loss_and_gradients_agree(adapted):
    host, device = (loss_and_gradients(make(adapted)) for make in (host_model, device_model))
    assert host.keys() == device.keys()
    for name, array in device.items():
        assert isinstance(array, DeviceArray) and array.dtype == host[name].dtype == np.float32, name
        assert np.allclose(to_host(array), host[name], rtol=1e-5, atol=1e-6), name


@pytest.mark.parametrize("adapted", [True, False], ids=["lora", "full"])
def test_a_training_step_never_waits_for_the_device(adapted):
    model = device_model(adapted)
    optimizer = AdamW(model.parameters(), lr=0.01)
    with count_synchronisations() as count:
        loss_and_gradients(model)
        optimizer.step()
    assert count.n == 0


def test_what_lives_on_the_host_is_refused_by_name():
    model = device_model(adapted=True)
    with pytest.raises(ValueError, match="the model lives in device_xp, but ids lives in numpy"):
        model.forward(IDS)
    ids, mask = model.encoder.to_model(IDS, MASK)
    with pytest.raises(ValueError, match="lives in"):
        model.forward(ids, MASK)
    with pytest.raises(ValueError, match="padding_mask was on a device already"):
        model.loss(BATCH._replace(padding_mask=mask))
    model.encoder.wre.W.data = to_host(model.encoder.wre.W.data)
    with pytest.raises(ValueError, match="lives in numpy"):
        model.forward(ids, mask)

"""RoBERTa's models on arrays that obey CuPy's rules (device_array.py): the same results, nothing mixed, no wait."""

import numpy as np
import pytest

from device_array import DeviceArray, count_synchronisations, to_fake_device, to_host
from minilora.methods import LoRAConfig, adapter_dropout, apply_lora
from minilora.models import RobertaForClassification, load_model, save_model
from minilora.training import AdamW
from models.tiny_encoders import BATCHES, HEADED, IDS, MASK, rng, tiny

EVERYWHERE = ("q_proj", "k_proj", "v_proj", "o_proj", "fc_in", "fc_out")


def make(model_class, device, adapted=False):
    model = tiny(model_class, "float32")
    if adapted:
        apply_lora(model, LoRAConfig(rank=2, targets=EVERYWHERE, dropout=0.3), rng=rng(1))
    if device:
        for p in model.parameters():
            p.data = to_fake_device(p.data)
    return model


def step(model, model_class):
    """The loss and gradients of one batch."""
    with adapter_dropout(model, rng(5)):
        loss, cache = model.loss(BATCHES[model_class][0])
    model.backward_loss(0.5, cache)
    return loss, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("adapted", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("model_class", HEADED)
def test_loss_and_gradients_agree(model_class, adapted):
    loss, grads = step(make(model_class, False, adapted), model_class)
    device_loss, device_grads = step(make(model_class, True, adapted), model_class)
    assert np.allclose(to_host(device_loss), loss, rtol=1e-6, atol=0)
    assert device_grads.keys() == grads.keys()
    for name, grad in device_grads.items():
        assert isinstance(grad, DeviceArray) and grad.dtype == grads[name].dtype
        assert np.allclose(to_host(grad), grads[name], rtol=1e-5, atol=1e-6), name


@pytest.mark.parametrize("model_class", HEADED)
def test_logits_agree(model_class):
    expected, _ = make(model_class, False).forward(IDS, MASK)
    logits, _ = make(model_class, True).forward(to_fake_device(IDS), to_fake_device(MASK))
    assert np.allclose(to_host(logits), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("adapted", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("model_class", HEADED)
def test_a_step_never_waits_for_the_device(model_class, adapted):
    model = make(model_class, True, adapted)
    optimizer = AdamW(model.parameters(), lr=0.01)
    with count_synchronisations() as count:
        step(model, model_class)
        optimizer.step()
    assert count.n == 0


@pytest.mark.parametrize(("ids", "mask"), [(IDS, to_fake_device(MASK)), (to_fake_device(IDS), MASK)])
def test_what_lives_on_the_host_is_refused(ids, mask):
    with pytest.raises(ValueError, match="lives in numpy|lives in device_xp"):
        make(RobertaForClassification, True).forward(ids, mask)


def test_place_refuses_what_is_on_a_device_already():
    encoder = make(RobertaForClassification, True).encoder
    with pytest.raises(ValueError, match="padding_mask was on a device already; it must be a NumPy array"):
        encoder.to_model(IDS, to_fake_device(MASK))
    with pytest.raises(ValueError, match="ids was on a device already; it must be a NumPy array"):
        encoder.to_model(to_fake_device(IDS), MASK)


@pytest.mark.parametrize("model_class", HEADED)
def test_a_target_out_of_range_is_found_on_the_host(model_class):
    batch = BATCHES[model_class][0]
    name = "labels" if "labels" in batch._fields else "targets"
    with pytest.raises(ValueError, match="targets ran from 99 to 99"):
        make(model_class, True).loss(batch._replace(**{name: np.full_like(getattr(batch, name), 99)}))


@pytest.mark.parametrize("model_class", HEADED)
def test_a_model_of_the_device_goes_to_a_file(model_class, tmp_path):
    save_model(make(model_class, True), tmp_path / "model")
    loaded, expected = load_model(tmp_path / "model"), make(model_class, False)
    for p, q in zip(loaded.parameters(), expected.parameters(), strict=True):
        assert np.array_equal(p.data, q.data)

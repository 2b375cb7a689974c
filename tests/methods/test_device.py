"""Every method on arrays that obey CuPy's rules (device_array.py): made there, trained there, saved from there."""

import numpy as np
import pytest

from device_array import DeviceArray, count_synchronisations, device_xp, to_fake_device, to_host
from methods.every import EVERY
from methods.tiny import SMALL_LORA, rng, some_batch, tiny_gpt
from minilora.methods import (
    adapters_per_row,
    apply_lora,
    apply_method,
    combination_error,
    combine_adapters,
    load_adapter,
    merge_lora,
    save_adapter,
    unmerge_lora,
)
from minilora.models.generation import generate
from minilora.training import SGD, loss_and_backward

each_method = pytest.mark.parametrize("config", EVERY.values(), ids=EVERY.keys())
SHORT = some_batch(T=4)


def base(on_device):
    model = tiny_gpt("float32")
    for p in model.parameters():
        p.data = to_fake_device(p.data) if on_device else p.data
    return model


def adapted(config, on_device):
    """Adapted where it lives, then with something learned, the same on both."""
    model, draw = base(on_device), rng(2)
    apply_method(model, config, rng=rng(1), batches=[SHORT])
    for p in model.trainable_parameters():
        p.data += model.xp.asarray((0.3 * draw.standard_normal(p.data.shape)).astype("float32"))
    return model


def agree(host, device, atol=1e-5):
    """Dicts of arrays, of which the second has lain on the device throughout."""
    assert host.keys() == device.keys()
    for name, array in device.items():
        assert isinstance(array, DeviceArray) and array.dtype == host[name].dtype == np.float32, name
        assert np.allclose(to_host(array), host[name], rtol=1e-4, atol=atol), name


def arrays(model):
    return {name: p.data for name, p in model.named_parameters()}


def gradients(model):
    return {p.name: p.grad for p in model.trainable_parameters()}


@each_method
def test_what_is_made_and_its_gradients_agree(config):
    host, device = adapted(config, False), adapted(config, True)
    assert device.xp is device_xp
    agree(arrays(host), arrays(device))
    for model in (host, device):
        loss_and_backward(model, SHORT)
    agree(gradients(host), gradients(device))
    assert generate(host, [[3], [1, 4]], max_tokens=3) == generate(device, [[3], [1, 4]], max_tokens=3)


@each_method
def test_a_step_never_waits_for_the_device(config):
    model = adapted(config, True)
    with count_synchronisations() as count:
        loss_and_backward(model, SHORT, rng=rng(5))
        SGD(model.parameters(), lr=0.01).step()
    assert count.n == 0


@each_method
def test_a_file_of_the_device_is_that_of_the_host_and_comes_back_to_either(config, tmp_path):
    model = adapted(config, True)
    save_adapter(model, tmp_path / "device")
    for on_device in (True, False):
        other = base(on_device)
        load_adapter(other, tmp_path / "device")
        save_adapter(other, tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == (tmp_path / "device").read_bytes()
        assert {type(array) for array in arrays(other).values()} == {DeviceArray if on_device else np.ndarray}


@pytest.mark.parametrize("name", ["dora", "pissa"])
def test_merging_agrees_and_never_waits(name):
    host, device = adapted(EVERY[name], False), adapted(EVERY[name], True)
    with count_synchronisations() as count:
        merge_lora(device)
    assert count.n == 0
    merge_lora(host)
    agree(arrays(host), arrays(device))
    unmerge_lora(device)
    agree(arrays(adapted(EVERY[name], False)), arrays(device))


def two_adapters(on_device):
    model = adapted(EVERY["pissa"], on_device)
    apply_lora(model, SMALL_LORA, rng=rng(8), name="other")
    draw = rng(9)
    for p in model.trainable_parameters():
        p.data += model.xp.asarray((0.3 * draw.standard_normal(p.data.shape)).astype("float32"))
    return model


def test_rows_with_adapters_of_their_own_agree_and_never_wait():
    host, device = two_adapters(False), two_adapters(True)
    with adapters_per_row(host, ["default", None, "other"]):
        loss_and_backward(host, SHORT)
        expected = gradients(host)
    with adapters_per_row(device, ["default", None, "other"]):
        with count_synchronisations() as count:
            loss_and_backward(device, SHORT)
        assert count.n == 0
        agree(expected, gradients(device))


def test_combinations_agree():
    host, device = two_adapters(False), two_adapters(True)
    for model in (host, device):
        combine_adapters(model, ["other", "other"], [0.5, -2.0])
    agree(arrays(host), arrays(device))
    errors = [combination_error(model, ["other", "other"], [0.5, 0.25]) for model in (host, device)]
    assert errors[0] == pytest.approx(errors[1], rel=1e-5, abs=1e-7)

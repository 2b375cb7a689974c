"""All of minilora on arrays that obey CuPy's rules (device_array.py): nothing mixes, and no wait is hidden."""

import numpy as np
import pytest

from device_array import DeviceArray, count_synchronisations, device_xp, to_fake_device, to_host
from device_models import BATCH, arrays, device_model, gradients, host_model
from methods.tiny import rng, some_batch
from minilora import generate, merge_lora, remove_lora, save_adapter, save_model, unmerge_lora
from minilora.methods import adapter_dropout, load_adapter, lora_layers, set_adapter
from minilora.models import load_model
from minilora.ops.fast import cross_entropy_backward, cross_entropy_forward
from minilora.training import SGD, AdamW, clip_gradients, evaluate_loss, loss_and_backward, resume_run
from training.runs import run, trainer

PROMPTS = [[3], [1, 4, 1, 5, 9], [2, 6]]


def on_both(function, *args):
    """What a function returns for the model on the host and on the device, to compare."""
    return function(host_model(), *args), function(device_model(), *args)


def assert_agree(host, device):
    """Arrays, or dicts of arrays, the second of which are on the device: equal to 1e-6, with the same dtypes."""
    if not isinstance(host, dict):
        host, device = {"": host}, {"": device}
    assert host.keys() == device.keys()
    for name, array in device.items():
        assert isinstance(array, DeviceArray), name
        assert array.dtype == host[name].dtype, name
        assert np.allclose(to_host(array), host[name], rtol=1e-6, atol=1e-6), name


def place(model, batch):
    """ids, targets and mask where the model lives."""
    return model.to_model(batch.ids), model.xp.asarray(batch.targets), model.xp.asarray(batch.loss_mask)


# ---- the same results


def test_the_model_lives_on_the_device():
    assert device_model().xp is device_xp


@pytest.mark.parametrize("seed", [None, 5], ids=["no dropout", "dropout"])
def test_logits_agree(seed):
    def logits(model):
        with adapter_dropout(model, seed and rng(seed)):
            return model.forward(place(model, BATCH)[0])[0]

    host, device = on_both(logits)
    assert_agree(host, device)


@pytest.mark.parametrize("everything", [False, True], ids=["lora", "full"])
def test_loss_and_gradients_agree(everything):
    host, device = host_model(everything), device_model(everything)
    assert_agree(*(loss_and_backward(model, BATCH, 0.5, rng(5)) for model in (host, device)))
    assert_agree(gradients(host), gradients(device))


@pytest.mark.parametrize("optimizer", [SGD, AdamW])
def test_clipped_steps_agree(optimizer):
    def train(model):
        steps = optimizer(model.parameters(), lr=0.01, weight_decay=0.1)
        for seed in range(3):
            model.zero_grad()
            loss_and_backward(model, some_batch(seed=seed), rng=rng(seed))
            clip_gradients(steps.parameters, 0.1)
            steps.step()
        return arrays(model)

    assert_agree(*on_both(train))


def test_merging_agrees_and_unmerging_restores_the_very_arrays():
    model, host = device_model(), host_model()
    before = {path: layer.base.W.data for path, layer in lora_layers(model).items()}
    merge_lora(model)
    merge_lora(host)
    assert_agree(arrays(host), arrays(model))
    unmerge_lora(model)
    assert all(layer.base.W.data is before[path] for path, layer in lora_layers(model).items())


def test_the_base_agrees():
    def base(model):
        set_adapter(model, None)
        return model.forward(place(model, BATCH)[0])[0]

    assert_agree(*on_both(base))


@pytest.mark.parametrize("settings", [{}, {"temperature": 1.0, "top_k": 5, "top_p": 0.9}], ids=["greedy", "sampled"])
def test_generated_tokens_agree(settings):
    host, device = on_both(lambda model: generate(model, PROMPTS, max_tokens=6, **settings, rng=rng(6)))
    assert host == device


def test_evaluated_losses_agree():
    host, device = on_both(evaluate_loss, [BATCH, some_batch(2, seed=8)])
    assert type(device) is float
    assert device == pytest.approx(host, rel=1e-6)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_three_steps_of_a_run_agree(accumulation, tmp_path):
    def train(model):
        return run(model, steps=3, accumulation=accumulation, folder=tmp_path, checkpoint_every=2, validate=lambda: 1.5)

    host, device = on_both(train)
    assert np.allclose(device.history.losses, host.history.losses, rtol=1e-5, atol=0)
    assert np.allclose(device.history.grad_norms, host.history.grad_norms, rtol=1e-5, atol=0)
    assert_agree(arrays(host.model), arrays(device.model))


def test_a_run_of_the_host_goes_on_on_the_device(tmp_path):
    run(host_model(), steps=3, folder=tmp_path, checkpoint_every=2)
    resumed = trainer(device_model(), steps=3)
    resume_run(resumed, tmp_path / "checkpoint.safetensors")
    assert resumed.step == 2
    resumed.run(progress=False)
    assert all(isinstance(array, DeviceArray) for array in arrays(resumed.model).values())


def test_an_adapter_goes_to_a_file_and_back_to_the_device(tmp_path):
    for name, model in (("host", host_model()), ("device", device_model())):
        save_adapter(model, tmp_path / name)
    assert (tmp_path / "device").read_bytes() == (tmp_path / "host").read_bytes()
    model = device_model()
    load_adapter(model, tmp_path / "host", name="copy")
    assert_agree(arrays(host_model()), arrays(model))


def test_a_merged_model_goes_to_a_file(tmp_path):
    for name, model in (("host", host_model()), ("device", device_model())):
        merge_lora(model)
        remove_lora(model)
        save_model(model, tmp_path / name)
    host, device = (arrays(load_model(tmp_path / name)) for name in ("host", "device"))
    assert host.keys() == device.keys()
    assert all(np.allclose(device[name], host[name], rtol=1e-6, atol=1e-6) for name in host)


# ---- without waiting


def test_a_training_step_never_waits_for_the_device():
    model = device_model()
    optimizer, draw = AdamW(model.parameters(), lr=0.01, weight_decay=0.1), rng(5)
    with count_synchronisations() as count:
        ids, targets, mask = place(model, BATCH)
        with adapter_dropout(model, draw):
            logits, cache = model.forward(ids)
        _, loss_cache = cross_entropy_forward(logits, targets, mask)
        model.backward(cross_entropy_backward(1.0, loss_cache), cache)
        clip_gradients(optimizer.parameters, 0.1)
        optimizer.step()
    assert count.n == 0


def test_full_fine_tuning_never_waits_for_the_device():
    model = device_model(everything=True)
    with count_synchronisations() as count:
        loss_and_backward(model, BATCH)
        SGD(model.parameters(), lr=0.01, momentum=0.9).step()
    assert count.n == 0


def test_merging_and_switching_never_wait_for_the_device():
    model = device_model()
    with count_synchronisations() as count:
        merge_lora(model)
        unmerge_lora(model)
        set_adapter(model, None)
    assert count.n == 0


def test_generation_waits_once_a_token():
    with count_synchronisations() as count:
        generate(device_model(), [[3, 1]], max_tokens=4)
    assert count.n == 4


@pytest.mark.parametrize("steps", [3, 5])
def test_a_step_of_a_run_waits_for_its_loss_and_its_norm_alone_and_the_run_once_at_its_end(steps):
    with count_synchronisations() as count:
        run(device_model(), steps=steps)
    assert count.n == steps * 2 + 1


# ---- mixing


def forward_with_host_ids(model):
    model.forward(BATCH.ids)


def forward_with_one_host_weight(model):
    model.blocks[1].mlp.fc_out.base.W.data = np.ones((6, 10), "float32")
    model.forward(place(model, BATCH)[0])


def forward_with_a_host_A(model):
    layer = model.blocks[0].attn.q_proj
    layer.A.data = to_host(layer.A.data)
    model.forward(place(model, BATCH)[0])


def forward_with_a_host_gain(model):
    model.ln_f.gain.data = np.ones(6, "float32")
    model.forward(place(model, BATCH)[0])


def loss_with_host_targets(model):
    cross_entropy_forward(model.forward(place(model, BATCH)[0])[0], BATCH.targets)


def loss_with_a_host_mask(model):
    ids, targets, _ = place(model, BATCH)
    cross_entropy_forward(model.forward(ids)[0], targets, BATCH.loss_mask)


def device_ids_placed_again(model):
    model.to_model(to_fake_device(BATCH.ids))


def clip_with_one_host_gradient(model):
    loss_and_backward(model, BATCH)
    p = model.trainable_parameters()[1]
    p.grad = to_host(p.grad)
    clip_gradients(model.trainable_parameters(), 1.0)


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        (forward_with_host_ids, "the model lives in device_xp, but ids lives in numpy"),
        (forward_with_one_host_weight, "W lives in numpy, but x lives in device_xp"),
        (forward_with_a_host_A, "A lives in numpy, but x lives in device_xp"),
        (forward_with_a_host_gain, "gain lives in numpy, but x lives in device_xp"),
        (loss_with_host_targets, "targets lives in numpy, but logits lives in device_xp"),
        (loss_with_a_host_mask, "loss_mask lives in numpy, but logits lives in device_xp"),
        (device_ids_placed_again, "ids was on a device already; it must be a NumPy array"),
        (clip_with_one_host_gradient, "argument 1 lives in numpy, but argument 0 lives in device_xp"),
    ],
)
def test_what_lives_on_the_host_is_refused_by_name(mix, message):
    with pytest.raises(ValueError, match=message):
        mix(device_model())


def test_device_ids_for_a_host_model_are_refused_by_name():
    with pytest.raises(ValueError, match="the model lives in numpy, but ids lives in device_xp"):
        host_model().forward(to_fake_device(BATCH.ids))


def test_a_host_gradient_for_a_device_model_is_refused():
    model = device_model()
    logits, cache = model.forward(place(model, BATCH)[0])
    with pytest.raises((TypeError, ValueError), match="host array|lives in numpy"):
        model.backward(np.ones(logits.shape, "float32"), cache)

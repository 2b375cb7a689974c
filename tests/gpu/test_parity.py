"""On a GPU, everything gives what it gives on the CPU: logits to 1e-4, gradients to 1e-3 of their norm, in float32."""

import gc

import numpy as np
import pytest

from kernel_points import POINTS as KERNELS
from kernel_points import SIZES, TOLERANCE, cast
from methods.tiny import EVERYWHERE, rng
from minilora.arrays.backend import get_xp, gpu_memory, tf32, to_device, to_numpy
from minilora.arrays.reductions import scatter_add
from minilora.data.batches import LMBatch
from minilora.methods import (
    LoRAConfig,
    adapter_dropout,
    apply_full,
    apply_lora,
    load_adapter,
    lora_layers,
    merge_lora,
    save_adapter,
    set_adapter,
    unmerge_lora,
)
from minilora.models import GPT, GPTConfig, load_model, save_model
from minilora.models.generation import generate
from minilora.ops.fast import cross_entropy_forward, softmax_forward
from minilora.training import AdamW, DataParallel, clip_gradients, evaluate_loss, loss_and_backward, resume_run
from ops.cases import CASES, float32_case, row_cases
from training.runs import run, trainer

pytestmark = pytest.mark.gpu

CONFIG = GPTConfig(vocab_size=97, n_positions=32, n_layer=2, d_model=48, n_head=4)
LORA = LoRAConfig(rank=4, alpha=8, targets=EVERYWHERE, dropout=0.1)
LOGITS, GRADIENTS = 1e-4, 1e-3
DEVICES = ("cpu", "gpu")


def distance(host, device):
    """||device - host|| / ||host||, of two arrays of the same dtype and shape, the second of which is on the GPU."""
    assert get_xp(device) is not np
    device = to_numpy(device)
    assert device.dtype == host.dtype and device.shape == host.shape
    return np.linalg.norm(device - host) / max(np.linalg.norm(host), 1e-6)


def make_model(device, dtype="float32", adapted=True):
    """The same bits on either device: a GPT whose logits tell tokens apart, with an adapter whose B is not zero."""
    draw = rng(1)
    model = GPT(CONFIG, draw, dtype=dtype, device=device)

    def fill(p, scale):
        p.data += to_device((scale * draw.standard_normal(p.data.shape)).astype(dtype), device)

    for p in model.parameters():
        fill(p, 0.1)
    if adapted:
        apply_lora(model, LORA, rng=draw)
        for layer in lora_layers(model).values():
            fill(layer.B, 0.1)
    return model


@pytest.fixture
def models():
    """On the CPU and on the GPU."""
    return [make_model(device) for device in DEVICES]


def some_batch(N=3, T=20, seed=2):
    draw = rng(seed)
    ids, targets = draw.integers(0, CONFIG.vocab_size, (2, N, T))
    return LMBatch(ids, targets, draw.random((N, T)) < 0.6)


def logits_of(model, batch=None, draw=None):
    with adapter_dropout(model, draw):
        return model.forward(model.to_model((batch or some_batch()).ids))[0]


# ---- ops


def on_gpu(value):
    return to_device(value, "gpu") if isinstance(value, np.ndarray) else value


def moved(case):
    """The same op at the same point, with every array on the GPU."""
    arrays = {name: on_gpu(array) for name, array in case.arrays.items()}
    return type(case)(**(vars(case) | {"arrays": arrays, "args": tuple(map(on_gpu, case.args))}))


POINTS = CASES | {f"{name} (17, 33)": case for name, case in row_cases(17, 33).items()}


@pytest.mark.parametrize("case", POINTS.values(), ids=POINTS.keys())
@pytest.mark.parametrize(("dtype", "logits", "gradients"), [("float32", LOGITS, GRADIENTS), ("float64", 1e-11, 1e-11)])
def test_an_op_and_its_gradients_agree(case, dtype, logits, gradients):
    host = float32_case(case) if dtype == "float32" else case
    device = moved(host)
    (y, cache), (device_y, device_cache) = host.run(), device.run()
    assert distance(np.asarray(y), device_y) <= logits
    dy = np.asarray(rng(1).standard_normal(y.shape), dtype)
    for name, a, b in zip(
        host.names, host.gradients(dy, cache), device.gradients(on_gpu(dy), device_cache), strict=True
    ):
        assert distance(a, b) <= gradients, name


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_gives_what_its_formula_gives(name, dtype):
    function, point = KERNELS[name]
    for C in SIZES:
        host = cast(point(C), dtype)
        device = [on_gpu(a) for a in host]
        assert function.kernel.launch_for(device) is not None
        made = function(*device)
        expected = function.formula(*host)
        pairs = [(a, b) for a, b in zip(host, device, strict=True) if isinstance(a, np.ndarray)]
        if expected is not None:  # None: the formula works in place
            pairs += zip(*(r if isinstance(r, tuple) else (r,) for r in (expected, made)), strict=True)
        for a, b in pairs:
            assert get_xp(b) is not np and (a.shape, a.dtype) == (b.shape, b.dtype)
            assert np.abs(to_numpy(b) - a).max() <= TOLERANCE[dtype] * max(np.abs(a).max(), 1.0), C


def test_a_kernel_takes_more_rows_than_a_grid_has_in_its_other_directions():
    x = rng(1).standard_normal((70000, 33))
    assert distance(softmax_forward(x)[0], softmax_forward(on_gpu(x))[0]) <= 1e-12


def test_a_kernel_runs_in_the_stream_of_the_moment():
    a = rng(1).standard_normal((2000, 2000))
    xp = get_xp(on_gpu(a))
    with xp.cuda.Stream(non_blocking=True) as stream:
        x = on_gpu(a)
        probs, _ = softmax_forward(x @ x)  # for which a kernel in another stream would not wait
        stream.synchronize()
    assert distance(softmax_forward(a @ a)[0], probs) <= 1e-9


@pytest.mark.parametrize("shape", [(512, 512), (4, 512, 512)], ids=["matrices", "stacks of them"])
def test_tf32_rounds_the_factors_of_a_product_and_is_left_behind(shape):
    a, b = (rng(seed).standard_normal(shape).astype("float32") for seed in (1, 2))
    exact = a.astype("float64") @ b.astype("float64")

    def error():
        return np.linalg.norm(to_numpy(on_gpu(a) @ on_gpu(b)) - exact) / np.linalg.norm(exact)

    assert error() < 1e-5
    with tf32():
        assert 3e-5 < error() < 2e-3  # of a factor, 2^-11 at most
    assert error() < 1e-5


def test_the_memory_pool_is_measured():
    gc.collect()  # what earlier tests have left
    before = gpu_memory()
    assert 0 < before["free"] < before["size"]
    x = on_gpu(np.ones(1 << 20))
    assert gpu_memory()["used"] == before["used"] + x.nbytes
    del x
    assert gpu_memory()["used"] == before["used"]
    kept = gpu_memory()["total"]
    assert gpu_memory(release=True)["total"] <= kept - (8 << 20)


def test_repeated_ids_are_all_added():
    ids, updates = rng(1).integers(0, 5, 1000), rng(2).standard_normal((1000, 8)).astype("float32")
    host, device = np.zeros((6, 8), "float32"), on_gpu(np.zeros((6, 8), "float32"))
    scatter_add(host, ids, updates)
    scatter_add(device, on_gpu(ids), on_gpu(updates))
    assert distance(host, device) <= 1e-5


# ---- the model


def test_a_model_starts_from_the_same_bits(models):
    for host, device in zip(*(model.parameters() for model in models), strict=True):
        assert np.array_equal(to_numpy(device.data), host.data), host.name


@pytest.mark.parametrize("seed", [None, 5], ids=["no dropout", "dropout"])
def test_logits_agree(models, seed):
    host, device = (logits_of(model, draw=seed and rng(seed)) for model in models)
    assert distance(host, device) <= LOGITS


@pytest.mark.parametrize("everything", [False, True], ids=["lora", "full"])
def test_loss_and_gradients_agree(models, everything):
    losses = []
    for model in models:
        if everything:
            set_adapter(model, None)
            apply_full(model)
        losses.append(float(to_numpy(loss_and_backward(model, some_batch(), rng=rng(5)))))
    assert losses[1] == pytest.approx(losses[0], rel=LOGITS)
    for host, device in zip(*(model.trainable_parameters() for model in models), strict=True):
        if host.name.endswith("k_proj.bias"):  # zero in mathematics, so that nothing but rounding is left
            assert np.abs(to_numpy(device.grad)).max() < 1e-6
        else:
            assert distance(host.grad, device.grad) <= GRADIENTS, host.name


def test_in_float64_logits_agree_to_rounding():
    host, device = (logits_of(make_model(device, "float64")) for device in DEVICES)
    assert distance(host, device) <= 1e-12


def test_losses_of_a_validation_agree(models):
    host, device = (evaluate_loss(model, [some_batch(), some_batch(3, seed=4)]) for model in models)
    assert device == pytest.approx(host, rel=LOGITS)


# ---- training


def test_fifty_steps_of_adamw_agree(models):
    losses = []
    for model in models:
        optimizer = AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
        losses.append([])
        for step in range(50):
            model.zero_grad()
            loss = loss_and_backward(model, some_batch(seed=step % 5), rng=rng(step))
            clip_gradients(optimizer.parameters, 1.0)
            optimizer.step()
            losses[-1].append(float(to_numpy(loss)))
    assert losses[0][45] < losses[0][0] - 0.1  # the same batch
    assert np.allclose(losses[1], losses[0], rtol=1e-3, atol=0)
    assert distance(*map(logits_of, models)) <= 1e-2


def test_a_run_agrees_and_goes_on_on_the_other_device(tmp_path):
    settings = {"sample_batch": lambda draw: some_batch(seed=int(draw.integers(5))), "steps": 6, "lr": 1e-3}
    host, device = (
        run(make_model(device), **settings, folder=tmp_path / device, checkpoint_every=4) for device in DEVICES
    )
    assert np.allclose(device.history.losses, host.history.losses, rtol=1e-3, atol=0)
    resumed = trainer(make_model("gpu"), **settings)
    resume_run(resumed, tmp_path / "cpu" / "checkpoint.safetensors")
    assert resumed.step == 4
    resumed.run(progress=False)
    assert np.allclose(resumed.history.losses, host.history.losses, rtol=1e-3, atol=0)


def test_a_batch_in_turns_gives_the_gradients_of_the_whole():
    whole, turns = make_model("gpu"), make_model("gpu")
    loss_and_backward(whole, some_batch())
    with DataParallel(turns, accumulation=3) as objective:
        objective.loss_and_backward(some_batch())
    for a, b in zip(whole.trainable_parameters(), turns.trainable_parameters(), strict=True):
        assert distance(to_numpy(a.grad), b.grad) <= GRADIENTS, a.name


# ---- LoRA


def test_merging_agrees_and_unmerging_restores_the_very_arrays():
    model = make_model("gpu")
    frozen = [layer.base.W.data for layer in lora_layers(model).values()]
    before = to_numpy(logits_of(model))
    merge_lora(model)
    assert distance(before, logits_of(model)) <= 1e-5
    unmerge_lora(model)
    assert all(layer.base.W.data is W for layer, W in zip(lora_layers(model).values(), frozen, strict=True))
    assert np.array_equal(to_numpy(logits_of(model)), before)


def test_without_an_adapter_it_is_the_base_to_the_bit():
    model = make_model("gpu")
    set_adapter(model, None)
    assert np.array_equal(to_numpy(logits_of(model)), to_numpy(logits_of(make_model("gpu", adapted=False))))


@pytest.mark.parametrize(("source", "goal"), [("cpu", "gpu"), ("gpu", "cpu"), ("gpu", "gpu")])
def test_an_adapter_goes_from_device_to_device_to_the_bit(source, goal, tmp_path):
    saved, loaded = make_model(source), make_model(goal, adapted=False)
    save_adapter(saved, tmp_path / "adapter.safetensors")
    load_adapter(loaded, tmp_path / "adapter.safetensors")
    for a, b in zip(saved.trainable_parameters(), loaded.trainable_parameters(), strict=True):
        assert a.name == b.name and np.array_equal(to_numpy(a.data), to_numpy(b.data))
    assert loaded.xp is make_model(goal).xp


def test_a_model_goes_through_a_file_to_the_bit(tmp_path):
    model = make_model("gpu", adapted=False)
    save_model(model, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors", device="gpu")
    assert np.array_equal(to_numpy(logits_of(loaded)), to_numpy(logits_of(model)))


# ---- generation

PROMPTS = [[3, 1, 4], [1], [59, 26, 5, 35, 8]]


def test_greedy_tokens_are_the_likeliest_on_the_cpu_too(models):
    """Token by token, and with room for a tie: no other token's logit is higher by more than rounding."""
    host, device = models
    for prompt, tokens in zip(PROMPTS, generate(device, PROMPTS, max_tokens=20), strict=True):
        assert len(tokens) == 20
        logits = host.forward(np.array([prompt + tokens]))[0][0, len(prompt) - 1 : -1]
        chosen = np.take_along_axis(logits, np.array(tokens)[:, None], axis=-1)[:, 0]
        assert (logits.max(axis=-1) - chosen).max() <= 1e-3


def test_a_seed_draws_the_same_tokens_twice(models):
    draws = [generate(models[1], PROMPTS, max_tokens=20, temperature=1.0, top_k=20, rng=rng(6)) for _ in range(2)]
    assert draws[0] == draws[1]


# ---- mixing


def test_host_and_device_do_not_mix(models):
    host, device = models
    ids = some_batch().ids
    with pytest.raises(ValueError, match="the model lives in cupy, but ids lives in numpy"):
        device.forward(ids)
    with pytest.raises(ValueError, match="the model lives in numpy, but ids lives in cupy"):
        host.forward(on_gpu(ids))
    with pytest.raises(ValueError, match="targets lives in numpy, but logits lives in cupy"):
        cross_entropy_forward(logits_of(device), some_batch().targets)
    with pytest.raises(ValueError, match="ids was on a device already"):
        device.to_model(on_gpu(ids))


def test_everything_made_on_the_gpu_is_on_the_gpu():
    model = make_model("gpu")
    loss = loss_and_backward(model, some_batch(), rng=rng(1))
    logits, cache = model.forward(model.to_model(some_batch().ids))
    made = [loss, logits, cache.blocks[1].attn.probs, cache.blocks[0].mlp.fc_in.inner.h]
    made += [p.data for p in model.parameters()] + [p.grad for p in model.trainable_parameters()]
    assert all(get_xp(array) is model.xp is not np for array in made)

"""The CUDA kernels give what the formulas give that they stand beside: run here by an emulator, without a GPU."""

import subprocess

import numpy as np
import pytest

import device_array
from cuda_emulator import GXX, NVCC, Emulator, together
from device_array import DeviceArray, count_synchronisations, to_fake_device, to_host
from device_models import BATCH, arrays, device_model, gradients, host_model, on_device
from kernel_points import POINTS, SIZES, TOLERANCE, cast, normal
from methods.tiny import rng
from minilora import GPT, GPTConfig, LoRAConfig, apply_lora
from minilora.arrays import kernels
from minilora.arrays.kernels import fused
from minilora.ops.fast import gelu, linear_cross_entropy, linear_cross_entropy_forward, softmax
from minilora.training import AdamW, loss_and_backward
from ops.cases import CASES, float32_case

needs_gxx = pytest.mark.skipif(GXX is None, reason="needs g++ on Linux, which plays the CUDA compiler")


@pytest.fixture(scope="module")
def compiled():
    """An Emulator that has compiled every kernel and every mutant, in one go."""
    emulator = Emulator()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "on_gpu", lambda array: isinstance(array, DeviceArray))
        emulator.compile(sources() + [mutant_source(*mutant) for mutant in MUTANTS])
    return emulator


@pytest.fixture(params=[False, True], ids=["warps forwards", "warps backwards"])
def emulator(request, compiled, monkeypatch):
    """Where DeviceArrays take the kernels, as CuPy's arrays do."""
    monkeypatch.setattr(compiled, "backwards", request.param)
    monkeypatch.setattr(compiled, "launched", [])
    monkeypatch.setattr(kernels, "on_gpu", lambda array: isinstance(array, DeviceArray))
    monkeypatch.setattr(kernels, "cuda_kernel", compiled)
    return compiled


# ---- every kernel


def placed(args):
    return [to_fake_device(a) if isinstance(a, np.ndarray) else a for a in args]


def source_of(kernel, args):
    launch = kernel.launch_for(placed(args))
    return launch.name, launch.source


def sources():
    """Name and source of every kernel, as each point and dtype needs it."""
    return [
        source_of(function.kernel, cast(point(33), dtype)) for function, point in POINTS.values() for dtype in TOLERANCE
    ]


def host_arrays(*trees):
    """The arrays in results and arguments, on the host."""
    flat = [array for tree in trees for array in (tree if isinstance(tree, (tuple, list)) else (tree,))]
    return [to_host(array) for array in flat if isinstance(array, (np.ndarray, DeviceArray))]


def distance(function, args):
    """How far the kernel's results, and what it leaves in its arguments, are from the formula's, at most."""
    device = placed(args)
    device_results = function.kernel.run(function.kernel.launch_for(device), device)
    host = list(args)
    results = function.formula(*host)
    if results is None:  # the formula works in place
        device_results = None
    pairs = list(zip(host_arrays(results, host), host_arrays(device_results, device), strict=True))
    for a, b in pairs:
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
    return np.max([np.abs(a - b).max() / max(np.abs(a).max(), 1.0) for a, b in pairs if a.dtype.kind == "f"])


@needs_gxx
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", POINTS)
def test_a_kernel_gives_what_its_formula_gives(name, dtype, emulator):
    function, point = POINTS[name]
    for C in SIZES:
        assert distance(function, cast(point(C), dtype)) <= TOLERANCE[dtype], C


# ---- a wrong kernel is found

MUTANTS = [
    ("softmax", "x[v] - largest", "x[v]"),
    ("softmax", "fmax(sum, TINY)", "sum"),
    ("softmax, backward", "dprobs[v] - sum", "dprobs[v]"),
    ("layernorm", "(x[c] - rounded - rest) * (x[c] - rounded - rest)", "x[c] * x[c]"),
    ("layernorm", "var + eps", "var"),
    ("layernorm", " + bias[c]", ""),
    ("layernorm, backward", " - xhat[c] * mean_dxhat_xhat", ""),
    ("layernorm, backward", "SUM(c, dy[c] * gain[c])", "SUM(c, dy[c])"),
    ("attention, causal", "j <= J - I + i", "j < J - I + i"),
    ("attention, causal", "j <= J - I + i", "j <= i"),
    ("attention, causal, padding", "row / I / H", "row / I"),
    ("attention, causal, padding", "row / I / H", "row % H"),
    ("attention, padding", "padding_mask[n * J + j]", "padding_mask[j]"),
    ("attention, backward", "dprobs[j] - D", "dprobs[j] + D"),
    ("cross-entropy", "(z_target - largest)", "z_target"),
    ("cross-entropy", "(v == target)", "(v == row)"),
    ("gelu, tanh", "3 * b", "b"),
    ("gelu, tanh", "2 * x[i]", "x[i]"),
    ("gelu, exact", "x[i] * root_half", "x[i]"),
    ("adamw", "grad[i] * grad[i]", "grad[i]"),
    ("adamw", " + eps", ""),
    # in what all kernels share
    ("softmax", "lanes = 16", "lanes = 8"),
    ("softmax", "warp = 1;", "warp = 2;"),
    ("softmax", "const int warps = blockDim.x / 32", "const int warps = 1"),
    ("layernorm", "__syncthreads();  // until", "// until"),
    ("softmax", "__syncthreads();\n    value", "value"),
    # read after another thread may have overwritten it
    ("cross-entropy", "log(sum) - (z_target - largest)", "log(sum) - log(logits[target])"),
    # a thread that leaves the others waiting
    ("softmax", "    const int warps", "    if (threadIdx.x == 40) return 0;\n    const int warps"),
]


def mutant_source(name, old, new):
    """The source of a point's kernel in float64, with one thing changed."""
    function, point = POINTS[name]
    name, source = source_of(function.kernel, point(33))
    assert old in source, (name, old)
    return name, source.replace(old, new)


@needs_gxx
@pytest.mark.parametrize(("name", "old", "new"), MUTANTS)
def test_a_wrong_kernel_is_found(name, old, new, compiled, monkeypatch):
    monkeypatch.setattr(kernels, "on_gpu", lambda array: isinstance(array, DeviceArray))
    monkeypatch.setattr(kernels, "cuda_kernel", lambda name, source: compiled(name, source.replace(old, new)))
    function, point = POINTS[name]

    def is_right(backwards):
        monkeypatch.setattr(compiled, "backwards", backwards)
        try:
            return distance(function, point(257)) <= TOLERANCE["float64"]
        except RuntimeError:  # threads at different places
            return False

    with np.errstate(invalid="ignore"):
        assert not (is_right(False) and is_right(True))


# ---- which arrays take the kernel, and which the formula


@fused("x[...; C], scale[...; 1], shift[C], k -> y[...; C], top[...; 1]", "EACH(c) y[c] = k * x[c]; *top = 0;")
def stretched(x, scale, shift, k):
    return "formula"


def good():
    return [normal(2, 3, 5), normal(2, 3, 1), normal(5), 2.0]


def changed(index, value):
    args = good()
    args[index] = value
    return args


@pytest.fixture
def recorded(monkeypatch):
    """Where DeviceArrays take the kernels, and what would be launched is written down: name, grid, block, arguments."""
    launched = []
    monkeypatch.setattr(kernels, "on_gpu", lambda array: isinstance(array, DeviceArray))
    monkeypatch.setattr(kernels, "cuda_kernel", lambda name, source: lambda *launch: launched.append((name, *launch)))
    return launched


def test_a_kernel_is_launched_with_a_block_for_each_row(recorded):
    y, top = stretched(*placed(good()))
    assert (y.shape, top.shape, y.dtype) == ((2, 3, 5), (2, 3, 1), np.float64)
    ((name, grid, block, args),) = recorded
    assert name.endswith("test_kernels_stretched_double") and (grid, block) == ((6,), (32,))
    assert [a.shape for a in args[:3]] == [(2, 3, 5), (2, 3, 1), (5,)]
    assert (args[3], type(args[3])) == (2.0, np.float64)
    assert args[4] is y and args[5] is top and args[6:] == (6, 5)  # rows, C


@pytest.mark.parametrize(
    ("columns", "threads"), [(1, 32), (128, 32), (129, 64), (768, 192), (4096, 1024), (50257, 1024)]
)
def test_a_longer_row_has_more_threads(columns, threads, recorded):
    softmax.softmax_inplace(to_fake_device(normal(1, columns)))
    assert recorded[0][2] == (threads,)


def test_elements_are_shared_out_among_blocks_of_256(recorded):
    gelu._gelu_tanh(*(to_fake_device(normal(3, 171)) for _ in range(3)))
    assert recorded[0][1:3] == ((3,), (256,))  # 513 elements


def test_an_array_with_gaps_is_copied_before_the_launch(recorded):
    x = to_fake_device(normal(3, 2, 5)).swapaxes(0, 1)
    stretched(x, *placed(good())[1:])
    passed = recorded[0][3][0]
    assert passed.flags.c_contiguous and np.array_equal(to_host(passed), to_host(x))


@pytest.mark.parametrize(
    "args",
    [
        changed(0, normal(0, 3, 5)),
        changed(0, normal(2, 3, 5).astype("float16")),
        changed(0, normal(2, 3, 5).astype(complex)),
        changed(0, np.ones((2, 3, 5), int)),
        changed(1, normal(2, 3, 1).astype("float32")),
        changed(1, normal(2, 3, 2)),
        changed(1, normal(3, 1)),
        changed(2, normal(6)),
        changed(2, normal(1, 5)),
        changed(3, np.float32(2.0)),
        changed(3, None),
    ],
    ids=[
        "no rows",
        "half",
        "complex",
        "integers",
        "two dtypes",
        "two columns for one",
        "other rows",
        "other length",
        "more axes",
        "a NumPy number",
        "no number",
    ],
)
def test_what_does_not_fit_takes_the_formula(args, recorded):
    assert stretched(*placed(args)) == "formula"
    assert recorded == []


def test_a_host_array_among_them_takes_the_formula_which_refuses_it(recorded):
    args = placed(good())
    args[2] = normal(5)
    assert stretched(*args) == "formula"


def test_without_a_gpu_every_array_takes_the_formula():
    assert stretched(*good()) == "formula"
    assert stretched(*placed(good())) == "formula"


def test_an_array_with_gaps_cannot_be_overwritten_by_a_kernel(recorded):
    x = to_fake_device(normal(4, 3)).T
    softmax.softmax_inplace(x)
    assert recorded == []
    assert np.allclose(to_host(x).sum(axis=-1), 1.0)


# ---- whole ops, a whole model


@needs_gxx
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", CASES)
def test_an_op_and_its_gradients_agree(name, dtype, emulator):
    host = float32_case(CASES[name]) if dtype == "float32" else CASES[name]
    arrays = {key: to_fake_device(array) for key, array in host.arrays.items()}
    device = type(host)(**(vars(host) | {"arrays": arrays, "args": tuple(placed(host.args))}))
    (y, cache), (device_y, device_cache) = host.run(), device.run()
    dy = np.asarray(normal(*y.shape), dtype)
    gradients = host.gradients(dy, cache), device.gradients(to_fake_device(dy), device_cache)
    for a, b in zip((y, *gradients[0]), (device_y, *gradients[1]), strict=True):
        assert isinstance(b, DeviceArray) and b.dtype == a.dtype
        assert np.abs(a - to_host(b)).max() <= 10 * TOLERANCE[dtype] * max(np.abs(a).max(), 1.0)


@needs_gxx
def test_a_loss_in_blocks_of_rows_agrees(emulator, monkeypatch):
    monkeypatch.setattr(linear_cross_entropy, "LOGITS_BYTES_ON_GPU", 2 * 7 * 8)  # two rows of V = 7
    x, W, targets = normal(5, 3), normal(7, 3, seed=1), np.array([0, 6, 2, 2, 5])
    loss, cache = linear_cross_entropy_forward(x, W, targets)
    device_loss, device_cache = linear_cross_entropy_forward(*placed([x, W, targets]))
    assert len(emulator.launched) == 3
    for a, b in zip((loss, *cache), (device_loss, *device_cache), strict=True):
        assert np.allclose(to_host(b), a, rtol=1e-12, atol=1e-12)


@needs_gxx
@pytest.mark.parametrize("everything", [False, True], ids=["lora", "full"])
def test_a_training_step_agrees_and_never_waits(everything, emulator):
    def train(model):
        optimizer = AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
        with count_synchronisations() as count:
            loss_and_backward(model, BATCH)
            optimizer.step()
        assert count.n == 0
        return gradients(model) | {f"new {name}": array for name, array in arrays(model).items()}

    host, device = train(host_model(everything)), train(device_model(everything))
    assert host.keys() == device.keys()
    for name, array in host.items():
        if not name.endswith("k_proj.base.bias"):  # its gradient is zero but for rounding, of which Adam makes a step
            assert np.allclose(to_host(device[name]), array, rtol=1e-4, atol=1e-6), name
    assert {name.removesuffix("_float") for name in emulator.launched} == {
        "ops_fast_layernorm_normalise",
        "ops_fast_layernorm_dx",
        "ops_fast_attention_masked_softmax",
        "ops_fast_attention_probs_again",
        "ops_fast_attention_dscores",
        "ops_fast_gelu_gelu_tanh",
        "ops_fast_linear_cross_entropy_losses_and_dlogits",
        "ops_fast_adamw_adamw",
    }


VIEWS = {"reshape", "swapaxes", "transpose", "empty", "empty_like", "ascontiguousarray", "finfo"}


@needs_gxx
def test_a_step_has_less_than_half_the_launches_that_it_has_without_kernels(compiled, monkeypatch):
    """Of NumPy functions on DeviceArrays, each of which is at least one launch on a GPU, and of kernels."""
    calls = []
    call = device_array._call
    monkeypatch.setattr(device_array, "_call", lambda f, name, *rest: (calls.append(name), call(f, name, *rest))[1])
    monkeypatch.setattr(kernels, "cuda_kernel", compiled)

    def launches(with_kernels):
        monkeypatch.setattr(kernels, "on_gpu", lambda array: with_kernels and isinstance(array, DeviceArray))
        model = on_device(GPT(GPTConfig(vocab_size=11, n_positions=8, n_layer=4, d_model=8, n_head=2), rng(0)))
        apply_lora(model, LoRAConfig(rank=2, alpha=2), rng=rng(1))  # of q_proj and v_proj
        model = on_device(model)
        optimizer = AdamW(model.parameters(), lr=0.01)
        calls.clear()
        compiled.launched.clear()
        loss_and_backward(model, BATCH)
        optimizer.step()
        return sum(name not in VIEWS for name in calls) + len(compiled.launched)

    plain, fused = launches(False), launches(True)
    assert fused < plain / 2
    assert fused <= 4 * 69 + 11, "launches a step: those of 4 blocks, and those beside them"


# ---- the CUDA compiler


@pytest.mark.skipif(NVCC is None, reason="nvcc is not installed: it is a part of CUDA's toolkit")
def test_every_kernel_compiles(recorded, tmp_path):
    file = tmp_path / "kernels.cu"
    file.write_text(together(dict.fromkeys(sources())), encoding="utf-8")
    options = ["-std=c++17", "-arch=sm_80", "--cubin", "--Werror", "all-warnings"]
    done = subprocess.run([NVCC, *options, "-o", f"{file}.cubin", str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

"""The CUDA kernels give what the formulas give that they stand beside: run here by an emulator, without a GPU."""

import subprocess

import numpy as np
import pytest

from cuda_emulator import GXX, NVCC, Emulator, together
from device_array import DeviceArray, count_synchronisations, to_fake_device, to_host
from minilora import kernels
from minilora.kernels import Kernel, fused
from minilora.ops import attention, gelu, layernorm, linear_cross_entropy, softmax
from minilora.training import AdamW, loss_and_backward, optimizers
from ops.cases import CASES, float32_case
from test_device_discipline import BATCH, arrays, device_model, gradients, host_model

needs_gxx = pytest.mark.skipif(GXX is None, reason="g++ is not installed: it plays the CUDA compiler here")
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


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


# ---- every kernel, at a point with rows of C numbers


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def some_probs(*shape):
    return softmax.softmax_inplace.formula(3.0 * normal(*shape, seed=1))


def some_mask(N, C):
    """In the last sequence, nobody may see any key."""
    mask = np.random.default_rng(2).random((N, C)) < 0.7
    mask[-1] = False
    return mask


def some_targets(C):
    return np.random.default_rng(3).integers(0, C, 5)


def attention_scores(C):
    """Of the last three queries of C positions; three sequences, two heads."""
    return 3.0 * normal(3, 2, min(3, C), C) + 1000.0


def blind(x):
    """A row of nothing but -inf, which has nothing to choose from."""
    x[1] = -np.inf
    return x


def adamw_arguments(C):
    data, grad, m, v = (normal(3, C, seed=seed) for seed in range(4))
    return data, grad, m, v * v, 0.9, 0.1, 0.999, 0.001, 0.01, 3.0, 1e-8


POINTS = {
    "softmax": (softmax.softmax_inplace, lambda C: (blind(5.0 * normal(3, C) + 1000.0),)),
    "softmax, backward": (softmax._dx, lambda C: (normal(2, 3, C), some_probs(2, 3, C))),
    "layernorm": (layernorm._normalise, lambda C: (normal(2, 3, C) + 4.0, normal(C, seed=1), normal(C, seed=2), 1e-5)),
    "layernorm, backward": (
        layernorm._dx,
        lambda C: (normal(2, 3, C), normal(2, 3, C, seed=1), normal(2, 3, 1, seed=2), normal(C, seed=3)),
    ),
    "attention": (attention._softmax_of_seen, lambda C: (attention_scores(C), None, False)),
    "attention, causal": (attention._softmax_of_seen, lambda C: (attention_scores(C), None, True)),
    "attention, padding": (attention._softmax_of_seen, lambda C: (attention_scores(C), some_mask(3, C), False)),
    "attention, causal, padding": (attention._softmax_of_seen, lambda C: (attention_scores(C), some_mask(3, C), True)),
    "attention, backward": (attention._dscores, lambda C: dscores_arguments(C)),
    "cross-entropy": (
        linear_cross_entropy._losses_and_dlogits,
        lambda C: (5.0 * normal(5, C), some_targets(C), 0.2, True),
    ),
    "cross-entropy, no gradient": (
        linear_cross_entropy._losses_and_dlogits,
        lambda C: (5.0 * normal(5, C), some_targets(C), 0.2, False),
    ),
    "gelu, tanh": (gelu._gelu_tanh, lambda C: (3.0 * normal(3, C),)),
    "gelu, exact": (gelu._gelu_exact, lambda C: (3.0 * normal(3, C),)),
    "adamw": (optimizers._adamw, adamw_arguments),
}


def dscores_arguments(C):
    """probs and dprobs of an attention, with the dy and y that they belong to: D = dy . y only holds for such."""
    v, dy, probs = normal(2, 3, C, 4), normal(2, 3, 5, 4, seed=4), some_probs(2, 3, 5, C)
    return dy @ v.swapaxes(-1, -2), probs, dy, probs @ v


def cast(args, dtype):
    return [a.astype(dtype) if isinstance(a, np.ndarray) and a.dtype == np.float64 else a for a in args]


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


def distance(function, kernel, args):
    """How far the kernel's results, and what it leaves in its arguments, are from the formula's, at most."""
    host, device = [np.copy(a) if isinstance(a, np.ndarray) else a for a in args], placed(args)
    results, device_results = function.formula(*host), kernel.run(kernel.launch_for(device), device)
    if results is None:  # the formula works in place
        device_results = None
    pairs = list(zip(host_arrays(results, host), host_arrays(device_results, device), strict=True))
    for a, b in pairs:
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
    return max(float(np.abs(a - b).max() / max(np.abs(a).max(), 1.0)) for a, b in pairs if a.dtype.kind == "f")


@needs_gxx
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", POINTS)
def test_a_kernel_gives_what_its_formula_gives(name, dtype, emulator):
    function, point = POINTS[name]
    for C in (1, 2, 31, 32, 33, 128, 257, 4500):
        args = cast(point(C), dtype)
        if name == "cross-entropy, no gradient":  # what is left in the logits is not looked at
            (losses, _), device = function.formula(*cast(point(C), dtype)), placed(args)
            assert np.allclose(to_host(function(*device)[0]), losses, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
        else:
            assert distance(function, function.kernel, args) <= TOLERANCE[dtype], C


# ---- a wrong kernel is found

MUTANTS = [
    ("softmax", "x[v] - largest", "x[v]"),
    ("softmax", "fmax(sum, TINY)", "sum"),
    ("softmax, backward", "dprobs[v] - mean_dprobs", "dprobs[v]"),
    ("layernorm", "(x[c] - mean) * (x[c] - mean)", "x[c] * x[c]"),
    ("layernorm", "var + eps", "var"),
    ("layernorm", " + bias[c]", ""),
    ("layernorm, backward", " - xhat[c] * mean_dxhat_xhat", ""),
    ("layernorm, backward", "SUM(c, dy[c] * gain[c])", "SUM(c, dy[c])"),
    ("attention, causal", "j <= J - I + i", "j < J - I + i"),
    ("attention, causal", "j <= J - I + i", "j <= i"),
    ("attention, causal, padding", "row / I / H", "row / I"),
    ("attention, causal, padding", "row / I / H", "row % H"),
    ("attention, padding", "key_mask[n * J + j]", "key_mask[j]"),
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
            return distance(function, function.kernel, point(257)) <= TOLERANCE["float64"]
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
    """Where DeviceArrays take the kernels, and a kernel is written down instead of run: name, grid, block, arguments."""
    launched = []
    monkeypatch.setattr(kernels, "on_gpu", lambda array: isinstance(array, DeviceArray))
    monkeypatch.setattr(
        kernels, "cuda_kernel", lambda name, source: lambda grid, block, args: launched.append((name, grid, block, args))
    )
    return launched


def test_a_kernel_is_launched_with_a_block_for_each_row(recorded):
    y, top = stretched(*placed(good()))
    assert (y.shape, top.shape, y.dtype) == ((2, 3, 5), (2, 3, 1), np.float64)
    ((name, grid, block, args),) = recorded
    assert (name, grid, block) == ("stretched_double", (6,), (32,))
    assert [a.shape for a in args[:3]] == [(2, 3, 5), (2, 3, 1), (5,)]
    assert (args[3], type(args[3])) == (2.0, np.float64)
    assert args[4] is y and args[5] is top and args[6:] == (6, 5)  # rows, C


@pytest.mark.parametrize(("columns", "threads"), [(1, 32), (128, 32), (129, 64), (768, 192), (4096, 1024), (50257, 1024)])
def test_a_longer_row_has_more_threads(columns, threads, recorded):
    softmax.softmax_inplace(to_fake_device(normal(1, columns)))
    assert recorded[0][2] == (threads,)


def test_elements_are_shared_out_among_blocks_of_256(recorded):
    gelu._gelu_tanh(to_fake_device(normal(3, 171)))
    assert recorded[0][1:3] == ((3,), (256,))  # 513 elements


def test_an_array_with_gaps_is_copied_before_the_launch(recorded):
    stretched(*placed(changed(0, normal(2, 3, 5)))[:1], *placed(good())[1:])
    x = to_fake_device(normal(3, 2, 5)).swapaxes(0, 1)
    y, _ = stretched(x, *placed(good())[1:])
    passed = recorded[1][3][0]
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
    ids=["no rows", "half", "complex", "integers", "two dtypes", "two columns for one", "other rows", "other length",
         "more axes", "a NumPy number", "no number"],
)  # fmt: skip
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
@pytest.mark.parametrize("everything", [False, True], ids=["lora", "full"])
def test_a_training_step_agrees_and_never_waits(everything, emulator):
    def train(model):
        optimizer = AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
        model.zero_grad()
        loss_and_backward(model, BATCH)
        found = {name: to_host(grad) for name, grad in gradients(model).items()}
        with count_synchronisations() as count:
            loss_and_backward(model, BATCH)
            optimizer.step()
        assert count.n == 0
        return found, {name: to_host(data) for name, data in arrays(model).items()}

    for host, device in zip(train(host_model(everything)), train(device_model(everything)), strict=True):
        assert host.keys() == device.keys()
        assert all(np.allclose(device[name], host[name], rtol=1e-4, atol=1e-6) for name in host)
    assert {name.removesuffix("_float") for name in emulator.launched} == {
        "normalise", "dx", "softmax_of_seen", "dscores", "gelu_tanh", "losses_and_dlogits", "adamw",
    }  # fmt: skip


# ---- the CUDA compiler


@pytest.mark.skipif(NVCC is None, reason="nvcc is not installed: it is a part of CUDA's toolkit")
def test_every_kernel_compiles(recorded, tmp_path):
    file = tmp_path / "kernels.cu"
    file.write_text(together(dict.fromkeys(sources())), encoding="utf-8")
    command = [NVCC, "-std=c++17", "-arch=sm_80", "--cubin", "--Werror", "all-warnings", "-o", f"{file}.cubin", str(file)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

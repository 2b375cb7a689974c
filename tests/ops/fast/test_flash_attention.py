"""Attention as three CUDA kernels, run by an emulator without a GPU: equal to the page, and without a T x T array."""

import subprocess

import numpy as np
import pytest

import device_array
from cuda_emulator import GXX, NVCC, Emulator, together
from device_array import DeviceArray, count_synchronisations, to_fake_device, to_host
from device_models import BATCH, device_model, gradients, host_model
from minilora import ops
from minilora.arrays import kernels
from minilora.gradcheck import GradientError, check_op
from minilora.ops.fast import attention, attention_backward, attention_forward, flash_attention
from minilora.ops.fast.flash_kernels import KERNELS, MOST_COLUMNS, layout_of, source
from minilora.training import loss_and_backward

pytestmark = pytest.mark.skipif(GXX is None, reason="needs g++ on Linux, which plays the CUDA compiler")

TOLERANCE = {"float64": 1e-12, "float32": 1e-6}  # of a norm, as between the page and its engine
TEXTS = ((38, 7), (1, 3, 0, 41), (45,))
# N, H, G, T_q, T, K; padding; options. In float64, rows of 4, 20 and 40 numbers have 1, 2 and 4 threads
POINTS = {
    "causal": ((2, 3, 3, 37, 37, 4), False, {}),
    "not causal, padding": ((3, 2, 2, 5, 37, 4), True, {"causal": False}),
    "groups, the last queries, more than a block, padding": ((2, 4, 2, 130, 135, 4), True, {}),
    "groups, texts, the last queries, padding": ((3, 4, 2, 40, 45, 20), True, {"text_lengths": TEXTS}),
    "texts, not causal": ((3, 2, 1, 40, 45, 20), False, {"text_lengths": TEXTS, "causal": False}),
    "long heads": ((1, 2, 1, 37, 40, 40), False, {}),
}
GROUPS_AND_TEXTS = "groups, texts, the last queries, padding"
HEADS_OF_A_MODEL = 3  # K of device_models.py


def arrays(name, dtype="float64"):
    """q, k, v, dy and a padding mask; in the last sequence, nobody may see any key."""
    (N, H, G, T_q, T, K), padded, _ = POINTS[name]
    rng = np.random.default_rng(1)
    q, k, v, dy = (
        rng.standard_normal(shape).astype(dtype)
        for shape in ((N, H, T_q, K), (N, G, T, K), (N, G, T, K), (N, H, T_q, K))
    )
    padding = rng.random((N, T)) < 0.7
    padding[-1] = False
    return 2.0 * q, k, v, dy, padding if padded else None


def sources(name, dtype="float64"):
    return [source(kernel, POINTS[name][0][-1], np.dtype(dtype)) for kernel in KERNELS]


# ---- a wrong kernel is found: (kernel, what stands there, what a mistake would put there)

MUTANTS = [
    ("flash_forward", "sum *= shrink", ""),
    ("flash_forward", "o[c] *= shrink", ""),
    ("flash_forward", "largest + log(sum)", "log(sum)"),
    ("flash_forward", "SCALE);", "1);"),
    ("flash_forward", "h / (H / G)", "h % G"),
    ("flash_forward", "past + i + 1", "i + 1"),
    ("flash_forward", "text.start <= j", "0 <= j"),
    ("flash_forward", "j < stop", "j <= stop"),
    ("flash_forward", "padding_mask[n * J + j]", "padding_mask[j]"),
    ("flash_forward", "lanes = LANES / 2", "lanes = 0"),
    ("flash_forward", "__syncthreads();  // until", "// until"),
    ("flash_forward", "text_of(past + first, texts, n, J).start", "past + first"),
    ("flash_dq", "dp - D_i", "dp"),
    ("flash_dq", "score - lse_i", "score"),
    ("flash_dq", "write(dq + row, dq_i, exists, SCALE)", "write(dq + row, dq_i, exists, 1)"),
    ("flash_dq", "J, 1);\n        __syncthreads();", "J, 1);"),
    ("flash_dk_dv", "dp - Ds[i]", "dp"),
    ("flash_dk_dv", "p * (dp", "(dp"),
    ("flash_dk_dv", "(causal ? j : text.start)", "text.start"),
    ("flash_dk_dv", "text.stop - past", "I"),
    ("flash_dk_dv", "h < (g + 1) * (H / G)", "h <= g * (H / G)"),
    ("flash_dk_dv", "i_tile, I, SCALE)", "i_tile, I, 1)"),
    ("flash_dk_dv", "i_first > 0 ? i_first : 0", "TILE"),
]


def mutant(kernel, old, new):
    name, code = source(kernel, POINTS[GROUPS_AND_TEXTS][0][-1], np.dtype("float64"))
    assert old in code, (kernel, old)
    return name, code.replace(old, new)


@pytest.fixture(scope="module")
def compiled():
    """An Emulator that has compiled all kernels, in one go."""
    emulator = Emulator()
    of_points = [pair for name in POINTS for pair in sources(name)] + sources(GROUPS_AND_TEXTS, "float32")
    emulator.compile(of_points + [source(kernel, HEADS_OF_A_MODEL, np.dtype("float32")) for kernel in KERNELS])
    return emulator


@pytest.fixture(scope="module")
def compiled_mutants(compiled):
    """The Emulator, with all mutants."""
    compiled.compile([mutant(*m) for m in MUTANTS])
    return compiled


@pytest.fixture(params=[False, True], ids=["warps forwards", "warps backwards"])
def emulator(request, compiled, monkeypatch):
    """Where DeviceArrays take the kernels, as CuPy's arrays do, however few queries there are."""
    monkeypatch.setattr(compiled, "backwards", request.param)
    monkeypatch.setattr(compiled, "launched", [])
    monkeypatch.setattr(kernels, "on_gpu", lambda array: isinstance(array, DeviceArray))
    monkeypatch.setattr(kernels, "cuda_kernel", compiled)
    monkeypatch.setattr(flash_attention, "FEWEST_QUERIES", 1)
    return compiled


def on_device(*values):
    return [value if value is None else to_fake_device(value) for value in values]


def distances(name, dtype="float64"):
    """||kernel's - page's|| / ||page's|| of y, dq, dk and dv, one after the other."""
    q, k, v, dy, padding = arrays(name, dtype)
    options = POINTS[name][2]
    y, cache = ops.attention_forward(q, k, v, padding, **options)
    device_y, device_cache = attention_forward(*on_device(q, k, v, padding), **options)
    assert isinstance(device_cache, flash_attention.FlashAttentionCache)
    expected = y, *ops.attention_backward(dy, cache)
    for a, b in zip(expected, (device_y, *attention_backward(to_fake_device(dy), device_cache)), strict=True):
        assert isinstance(b, DeviceArray) and (b.shape, b.dtype) == (a.shape, a.dtype)
        yield np.linalg.norm(to_host(b) - a) / np.linalg.norm(a)


@pytest.mark.parametrize("name", POINTS)
def test_the_kernels_give_what_the_page_gives(name, emulator):
    assert max(distances(name)) <= TOLERANCE["float64"]
    assert emulator.launched == [code_name for code_name, _ in sources(name)]


def test_in_float32_too(emulator):
    assert max(distances(GROUPS_AND_TEXTS, "float32")) <= TOLERANCE["float32"]


@pytest.mark.parametrize(("kernel", "old", "new"), MUTANTS)
def test_a_wrong_kernel_is_found(kernel, old, new, compiled_mutants, monkeypatch):
    name, _ = mutant(kernel, old, new)
    monkeypatch.setattr(kernels, "on_gpu", lambda array: isinstance(array, DeviceArray))
    monkeypatch.setattr(
        kernels, "cuda_kernel", lambda n, code: compiled_mutants(n, code.replace(old, new) if n == name else code)
    )
    monkeypatch.setattr(flash_attention, "FEWEST_QUERIES", 1)

    def is_right(backwards):
        monkeypatch.setattr(compiled_mutants, "backwards", backwards)
        try:
            return all(distance <= TOLERANCE["float64"] for distance in distances(GROUPS_AND_TEXTS))
        except RuntimeError:  # threads at different places
            return False

    with np.errstate(all="ignore"):
        assert not (is_right(False) and is_right(True))


# ---- the contract


def moved(forward, backward, **options):
    """The op on the device, for arrays of the host."""

    def forward_there(*args):
        y, cache = forward(*on_device(*args), **options)
        return to_host(y), cache

    return forward_there, lambda dy, cache: tuple(map(to_host, backward(to_fake_device(dy), cache)))


def test_its_gradients_are_those_of_its_values(emulator):
    rng = np.random.default_rng(2)
    heads = {"q": (1, 2, 3, 4), "k": (1, 1, 5, 4), "v": (1, 1, 5, 4)}
    point = {name: rng.standard_normal(shape) for name, shape in heads.items()}
    check_op(*moved(attention_forward, attention_backward), point, rng=rng)

    def without_D(dy, cache):
        return attention_backward(dy, cache._replace(y=0.0 * cache.y))

    with pytest.raises(GradientError):
        check_op(*moved(attention_forward, without_D), point, rng=rng)


def test_its_cache_has_the_pages_fields_and_serves_the_page(emulator):
    q, k, v, dy, padding = arrays(GROUPS_AND_TEXTS)
    q, k, v, dy, padding = on_device(q, k, v, dy, padding)
    options = POINTS[GROUPS_AND_TEXTS][2]
    _, page_cache = ops.attention_forward(q, k, v, padding, **options)
    _, cache = attention_forward(q, k, v, padding, **options)
    for field in page_cache._fields:
        assert np.array_equal(to_host(getattr(cache, field)), to_host(getattr(page_cache, field))), field
    for a, b in zip(ops.attention_backward(dy, cache), attention_backward(dy, page_cache), strict=True):
        assert np.array_equal(to_host(a), to_host(b))


def test_no_array_has_a_number_for_each_query_and_key(emulator, monkeypatch):
    T = 37
    sizes = []
    wrap = device_array._wrap
    monkeypatch.setattr(device_array, "_wrap", lambda result: (sizes.append(np.size(result)), wrap(result))[1])
    q, k, v, dy, _ = on_device(*arrays("causal"))
    _, cache = attention_forward(q, k, v)
    attention_backward(dy, cache)
    assert max(sizes) == q.size < 2 * 3 * T * T  # N H T T
    assert cache.probs.size == 2 * 3 * T * T  # only for who asks
    assert max(sizes) >= 2 * 3 * T * T


def test_a_training_step_agrees_and_never_waits(emulator):
    host, device = host_model(), device_model()
    loss_and_backward(host, BATCH)
    with count_synchronisations() as count:
        loss_and_backward(device, BATCH)
    assert count.n == 0
    assert {name.partition("_3_")[0] for name in emulator.launched if "flash" in name} == set(KERNELS)
    for name, gradient in gradients(host).items():
        assert np.allclose(to_host(gradients(device)[name]), gradient, rtol=1e-4, atol=1e-6), name


# ---- which arrays take the kernels


def heads(T_q=16, K=4, dtype="float32", place=to_fake_device):
    """q, k and v of 16 positions, and a padding mask."""
    shapes = (1, 2, T_q, K), (1, 1, 16, K), (1, 1, 16, K)
    return [place(np.ones(shape, dtype)) for shape in shapes] + [place(np.ones((1, 16), bool))]


def test_what_does_not_fit_takes_the_tiles(monkeypatch):
    monkeypatch.setattr(kernels, "on_gpu", lambda array: isinstance(array, DeviceArray))
    fits = flash_attention.flash_fits
    q, k, v, padding = heads()
    assert fits(q, k, v, padding) and fits(q, k, v, None) and fits(*heads(K=MOST_COLUMNS, dtype="float64"))
    assert not fits(*heads(T_q=15)) and not fits(*heads(T_q=17)) and not fits(*heads(K=MOST_COLUMNS + 1))
    assert not fits(*heads(dtype="float16")) and not fits(*heads(place=np.asarray))
    assert not fits(heads(dtype="float64")[0], k, v, padding)
    assert not fits(q, k, v, padding[:, :15]) and not fits(q, k, v[:, :, :15], None)
    assert not fits(q[:0], k[:0], v[:0], None) and not fits(q[..., :0], k[..., :0], v[..., :0], None)
    monkeypatch.undo()
    assert isinstance(attention_forward(q, k, v)[1], attention.AttentionCache)


def test_a_gradient_of_another_shape_is_refused(emulator):
    q, k, v, dy, _ = on_device(*arrays("causal"))
    _, cache = attention_forward(q, k, v)
    with pytest.raises(ValueError, match=r"dy had shape \(2, 3, 36, 4\); it must have that of y, \(2, 3, 37, 4\)"):
        attention_backward(dy[:, :, 1:], cache)


@pytest.mark.parametrize("K", [1, 4, 33, 64, 80, 96, 128, 192, 256])
@pytest.mark.parametrize("itemsize", [4, 8])
def test_a_block_has_room_for_its_rows(K, itemsize):
    layout = layout_of(K, itemsize)
    width = layout.lanes * layout.columns
    assert width >= K and 32 % layout.lanes == 0 and layout.columns % 4 == 0
    assert layout.columns * itemsize <= 128
    assert layout.tile % 8 == 0 and 2 * layout.tile * (width + 1) * itemsize <= 48 * 1024
    assert layout.tile <= flash_attention.THREADS


@pytest.mark.skipif(NVCC is None, reason="nvcc is not installed: it is a part of CUDA's toolkit")
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_every_kernel_compiles(dtype, tmp_path):
    file = tmp_path / "kernels.cu"
    file.write_text(together(sources(GROUPS_AND_TEXTS, dtype)), encoding="utf-8")
    options = ["-std=c++17", "-arch=sm_80", "--cubin", "--Werror", "all-warnings"]
    done = subprocess.run([NVCC, *options, "-o", f"{file}.cubin", str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

"""On a GPU, attention's kernels give what the CPU gives, at sizes of several blocks, and make no T x T array."""

import numpy as np
import pytest

from minilora.arrays.backend import gpu_memory, to_device, to_numpy
from minilora.ops.fast import attention_backward, attention_forward
from minilora.ops.fast.flash_attention import FlashAttentionCache

pytestmark = pytest.mark.gpu

TEXTS = ((120, 180), (1, 299))
POINTS = {  # G, T_q, K; options
    "heads of 64": (8, 300, 64, {}),
    "groups, padding, heads of 128": (2, 300, 128, {"padding": True}),
    "groups, the last queries, not causal, heads of 80": (4, 170, 80, {"causal": False}),
    "texts, padding": (4, 300, 64, {"text_lengths": TEXTS, "padding": True}),
}
BOUNDS = {"float32": 1e-5, "float64": 1e-12}


def on_gpu(value):
    return to_device(value, "gpu") if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, "float32") for name in POINTS), ("heads of 64", "float64"), ("texts, padding", "float64")],
)
def test_the_flash_kernels_give_what_the_cpu_gives(name, dtype):
    G, T_q, K, options = POINTS[name]
    N, H, T = 2, 8, 300
    rng = np.random.default_rng(1)
    q, dy = (rng.standard_normal((N, H, T_q, K)).astype(dtype) for _ in range(2))
    k, v = (rng.standard_normal((N, G, T, K)).astype(dtype) for _ in range(2))
    padding = rng.random((N, T)) < 0.7 if options.get("padding") else None
    options = {key: value for key, value in options.items() if key != "padding"}
    y, cache = attention_forward(q, k, v, padding, **options)
    device_y, device_cache = attention_forward(*map(on_gpu, (q, k, v, padding)), **options)
    assert isinstance(device_cache, FlashAttentionCache)
    expected = y, *attention_backward(dy, cache)
    for a, b in zip(expected, (device_y, *attention_backward(on_gpu(dy), device_cache)), strict=True):
        b = to_numpy(b)
        assert (b.shape, b.dtype) == (a.shape, a.dtype)
        assert np.linalg.norm(b - a) <= BOUNDS[dtype] * np.linalg.norm(a)


def test_its_memory_does_not_grow_with_the_square_of_the_length():
    T = 4096
    q = on_gpu(np.random.default_rng(1).standard_normal((1, 4, T, 64)).astype("float32"))
    before = gpu_memory(release=True)["total"]
    y, cache = attention_forward(q, q, q)
    attention_backward(y, cache)
    assert gpu_memory()["total"] - before < 4 * T * T * q.itemsize / 4  # a quarter of one array of scores

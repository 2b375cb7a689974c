"""What every layer promises: a right gradient, added into trainable parameters alone, and a cache that is not kept."""

import numpy as np
import pytest

from minilora.layers import (
    MLP,
    Block,
    Embedding,
    GatedMLP,
    LayerNorm,
    Linear,
    LlamaBlock,
    PostLNBlock,
    RMSNorm,
    SelfAttention,
)
from minilora.methods.houlsby import Houlsby, HoulsbySublayer
from minilora.methods.lora import DoRAFactors, LoRAFactors, LoRALinear
from minilora.ops import fast
from minilora.parameter import Parameter
from ops.cases import array_leaves

N, T, C, F, H, R = 2, 5, 6, 7, 3, 2


def lora_linear(normal, linear, make=LoRAFactors, **more):
    base = linear(C, F)
    base.freeze()
    layer = LoRALinear(base)
    layer.adapters["one"] = make(Parameter(normal((R, C))), Parameter(normal((F, R))), scale=1.7, **more)
    layer.active = "one"
    return layer


def dora_linear(normal, linear):
    return lora_linear(normal, linear, DoRAFactors, m=Parameter(normal(F)), exact=True)


def layernorm(normal):
    return LayerNorm(normal(C), normal(C))


def attention(linear, causal=True):
    return SelfAttention(*(linear(C, C) for _ in range(4)), H, causal)


def mlp(linear):
    return MLP(linear(C, F), linear(F, C), "gelu_tanh")


def gated_mlp(linear):
    return GatedMLP(linear(C, F), linear(C, F), linear(F, C))


def grouped_attention(linear):
    """H = 4 query heads of K = 3, and G = 2 key-value heads."""
    return SelfAttention(linear(C, 12), linear(C, 6), linear(C, 6), linear(12, C), 4, n_kv_head=2)


MAKE = {
    "Linear": lambda normal, linear: linear(C, F),
    "Linear without bias": lambda normal, linear: Linear(normal((F, C))),
    "LayerNorm": lambda normal, linear: layernorm(normal),
    "LoRALinear": lora_linear,
    "DoRA": dora_linear,
    "MLP": lambda normal, linear: mlp(linear),
    "Houlsby": lambda normal, linear: Houlsby(linear(C, R), linear(R, C)),
    "Houlsby with a LayerNorm": lambda normal, linear: Houlsby(linear(C, R), linear(R, C), layernorm(normal)),
    "HoulsbySublayer, MLP": lambda normal, linear: HoulsbySublayer(mlp(linear), Houlsby(linear(C, R), linear(R, C))),
    "HoulsbySublayer, attention": lambda normal, linear: HoulsbySublayer(
        attention(linear), Houlsby(linear(C, R), linear(R, C), layernorm(normal))
    ),
    "SelfAttention": lambda normal, linear: attention(linear),
    "SelfAttention, not causal": lambda normal, linear: attention(linear, causal=False),
    "Block": lambda normal, linear: Block(layernorm(normal), attention(linear), layernorm(normal), mlp(linear)),
    "RMSNorm": lambda normal, linear: RMSNorm(normal(C)),
    "GatedMLP": lambda normal, linear: gated_mlp(linear),
    "SelfAttention, grouped": lambda normal, linear: grouped_attention(linear),
    "LlamaBlock": lambda normal, linear: LlamaBlock(
        RMSNorm(normal(C)), grouped_attention(linear), RMSNorm(normal(C)), gated_mlp(linear)
    ),
    "PostLNBlock": lambda normal, linear: PostLNBlock(
        attention(linear, causal=False),
        layernorm(normal),
        MLP(linear(C, F), linear(F, C), "gelu_tanh"),
        layernorm(normal),
    ),
}


@pytest.fixture(params=MAKE.values(), ids=MAKE.keys())
def layer(request, normal, linear):
    return request.param(normal, linear)


@pytest.fixture
def x(normal):
    return normal((N, T, C))


@pytest.fixture
def dy(layer, x, normal):
    return normal(layer.forward(x)[0].shape)


def gradients(layer):
    return {name: None if p.grad is None else p.grad.copy() for name, p in layer.named_parameters()}


def test_backward_is_the_slope_of_forward(layer, x, check_layer):
    check_layer(layer, x)
    assert all(p.grad is not None for p in layer.trainable_parameters())


def test_float32_stays_float32(layer, x, dy):
    for p in layer.parameters():
        p.data = p.data.astype(np.float32)
    y, cache = layer.forward(x.astype(np.float32))
    dx = layer.backward(dy.astype(np.float32), cache)
    assert y.dtype == dx.dtype == np.float32
    assert {p.grad.dtype for p in layer.trainable_parameters()} == {np.dtype(np.float32)}


def test_gradients_accumulate(layer, x, dy):
    _, cache = layer.forward(x)
    layer.backward(dy, cache)
    once = gradients(layer)
    layer.backward(dy, cache)
    assert all(np.array_equal(p.grad, 2.0 * once[name]) for name, p in layer.named_parameters() if p.trainable)


def test_a_cache_without_the_result_is_the_same_cache_to_the_bit(layer, x):
    expected, alone = layer.forward(x)[1], layer.cache_of(x)
    assert type(alone) is type(expected)
    leaves = [list(array_leaves(cache)) for cache in (expected, alone)]
    assert len(leaves[0]) == len(leaves[1])
    assert all(np.array_equal(a, b) for a, b in zip(*leaves, strict=True))


def test_a_forward_in_between_changes_nothing(layer, x, dy):
    _, cache = layer.forward(x)
    dx = layer.backward(dy, cache)
    expected = gradients(layer)

    layer.zero_grad()
    _, cache = layer.forward(x)
    layer.forward(x[:1] + 1.0)
    assert np.array_equal(layer.backward(dy, cache), dx)
    assert all(np.array_equal(expected[name], p.grad) for name, p in layer.named_parameters() if p.trainable)


def test_frozen_means_no_gradient_and_the_same_dx(layer, x, dy):
    _, cache = layer.forward(x)
    dx = layer.backward(dy, cache)
    layer.freeze()
    assert np.array_equal(layer.backward(dy, cache), dx)
    assert set(gradients(layer).values()) == {None}


def test_each_parameter_can_be_trained_alone(layer, x, dy):
    _, cache = layer.forward(x)
    layer.backward(dy, cache)
    expected = gradients(layer)
    for alone in layer.trainable_parameters():
        layer.freeze()
        alone.trainable = True
        layer.backward(dy, cache)
        for name, p in layer.named_parameters():
            assert np.array_equal(p.grad, expected[name]) if p is alone else p.grad is None


def test_embedding_has_a_gradient_for_W_and_none_for_ids(normal):
    layer, ids, dy = Embedding(normal((4, C))), np.array([[1, 1, 3]]), normal((1, 3, C))
    y, cache = layer.forward(ids)
    assert np.array_equal(y, layer.W.data[ids])
    assert layer.backward(dy, cache) is None
    assert np.array_equal(layer.W.grad, [np.zeros(C), dy[0, 0] + dy[0, 1], np.zeros(C), dy[0, 2]])

    layer.freeze()
    layer.backward(dy, cache)
    assert layer.W.grad is None


def test_a_frozen_linear_keeps_no_input_and_a_trained_one_does():
    layer, x = Linear(np.ones((4, 3))), np.ones((2, 3))
    assert layer.forward(x)[1].x is x
    layer.freeze()
    y, cache = layer.forward(x)
    assert cache.x is None and layer.backward(y, cache).shape == x.shape


def test_a_cache_of_a_frozen_linear_gives_no_dW():
    layer = Linear(np.ones((4, 3)), np.ones(4))
    layer.name_parameters()
    for name, p in layer.named_parameters():
        layer.freeze()
        y, cache = layer.forward(np.ones((2, 3)))
        p.trainable = True
        with pytest.raises(ValueError, match=f"cache was made while {name} was frozen: run forward again"):
            layer.backward(y, cache)


def gradients_of_the_op(monkeypatch, layer, x, dy):
    """What LayerNorm's op returns to the layer: whether dx, dgain and dbias are there."""
    returned = []

    def backward(dy, cache):
        returned.append(fast.layernorm_backward(dy, cache))
        return returned[-1]

    monkeypatch.setattr("minilora.layers.layernorm.layernorm_backward", backward)
    layer.backward(dy, layer.forward(x)[1])
    return [grad is not None for grad in returned[0]]


@pytest.mark.parametrize("trained", [(), ("gain",), ("bias",), ("gain", "bias")])
def test_a_layernorm_computes_the_gradients_of_what_is_trained(monkeypatch, normal, x, trained):
    layer = layernorm(normal)
    for name, p in layer.named_parameters():
        p.trainable = name in trained
    assert gradients_of_the_op(monkeypatch, layer, x, x) == [True, "gain" in trained, "bias" in trained]

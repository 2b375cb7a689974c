"""DeBERTa's layers one by one: attention that uses q_proj and k_proj twice, and the convolution beside the block."""

import numpy as np
import pytest

from minilora.gradcheck import GradientError, check_op
from minilora.layers import ConvLayer, DisentangledSelfAttention, LayerNorm, Linear
from minilora.ops.fast import conv1d_forward, gelu_exact_forward, layernorm_forward, relative_rows

N, T, C, H, M, S = 2, 5, 12, 4, 8, 3
ROWS = np.array(relative_rows(T, n_buckets=M // 2, max_distance=5))
MASK = np.array([[True] * T, [True, True, False, True, False]])
FACTOR = MASK[:, :, None].astype(float)  # (N, T, 1)


def rng(seed=0):
    return np.random.default_rng(seed)


def attention():
    draw = rng(1)
    projections = (Linear(draw.standard_normal((C, C)) / 3, draw.standard_normal(C)) for _ in range(4))
    return DisentangledSelfAttention(*projections, H)


def conv_layer():
    draw = rng(2)
    return ConvLayer(
        draw.standard_normal((C, C, S)), draw.standard_normal(C), LayerNorm(draw.standard_normal(C), np.ones(C), 1e-7)
    )


X, RESIDUAL = rng(3).standard_normal((2, N, T, C))
RELATIVE = rng(4).standard_normal((M, C))
INPUTS = {"x": X, "relative": RELATIVE}


# ---- attention


@pytest.mark.parametrize("mask", [None, MASK], ids=["no mask", "padding"])
def test_dx_and_drelative_of_attention_are_slopes(mask):
    layer = attention()
    check_op(layer.forward, layer.backward, INPUTS, ROWS, mask, rng=rng())


@pytest.mark.parametrize("forgotten", ["q_proj", "k_proj"])
def test_a_drelative_that_forgets_a_projection_fails(monkeypatch, forgotten):
    layer = attention()

    def backward(dy, cache):
        projection = getattr(layer, forgotten)
        right = projection.backward
        monkeypatch.setattr(projection, "backward", lambda d, *rest: right(d if d.ndim == 3 else 0.0 * d, *rest))
        grads = layer.backward(dy, cache)
        monkeypatch.undo()
        return grads

    with pytest.raises(GradientError, match="the gradient of relative"):
        check_op(layer.forward, backward, INPUTS, ROWS, rng=rng())


# ---- the convolution


def test_the_convolution_is_what_its_formula_says():
    layer = conv_layer()
    y, _ = layer.forward(X, RESIDUAL, FACTOR)
    h = gelu_exact_forward(conv1d_forward(X, layer.W.data, layer.bias.data)[0])[0]
    expected = FACTOR * layernorm_forward(RESIDUAL + h, layer.ln.gain.data, layer.ln.bias.data, 1e-7)[0]
    assert np.array_equal(y, expected)


@pytest.mark.parametrize("mask", [None, FACTOR], ids=["no mask", "padding"])
def test_the_gradients_of_the_convolution_are_slopes(mask):
    layer = conv_layer()
    check_op(layer.forward, layer.backward, {"x": X, "residual": RESIDUAL}, mask, rng=rng())


def test_a_convolution_that_forgets_the_mask_fails():
    layer = conv_layer()
    with pytest.raises(GradientError):
        check_op(
            layer.forward,
            lambda dy, cache: layer.backward(dy, cache._replace(padding_mask=None)),
            {"x": X, "residual": RESIDUAL},
            FACTOR,
            rng=rng(),
        )


def test_a_convolution_hides_what_is_padding():
    layer = conv_layer()
    y, _ = layer.forward(X * FACTOR, RESIDUAL, FACTOR)
    assert not y[~MASK].any()
    residual = np.where(FACTOR > 0, RESIDUAL, 1e3)
    assert np.array_equal(layer.forward(X * FACTOR, residual, FACTOR)[0], y)

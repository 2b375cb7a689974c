import numpy as np
import pytest

from minilora.layers import KeyValueCache, SelfAttention
from minilora.layers.attention import merge_heads, split_heads

N, T, C, H, K = 2, 5, 6, 3, 2


@pytest.fixture
def layer(linear):
    return SelfAttention(*(linear(C, C) for _ in range(4)), H)


def empty_past():
    return KeyValueCache(np.full((N, H, 7, K), np.nan), np.full((N, H, 7, K), np.nan))


def test_a_head_is_a_run_of_channels(normal):
    x = normal((N, T, C))
    assert np.array_equal(split_heads(x, H)[:, 1], x[:, :, K : 2 * K])
    assert np.array_equal(merge_heads(split_heads(x, H)), x)


def test_probs_are_in_the_cache(layer, normal):
    _, cache = layer.forward(normal((N, T, C)))
    assert cache.probs.shape == (N, H, T, T)
    assert np.allclose(cache.probs.sum(axis=-1), 1.0, rtol=0, atol=1e-14)


@pytest.mark.parametrize("pieces", [(5,), (4, 1), (1, 1, 1, 1, 1), (2, 3)])
def test_x_in_pieces_gives_what_it_gives_whole(layer, normal, pieces):
    x = normal((N, T, C))
    past, ends = empty_past(), np.cumsum(pieces)
    y = [layer.forward(x[:, end - size : end], past=past)[0] for size, end in zip(pieces, ends, strict=True)]
    assert np.allclose(np.concatenate(y, axis=1), layer.forward(x)[0], rtol=0, atol=1e-12)
    assert past.length == T


def test_append_returns_all_keys_so_far(normal):
    past, k = empty_past(), normal((N, H, 3, K))
    past.append(k[:, :, :2], k[:, :, :2])
    keys, values = past.append(k[:, :, 2:], 2.0 * k[:, :, 2:])
    assert np.array_equal(keys, k)
    assert np.array_equal(values[:, :, 2:], 2.0 * k[:, :, 2:])


def test_the_bias_of_k_has_a_gradient_of_zero(layer, normal):
    _, cache = layer.forward(normal((N, T, C)))
    layer.backward(normal((N, T, C)), cache)
    assert np.allclose(layer.k_proj.bias.grad, 0.0, rtol=0, atol=1e-13)
    assert np.abs(layer.q_proj.bias.grad).min() > 1e-3


def test_in_a_decoder_a_position_sees_what_came_before_and_in_an_encoder_all(linear, normal):
    projections, x = [linear(C, C) for _ in range(4)], normal((N, T, C))
    for causal in (True, False):
        _, cache = SelfAttention(*projections, H, causal).forward(x)
        assert np.triu(cache.probs, k=1).any() != causal


@pytest.mark.parametrize("causal", [True, False])
def test_what_the_key_mask_hides_changes_nothing_elsewhere(linear, normal, causal):
    layer = SelfAttention(*(linear(C, C) for _ in range(4)), H, causal)
    x, seen = normal((N, T, C)), np.array([[True] * 5, [True, False, True, True, False]])
    y, cache = layer.forward(x, padding_mask=seen)
    assert not cache.probs[1][..., ~seen[1]].any()
    other, _ = layer.forward(np.where(seen[..., None], x, normal((N, T, C))), padding_mask=seen)
    assert np.allclose(other[seen], y[seen], rtol=0, atol=1e-14)
    assert not np.allclose(layer.forward(x)[0][1], y[1])

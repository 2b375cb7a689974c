"""What every op keeps, over random shapes, also empty and of one element, and both dtypes."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from minilora import ops
from minilora.gradcheck import check_op

quick = settings(max_examples=40, deadline=None)
sizes, seeds, dtypes = st.integers(1, 5), st.integers(0, 2**32), st.sampled_from(["float32", "float64"])
some_axes = st.lists(st.integers(0, 3), max_size=2).map(tuple)  # an empty batch, one row, or (N, T)
filled_axes = st.lists(st.integers(1, 3), max_size=2).map(tuple)
names = st.sampled_from(["linear", "lora_linear", "layernorm", "gelu_tanh", "gelu_exact", "tanh", "softmax"])


def row_op(name, lead, I, O, r, seed, dtype):
    """An op on rows, as (forward, backward, arrays, arguments, the arrays that have a gradient)."""
    draw = np.random.default_rng(seed)

    def normal(*shape):
        return draw.standard_normal(shape).astype(dtype)

    arrays, arguments = {"x": normal(*lead, I)}, ()
    if name in ("linear", "lora_linear"):
        arrays |= {"W": normal(O, I), "bias": normal(O)}
    if name == "lora_linear":
        arrays, arguments = arrays | {"A": normal(r, I), "B": normal(O, r)}, (1.7,)
    if name == "layernorm":
        arrays |= {"gain": normal(I), "bias": normal(I)}
    wrt = ("x", "A", "B") if name == "lora_linear" else tuple(arrays)
    return getattr(ops, f"{name}_forward"), getattr(ops, f"{name}_backward"), arrays, arguments, wrt


def as_tuple(grads):
    return grads if isinstance(grads, tuple) else (grads,)


@quick
@given(names, some_axes, sizes, sizes, sizes, seeds, dtypes)
def test_gradients_have_shape_and_dtype_of_what_they_belong_to(name, lead, I, O, r, seed, dtype):
    forward, backward, arrays, arguments, wrt = row_op(name, lead, I, O, r, seed, dtype)
    y, cache = forward(*arrays.values(), *arguments)
    assert y.dtype == dtype and y.shape[:-1] == lead
    for array, grad in zip((arrays[n] for n in wrt), as_tuple(backward(y, cache)), strict=True):
        assert grad.shape == array.shape and grad.dtype == dtype


@quick
@given(names, filled_axes, st.integers(3, 5), sizes, sizes, seeds)
def test_a_gradient_is_a_difference_quotient(name, lead, I, O, r, seed):
    """From 3 features on: layernorm of two is +1 and -1 whatever they are, and has no slope to speak of."""
    forward, backward, arrays, arguments, wrt = row_op(name, lead, I, O, r, seed, "float64")
    check_op(forward, backward, arrays, *arguments, rng=np.random.default_rng(seed), wrt=wrt, bound=1e-6)


@quick
@given(names, st.integers(1, 6), sizes, sizes, sizes, seeds)
def test_a_row_is_computed_by_itself_wherever_it_stands(name, N, I, O, r, seed):
    forward, _, arrays, arguments, _ = row_op(name, (N,), I, O, r, seed, "float64")
    x, *others = arrays.values()
    y, _ = forward(x, *others, *arguments)
    order = np.random.default_rng(seed).permutation(N)
    permuted, _ = forward(x[order], *others, *arguments)
    alone, _ = forward(x[-1:], *others, *arguments)
    assert np.allclose(permuted, y[order], rtol=1e-13, atol=1e-13)
    assert np.allclose(alone, y[-1:], rtol=1e-13, atol=1e-13)


def heads(draw, N, H, T, K):
    return [draw.standard_normal((N, H, T, K)) for _ in range(3)]


@quick
@given(st.integers(0, 3), sizes, sizes, sizes, st.integers(1, 4), st.booleans(), seeds)
def test_attention_does_not_see_padding(N, H, T, K, added, causal, seed):
    draw = np.random.default_rng(seed)
    q, k, v = heads(draw, N, H, T, K)
    more = heads(draw, N, H, added, K)
    padded = [np.concatenate(pair, axis=2) for pair in zip((q, k, v), more, strict=True)]
    mask = np.arange(T + added) < np.full((N, 1), T)
    y, _ = ops.attention_forward(q, k, v, causal=causal)
    of_padded, _ = ops.attention_forward(*padded, mask, causal=causal)
    assert np.allclose(of_padded[:, :, :T], y, rtol=0, atol=1e-13)


@quick
@given(st.integers(1, 4), sizes, sizes, sizes, st.booleans(), seeds)
def test_attention_of_a_permuted_batch_is_permuted(N, H, T, K, causal, seed):
    draw = np.random.default_rng(seed)
    q, k, v = heads(draw, N, H, T, K)
    order = draw.permutation(N)
    y, _ = ops.attention_forward(q, k, v, causal=causal)
    permuted, _ = ops.attention_forward(q[order], k[order], v[order], causal=causal)
    assert np.allclose(permuted, y[order], rtol=0, atol=1e-13)


@quick
@given(filled_axes, st.integers(1, 6), seeds, st.booleans())
def test_cross_entropy_is_the_mean_over_what_counts(lead, V, seed, masked):
    draw = np.random.default_rng(seed)
    logits, targets = draw.standard_normal((*lead, V)), draw.integers(0, V, lead)
    mask = np.asarray(draw.random(lead) < 0.5) if masked else np.ones(lead, bool)
    loss, cache = ops.cross_entropy_forward(logits, targets, mask)
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    chosen = -np.take_along_axis(log_p, np.asarray(targets)[..., None], axis=-1)[..., 0]
    expected = chosen[mask].mean() if mask.any() else 0.0
    assert np.isclose(loss, expected, rtol=1e-12, atol=1e-13)
    dlogits = ops.cross_entropy_backward(1.0, cache)
    assert np.allclose(dlogits.sum(axis=-1), 0.0, atol=1e-14)  # probabilities stay a distribution
    assert not dlogits[~mask].any()

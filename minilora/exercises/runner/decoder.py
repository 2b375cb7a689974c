"""A GPT in plain NumPy, of which eight functions are missing: those that a student has written take their places.

What is written out here is asked for in no exercise: looking up tokens, GELU, the forward pass of attention, and how
the parts are put together. A linear map with LoRA, LayerNorm, and the gradients of attention, of the loss and of the
head are called by name.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy

Arrays = dict[str, numpy.ndarray]
Functions = dict[str, Callable]
PROJECTIONS = ("attn.q_proj", "attn.k_proj", "attn.v_proj", "attn.o_proj", "mlp.fc_in", "mlp.fc_out")
CUBIC, ROOT = 0.044715, math.sqrt(2.0 / math.pi)  # of GPT-2's GELU


class Shape(NamedTuple):
    """The numbers that weights alone do not tell."""

    n_layer: int
    n_head: int
    eps: float
    scale: float  # alpha / r, as lora_start gave it


class Batch(NamedTuple):
    """Token ids, what follows each, and which of these count: (N, T) each."""

    ids: numpy.ndarray
    targets: numpy.ndarray
    mask: numpy.ndarray


def loss_and_gradients(P: Arrays, batch: Batch, shape: Shape, f: Functions) -> tuple[float, Arrays]:
    """The mean cross entropy of a batch, and the gradient of every A and B.

    Parameters
    ----------
    P : dict of str to ndarray
        Weights and adapters by the names that minilora's GPT gives them.
    batch : Batch
    shape : Shape
    f : dict of str to callable
        The student's functions, by name.
    """
    logits, cache = forward(P, batch.ids, shape, f)
    loss, probs = cross_entropy(logits, batch)
    dlogits = f["cross_entropy_backward"](1.0, (probs, batch.targets, batch.mask))  # (N, T, V)
    gradients: Arrays = {}
    backward(P, dlogits, cache, shape, f, gradients)
    return loss, gradients


def forward(P: Arrays, ids: numpy.ndarray, shape: Shape, f: Functions) -> tuple[numpy.ndarray, Any]:
    """The logits after each token: (N, T) -> (N, T, V)."""
    x, blocks = P["wte.W"][ids] + P["wpe.W"][: ids.shape[1]], []  # (N, T, C)
    for n in range(shape.n_layer):
        x, cache = block(P, f"blocks.{n}.", x, shape, f)
        blocks.append(cache)
    x, ln_f = f["layernorm_forward"](x, P["ln_f.gain"], P["ln_f.bias"], shape.eps)
    return x @ P["wte.W"].T, (blocks, x, ln_f)  # the head is the embedding, too


def backward(P: Arrays, dlogits: numpy.ndarray, cache: Any, shape: Shape, f: Functions, G: Arrays) -> None:
    """The forward, read from its end; puts the gradients of A and B into G."""
    blocks, x, ln_f = cache
    # forward: logits = x wte^T: a linear map without a bias. It is frozen, so of its gradients dx alone is of use
    dx, _, _ = f["linear_backward"](dlogits, (x, P["wte.W"], numpy.zeros(len(P["wte.W"]))))
    dx, _, _ = f["layernorm_backward"](dx, ln_f)
    for n in reversed(range(shape.n_layer)):
        dx = block_backward(P, f"blocks.{n}.", dx, blocks[n], shape, f, G)


def block(P: Arrays, at: str, x: numpy.ndarray, shape: Shape, f: Functions) -> tuple[numpy.ndarray, Any]:
    """y = x + attention(ln_1(x)), then y + mlp(ln_2(y)): (N, T, C) -> (N, T, C)."""
    a, ln_1 = f["layernorm_forward"](x, P[at + "ln_1.gain"], P[at + "ln_1.bias"], shape.eps)
    q, k, v = (split_heads(linear(P, f"{at}attn.{name}_proj", a, shape, f), shape.n_head) for name in "qkv")
    heads, probs = attention(q, k, v)
    merged = merge_heads(heads)  # (N, T, C)
    y = x + linear(P, at + "attn.o_proj", merged, shape, f)
    b, ln_2 = f["layernorm_forward"](y, P[at + "ln_2.gain"], P[at + "ln_2.bias"], shape.eps)
    u = linear(P, at + "mlp.fc_in", b, shape, f)  # (N, T, F)
    g, slope = gelu(u)
    return y + linear(P, at + "mlp.fc_out", g, shape, f), (ln_1, a, (q, k, v, probs), merged, ln_2, b, g, slope)


def block_backward(
    P: Arrays, at: str, dz: numpy.ndarray, cache: Any, shape: Shape, f: Functions, G: Arrays
) -> numpy.ndarray:
    """(N, T, C) -> (N, T, C)"""
    ln_1, a, attn, merged, ln_2, b, g, slope = cache
    du = slope * linear_backward(P, at + "mlp.fc_out", dz, g, shape, f, G)
    db = linear_backward(P, at + "mlp.fc_in", du, b, shape, f, G)
    dy = dz + f["layernorm_backward"](db, ln_2)[0]  # y is used twice: its gradient is a sum
    dmerged = linear_backward(P, at + "attn.o_proj", dy, merged, shape, f, G)
    dqkv = f["attention_backward"](split_heads(dmerged, shape.n_head), attn)
    of_three = [
        linear_backward(P, f"{at}attn.{name}_proj", merge_heads(d), a, shape, f, G)
        for name, d in zip("qkv", dqkv, strict=True)
    ]
    return dy + f["layernorm_backward"](of_three[0] + of_three[1] + of_three[2], ln_1)[0]


def linear(P: Arrays, name: str, x: numpy.ndarray, shape: Shape, f: Functions) -> numpy.ndarray:
    """A linear map with its adapter: (..., I) -> (..., O)."""
    W, bias, A, B = (P[f"{name}.{part}"] for part in ("W", "bias", "A", "B"))
    return f["lora_linear_forward"](x, W, bias, A, B, shape.scale)


def linear_backward(
    P: Arrays, name: str, dy: numpy.ndarray, x: numpy.ndarray, shape: Shape, f: Functions, G: Arrays
) -> numpy.ndarray:
    """dx, (..., I); the gradients of A and B go into G."""
    W, A, B = (P[f"{name}.{part}"] for part in "WAB")
    dx, G[name + ".A"], G[name + ".B"] = f["lora_linear_backward"](dy, (x, x @ A.T, W, A, B, shape.scale))
    return dx


def attention(q: numpy.ndarray, k: numpy.ndarray, v: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """softmax(q k^T / sqrt(K)) v, where a query sees its own and earlier positions: (N, H, T, K), and probs."""
    scores = q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1])  # (N, H, T, T)
    seen = numpy.tril(numpy.ones(scores.shape[-2:], bool))
    probs = softmax(numpy.where(seen, scores, -math.inf))
    return probs @ v, probs


def softmax(x: numpy.ndarray) -> numpy.ndarray:
    """exp(x) / sum exp(x), over the last axis."""
    e = numpy.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def cross_entropy(logits: numpy.ndarray, batch: Batch) -> tuple[float, numpy.ndarray]:
    """The mean of -log probs[target] over the positions that count; and probs, (N, T, V)."""
    probs = softmax(logits)
    of_target = numpy.take_along_axis(probs, batch.targets[..., None], axis=-1)[..., 0]  # (N, T)
    return -float(numpy.log(of_target[batch.mask]).mean()), probs


def gelu(x: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """x Phi(x) in GPT-2's tanh form, and its slope."""
    Phi = 0.5 * (1.0 + numpy.tanh(ROOT * (x + CUBIC * x * x * x)))
    return x * Phi, Phi + 2.0 * x * Phi * (1.0 - Phi) * ROOT * (1.0 + 3.0 * CUBIC * x * x)


def split_heads(x: numpy.ndarray, H: int) -> numpy.ndarray:
    """(N, T, C) -> (N, H, T, K)"""
    N, T, C = x.shape
    return x.reshape(N, T, H, C // H).transpose(0, 2, 1, 3)


def merge_heads(x: numpy.ndarray) -> numpy.ndarray:
    """(N, H, T, K) -> (N, T, C)"""
    N, H, T, K = x.shape
    return x.transpose(0, 2, 1, 3).reshape(N, T, H * K)

"""A decoder as a flat list of arrays, for `new_logits`: its linear maps as they are now, whoever adapts them."""

import math
from collections.abc import Callable
from typing import Any

from minilora.arrays.backend import Array, get_xp, on_host
from minilora.arrays.reductions import constant_vector, vecdot
from minilora.layers import MLP, Block, Embedding, GatedMLP, LayerNorm, LlamaBlock, RMSNorm, SelfAttention
from minilora.models.decode import FlatBlock, FlatDecoder
from minilora.models.gpt import GPT
from minilora.models.llama import Llama
from minilora.models.products import Products
from minilora.ops.fast import silu_gate_forward
from minilora.ops.gelu import CUBIC, SQRT_2_OVER_PI
from minilora.ops.plain import plain_ops_active

NORMS = {Block: ("ln_1", "ln_2"), LlamaBlock: ("rms_1", "rms_2")}


class NotFlat(Exception):
    """A part of a model is none of those that `new_logits` knows."""


def flatten(model: Any, length: int) -> FlatDecoder | None:
    """The model as it is now, for sequences of at most `length` positions; None if it has to be computed by `forward`.

    A model has to, if something other than W, A, B and a bias stands where a plain decoder has a linear map, such as an
    adapter for each row, or a layer between two sublayers; or if `plain_ops` is active. A class that computes its own
    `hidden` says what it computes after its prompt: ``after_prompt = GPT``. If it says nothing, it has to as well.

    Nothing is copied but small maps, and the A and B of a method that has no such product, so memory stays what it was.
    Values that change in place afterwards, as in training, are not all seen.
    """
    kind = vars(type(model)).get("after_prompt", type(model))
    if kind not in (GPT, Llama) or plain_ops_active():
        return None
    try:
        blocks = [_flat_block(block) for block in model.blocks]
        norm_f, head = Norm(model.ln_f if kind is GPT else model.rms_f), Products([_map_of(model.head)])
        embed = _embedding(model)
    except NotFlat:
        return None
    attn = model.blocks[0].attn
    rotation = None if kind is GPT else _table(*model.rotation(model.xp.arange(length)))
    return FlatDecoder(embed, rotation, blocks, norm_f, head, attn.n_head, attn.n_kv_head)


def _flat_block(block: Any) -> FlatBlock:
    attn, mlp = block.attn, block.mlp
    if type(block) not in NORMS or type(attn) is not SelfAttention or type(mlp) not in (MLP, GatedMLP):
        raise NotFlat
    norm_1, norm_2 = (Norm(getattr(block, name)) for name in NORMS[type(block)])
    gated = type(mlp) is GatedMLP
    ups, down = ([mlp.gate_proj, mlp.up_proj], mlp.down_proj) if gated else ([mlp.fc_in], mlp.fc_out)
    return FlatBlock(
        norm_1,
        Products([_map_of(layer) for layer in (attn.q_proj, attn.k_proj, attn.v_proj)]),
        Products([_map_of(attn.o_proj)]),
        norm_2,
        Products([_map_of(layer) for layer in ups]),
        silu_gate if gated else _values_of(mlp.activation),
        Products([_map_of(down)]),
    )


def _map_of(layer: Any) -> Any:
    if not hasattr(layer, "products"):
        raise NotFlat
    return layer.products()


def _embedding(model: Any) -> Callable[[Array, Any], Array]:
    """What enters the first block: tokens (N,) at position t -> (N, C)."""
    if isinstance(model, GPT) and type(model.wpe) is not Embedding:
        raise NotFlat
    wte = model.wte.W.data.__getitem__ if type(model.wte) is Embedding else lambda tokens: model.wte.forward(tokens)[0]
    if not isinstance(model, GPT):
        return lambda tokens, t: wte(tokens)
    wpe = model.wpe.W.data
    return lambda tokens, t: wte(tokens) + wpe[t]


def _table(cos: Array, sin: Array) -> tuple[Array, Array]:
    """cos and sin of all angles, (T, K/2), for both halves of a head: (T, 2, K/2); see `rotate`."""
    xp = get_xp(cos=cos)
    return xp.stack([cos, cos], axis=1), xp.stack([-sin, sin], axis=1)


class Norm:
    """LayerNorm or RMSNorm of rows: (N, C) -> (N, C), with c = x - mean, or c = x.

    gain c / sqrt(mean(c^2) + eps) = (gain sqrt(C)) c / sqrt(c . c + C eps)
    """

    def __init__(self, layer: Any) -> None:
        if type(layer) not in (LayerNorm, RMSNorm):
            raise NotFlat
        C = len(layer.gain.data)
        self.gain, self.eps = layer.gain.data * math.sqrt(C), layer.eps * C
        self.bias = layer.bias.data if type(layer) is LayerNorm else None
        self.mean = constant_vector(get_xp(self.gain), C, 1.0 / C, self.gain.dtype)[:, None]  # x @ mean is (N, 1)

    def __call__(self, x: Array) -> Array:
        """(N, C) -> (N, C)"""
        if self.bias is not None:
            x = x - x @ self.mean
        if len(x) == 1 and on_host(x):  # Python's arithmetic is faster with a single number
            y = x / math.sqrt(float(vecdot(x[0], x[0])) + self.eps)
        else:
            y = x / ((vecdot(x, x) + self.eps) ** 0.5)[:, None]
        y *= self.gain
        if self.bias is not None:
            y += self.bias
        return y


def _values_of(activation: Any) -> Callable[[Array], Array]:
    """An activation without what its backward needs."""
    if activation.name == "gelu_tanh":
        return gelu_tanh
    return lambda h: activation.forward(h)[0]


def gelu_tanh(h: Array) -> Array:
    """h (1 + tanh(sqrt(2 / pi) (h + 0.044715 h^3))) / 2, as in `ops/gelu.py`: (N, F) -> (N, F)"""
    y = h * h
    y *= SQRT_2_OVER_PI * CUBIC
    y += SQRT_2_OVER_PI
    y *= h
    get_xp(h=h).tanh(y, out=y)
    y += 1.0
    y *= h
    y *= 0.5
    return y


def silu_gate(h: Array) -> Array:
    """silu(gate) * up, of gate and up side by side: (N, 2 F) -> (N, F)"""
    F = h.shape[1] // 2
    return silu_gate_forward(h[:, :F], h[:, F:])[0]

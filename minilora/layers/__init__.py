"""Layers: Parameters with an op. ``y, cache = layer.forward(x)``; ``dx = layer.backward(dy, cache)``."""

from minilora.layers.activation import Activation
from minilora.layers.adapter import AdaptedSublayer, Adapter
from minilora.layers.attention import KeyValueCache, SelfAttention
from minilora.layers.block import Block
from minilora.layers.conv_layer import ConvLayer
from minilora.layers.deberta_block import DebertaBlock
from minilora.layers.disentangled_attention import DisentangledSelfAttention
from minilora.layers.embedding import Embedding
from minilora.layers.layernorm import LayerNorm
from minilora.layers.linear import Linear
from minilora.layers.lora_linear import LoRAFactors, LoRALinear, lora_scale
from minilora.layers.lora_variants import DoRAFactors, PiSSAFactors, dora_start, pissa_start
from minilora.layers.mlp import MLP
from minilora.layers.post_ln_block import PostLNBlock
from minilora.layers.prefix import Prefix
from minilora.layers.rows_linear import RowsLinear, RowsModule

__all__ = [
    "MLP",
    "AdaptedSublayer",
    "Activation",
    "Adapter",
    "Block",
    "DoRAFactors",
    "ConvLayer",
    "DebertaBlock",
    "DisentangledSelfAttention",
    "Embedding",
    "KeyValueCache",
    "LayerNorm",
    "Linear",
    "LoRAFactors",
    "LoRALinear",
    "PiSSAFactors",
    "Prefix",
    "RowsLinear",
    "RowsModule",
    "PostLNBlock",
    "SelfAttention",
    "dora_start",
    "lora_scale",
    "pissa_start",
]

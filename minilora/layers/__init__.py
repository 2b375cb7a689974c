"""Layers: Parameters with an op. ``y, cache = layer.forward(x)``; ``dx = layer.backward(dy, cache)``."""

from typing import TYPE_CHECKING

from minilora.layers.activation import Activation
from minilora.layers.attention import KeyValueCache, SelfAttention
from minilora.layers.block import Block
from minilora.layers.conv_layer import ConvLayer
from minilora.layers.deberta_block import DebertaBlock
from minilora.layers.disentangled_attention import DisentangledSelfAttention
from minilora.layers.embedding import Embedding
from minilora.layers.gated_mlp import GatedMLP
from minilora.layers.layernorm import LayerNorm
from minilora.layers.linear import Linear
from minilora.layers.llama_block import LlamaBlock
from minilora.layers.mlp import MLP
from minilora.layers.post_ln_block import PostLNBlock
from minilora.layers.quantized import Packed, QuantizedParameter
from minilora.layers.rmsnorm import RMSNorm
from minilora.moved import names_before

__all__ = [
    "Packed",
    "QuantizedParameter",
    "MLP",
    "Activation",
    "Block",
    "ConvLayer",
    "DebertaBlock",
    "DisentangledSelfAttention",
    "Embedding",
    "GatedMLP",
    "KeyValueCache",
    "LayerNorm",
    "Linear",
    "LlamaBlock",
    "PostLNBlock",
    "RMSNorm",
    "SelfAttention",
]

if not TYPE_CHECKING:
    __getattr__ = names_before(__name__)

"""Tiny Llamas, one for each thing in which Llamas differ."""

from minilora.models import Llama, LlamaConfig
from minilora.ops import Llama3Scaling
from tiny_models import at_a_generic_point

SHAPE = {"vocab_size": 13, "n_positions": 9, "n_layer": 2, "d_model": 10, "n_head": 4, "head_size": 6, "d_mlp": 14}
SCALING = Llama3Scaling(factor=4.0, low_freq_factor=1.0, high_freq_factor=3.0, original_n_positions=8)

KINDS = {  # H = 4 heads of K = 6, of C = 10 channels: C / H is not even whole
    "grouped": {"n_kv_head": 2},
    "one key-value head": {"n_kv_head": 1},
    "a key-value head for each": {"n_kv_head": 4},
    "tied": {"n_kv_head": 2, "tied_head": True},
    "biases of q, k and v": {"n_kv_head": 2, "qkv_bias": True},
    "biases everywhere": {"n_kv_head": 2, "qkv_bias": True, "o_bias": True, "tied_head": True},
    "scaled": {"n_kv_head": 2, "rope_theta": 20.0, "rope_scaling": SCALING},
}


def config_of(kind="grouped", **changes):
    """A LlamaConfig, with no dimension twice."""
    return LlamaConfig(**SHAPE | KINDS[kind] | changes)


def tiny_llama(kind="grouped", *, dtype="float64", seed=0, **changes):
    """A Llama at a generic point."""
    return at_a_generic_point(Llama, config_of(kind, **changes), dtype=dtype, seed=seed)

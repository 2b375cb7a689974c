"""A model as small as can be, at a generic point: no weight, gain or bias is 0 or 1."""

import numpy as np

from minilora.data.batches import LMBatch
from minilora.methods import LoRAConfig, apply_lora
from minilora.models import GPT, GPTConfig
from minilora.training import loss_and_backward
from models.tiny_llama import tiny_llama
from tiny_models import at_a_generic_point

CONFIG = GPTConfig(vocab_size=11, n_positions=8, n_layer=2, d_model=6, n_head=2, d_mlp=10)
EVERYWHERE = ("q_proj", "k_proj", "v_proj", "o_proj", "fc_in", "fc_out")
SMALL_LORA = LoRAConfig(rank=2, alpha=3, targets=("q_proj", "v_proj", "fc_in"))


def rng(seed=0):
    return np.random.default_rng(seed)


def tiny_gpt(dtype="float64", seed=0, config=CONFIG):
    return at_a_generic_point(GPT, config, dtype=dtype, seed=seed)


SIZES = {"n_layer": 2, "d_model": 32, "n_head": 4, "d_mlp": 96}  # of matrices whose rows divide into blocks of 32


def a_model(kind="llama", dtype="float32"):
    """A model that can be quantised in every kind."""
    if kind == "llama":
        return tiny_llama(dtype=dtype, head_size=8, **SIZES)
    return at_a_generic_point(GPT, GPTConfig(vocab_size=13, n_positions=9, **SIZES), dtype=dtype, seed=0)


def tiny_lora(config=SMALL_LORA, dtype="float64", seed=0):
    """A tiny GPT with an adapter that has learned something: B is not zero."""
    model = tiny_gpt(dtype, seed)
    apply_lora(model, config, rng=rng(seed + 1))
    return with_B(model)


def with_B(model, seed=2):
    """The model, with the active adapter's B drawn anew."""
    draw = rng(seed)
    for name, p in model.named_parameters():
        if name.endswith(".B"):
            p.data[...] = draw.standard_normal(p.data.shape)
    return model


def some_batch(N=3, T=5, seed=3):
    """N rows of which each has another number of tokens that count."""
    draw = rng(seed)
    ids, targets = draw.integers(0, CONFIG.vocab_size, (2, N, T))
    mask = np.arange(T) >= np.arange(N)[:, None] % T
    return LMBatch(ids, targets, mask)


def logits_of(model, batch=None):
    return model.forward((batch or some_batch()).ids)[0]


def gradients_of(model, batch=None, backward=loss_and_backward):
    """The gradients of one batch, by name, of those parameters that have one."""
    model.zero_grad()
    backward(model, batch or some_batch())
    return {name: p.grad.copy() for name, p in model.named_parameters() if p.grad is not None}


def weights_of(model):
    """Copies of all parameters, by name."""
    return {name: p.data.copy() for name, p in model.named_parameters()}


def trainable_names(model):
    return [name for name, p in model.named_parameters() if p.trainable]


def same_bits(a, b):
    """Arrays, or dicts of arrays, that are equal to the bit: 0.0 is not -0.0 here, and nan is nan."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_bits(a[name], b[name]) for name in a)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()

"""Adapters of ours to be saved for PEFT."""

import numpy as np

from interop.peft_golden import gpt2
from methods.tiny import EVERYWHERE, with_B
from minilora.methods import LoRAConfig, apply_lora

OURS = {
    "q and v": {"targets": ("q_proj", "v_proj")},
    "k": {"targets": ("k_proj",)},
    "everywhere": {"targets": EVERYWHERE, "dropout": 0.25, "init": "gaussian"},
    "rsLoRA": {"targets": ("q_proj", "k_proj", "fc_out"), "rslora": True},
    "ranks": {
        "targets": ("q_proj", "v_proj", "o_proj"),
        "rank_pattern": {"v_proj": 3, "blocks.1.attn.q_proj": 5},
        "alpha_pattern": {"v_proj": 7, "blocks.0.attn.o_proj": 2},
    },
    "LoRA-FA": {"targets": ("q_proj", "v_proj", "fc_out"), "freeze_A": True},
    "DoRA": {"targets": ("q_proj", "v_proj", "fc_out"), "dora": True, "rank_pattern": {"v_proj": 3}},
    "one layer": {"targets": ("blocks.1.attn.v_proj", "blocks.0.mlp.fc_in")},
}


BESIDES = {
    "LayerNorms": (["ln_1"], [f"transformer.h.{i}.ln_1" for i in range(2)], "none"),
    "one module": (["blocks.1.ln_2"], ["transformer.h.1.ln_2"], "none"),
    "positions and last": (["wpe", "ln_f"], ["transformer.wpe", "transformer.ln_f"], "none"),
    "biases": (["bias"], None, "all"),
    "biases and a module": (["bias", "ln_f"], ["transformer.ln_f"], "all"),
    "biases of adapted layers": ([f"attn.{letter}_proj.bias" for letter in "qkv"], None, "lora_only"),
}


def adapted(**lora):
    """The golden base, with an adapter of ours that has learned something."""
    model = gpt2()
    apply_lora(model, LoRAConfig(**{"rank": 2, "alpha": 3} | lora), rng=np.random.default_rng(1))
    for name, p in model.named_parameters():
        if name.endswith(".m"):
            p.data[...] *= 1.5
    return with_B(model)


def adapted_besides(parts):
    """With an adapter that has learned other values for some parts of the model besides."""
    model, rng = adapted(besides=parts), np.random.default_rng(3)
    for name, p in model.named_parameters():
        if p.trainable and not name.endswith((".A", ".B")):
            p.data += rng.standard_normal(p.data.shape)
    return model

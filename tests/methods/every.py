"""Every method, small enough for the tiny GPT, and with what it has learned drawn at random."""

from methods.tiny import EVERYWHERE, rng, tiny_gpt
from minilora.methods import (
    BitFitConfig,
    FullConfig,
    HoulsbyConfig,
    LoRAConfig,
    LoRAPrefixConfig,
    PrefixConfig,
    RandomSubspaceConfig,
    TopKConfig,
    VeRAConfig,
    apply_method,
)

EVERY = {
    "full": FullConfig(),
    "top-1": TopKConfig(k=1),
    "top-2": TopKConfig(k=2),
    "bitfit": BitFitConfig(),
    "adapter-h": HoulsbyConfig("houlsby", size=3),
    "adapter-l": HoulsbyConfig("lin", size=3),
    "adapter-p": HoulsbyConfig("pfeiffer", size=5),
    "adapter-d": HoulsbyConfig("pfeiffer", size=3, leave_out=1),
    "prefix-embedding": PrefixConfig("embedding", before=2, after=1),
    "prefix-embedding, before": PrefixConfig("embedding", before=3, after=0),
    "prefix-layer": PrefixConfig("layer", before=1, after=2),
    "prefix-layer, after": PrefixConfig("layer", before=0, after=2),
    "lora+prefix-embedding": LoRAPrefixConfig(
        LoRAConfig(rank=2, alpha=3, targets=EVERYWHERE), PrefixConfig("embedding", before=1, after=2)
    ),
    "lora+prefix-layer": LoRAPrefixConfig(
        LoRAConfig(rank=1, alpha=3, dora=True, dora_exact=True), PrefixConfig("layer", before=2, after=1)
    ),
    "random-subspace": RandomSubspaceConfig(dimension=7, targets=EVERYWHERE, seed=3),
    "lora": LoRAConfig(rank=2, alpha=3, targets=EVERYWHERE),
    "rslora": LoRAConfig(rank=2, alpha=3, rslora=True),
    "dora": LoRAConfig(rank=2, alpha=3, targets=EVERYWHERE, dora=True),
    "dora, exact": LoRAConfig(rank=2, alpha=3, targets=EVERYWHERE, dora=True, dora_exact=True),
    "vera": VeRAConfig(rank=7, targets=EVERYWHERE, seed=4),
    "lora-fa": LoRAConfig(rank=2, alpha=3, targets=EVERYWHERE, freeze_A=True),
    "pissa": LoRAConfig(rank=2, alpha=3, targets=EVERYWHERE, init="pissa"),
}


def tiny_adapted(config, dtype="float64", learned=True):
    """A tiny GPT adapted by a method, at its start, or with something learned."""
    model = tiny_gpt(dtype)
    apply_method(model, config, rng=rng(1))
    if learned:
        draw = rng(2)
        for p in model.trainable_parameters():
            p.data += (0.5 * draw.standard_normal(p.data.shape)).astype(dtype)
    return model

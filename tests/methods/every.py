"""Every method, small enough for the tiny GPT, and with what it has learned drawn at random."""

from methods.tiny import EVERYWHERE, rng, some_batch, tiny_gpt
from minilora.methods import (
    AdaLoRAConfig,
    BitFitConfig,
    FullConfig,
    HoulsbyConfig,
    IA3Config,
    LoRAConfig,
    LoRAPrefixConfig,
    PrefixConfig,
    PromptTuningConfig,
    RandomSubspaceConfig,
    TopKConfig,
    TrainableTokensConfig,
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
    "prompt-tuning": PromptTuningConfig(3, (5, 2)),
    "trainable-tokens": TrainableTokensConfig((2, 7, 3)),
    "ia3": IA3Config(),
    "ia3, everywhere": IA3Config(EVERYWHERE, ("q_proj", "fc_in")),
    "lora": LoRAConfig(rank=2, alpha=3, targets=EVERYWHERE),
    "lora, the embedding": LoRAConfig(rank=2, alpha=3, targets=("q_proj", "wte")),
    "rslora": LoRAConfig(rank=2, alpha=3, rslora=True),
    "dora": LoRAConfig(rank=2, alpha=3, targets=EVERYWHERE, dora=True),
    "dora, exact": LoRAConfig(rank=2, alpha=3, targets=EVERYWHERE, dora=True, dora_exact=True),
    "adalora": AdaLoRAConfig(rank=1, initial_rank=3, alpha=4, targets=EVERYWHERE),
    "vera": VeRAConfig(rank=7, targets=EVERYWHERE, seed=4),
    "lora-ga": LoRAConfig(rank=2, alpha=3, targets=EVERYWHERE, init="lora-ga", gamma=4),
    "lora-fa": LoRAConfig(rank=2, alpha=3, targets=EVERYWHERE, freeze_A=True),
    "pissa": LoRAConfig(rank=2, alpha=3, targets=EVERYWHERE, init="pissa"),
}


def tiny_adapted(config, dtype="float64", learned=True):
    """A tiny GPT adapted by a method, at its start, or with something learned."""
    model = tiny_gpt(dtype)
    apply_method(model, config, rng=rng(1), batches=[some_batch(T=4)])
    if learned:
        draw = rng(2)
        for p in model.trainable_parameters():
            p.data += (0.5 * draw.standard_normal(p.data.shape)).astype(dtype)
    return model

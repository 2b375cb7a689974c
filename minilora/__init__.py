"""LoRA (Hu et al., 2021) written out by hand, on NumPy and CuPy: every forward, every backward, in the open."""

from minilora.generation import generate
from minilora.methods import (
    LoRAConfig,
    adapter_names,
    apply_full,
    apply_lora,
    load_adapter,
    merge_lora,
    remove_lora,
    save_adapter,
    set_adapter,
    unmerge_lora,
)
from minilora.models import (
    GPT,
    Deberta,
    DebertaConfig,
    DebertaForClassification,
    GPTConfig,
    load_bundled,
    load_model,
    save_model,
)

__version__ = "0.1.0"

__all__ = [
    "GPT",
    "Deberta",
    "DebertaConfig",
    "DebertaForClassification",
    "GPTConfig",
    "LoRAConfig",
    "adapter_names",
    "apply_full",
    "apply_lora",
    "generate",
    "load_adapter",
    "load_bundled",
    "load_model",
    "merge_lora",
    "remove_lora",
    "save_adapter",
    "save_model",
    "set_adapter",
    "unmerge_lora",
]

"""How a model is adapted. A method chooses, and where needed adds, what is trained; training does the rest."""

from minilora.methods.adapter_file import load_adapter, save_adapter
from minilora.methods.full import apply_full
from minilora.methods.lora import (
    LoRAConfig,
    adapter_names,
    apply_lora,
    lora_layers,
    merge_lora,
    remove_lora,
    set_adapter,
    unmerge_lora,
)

__all__ = [
    "LoRAConfig",
    "adapter_names",
    "apply_full",
    "apply_lora",
    "load_adapter",
    "lora_layers",
    "merge_lora",
    "remove_lora",
    "save_adapter",
    "set_adapter",
    "unmerge_lora",
]

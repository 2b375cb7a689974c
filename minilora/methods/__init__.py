"""How a model is adapted. A method chooses, and where needed adds, what is trained; training does the rest."""

from minilora.methods.adapter import AdapterConfig, adapted_sublayers, apply_adapter
from minilora.methods.adapter_file import classes_in, load_adapter, save_adapter
from minilora.methods.combining import combination_error, combine_adapters
from minilora.methods.full import (
    BitFitConfig,
    FullConfig,
    HeadConfig,
    TopKConfig,
    apply_bitfit,
    apply_full,
    apply_head,
    apply_top_k,
)
from minilora.methods.lora import apply_lora, merge_lora, unmerge_lora
from minilora.methods.lora_config import LoRAConfig
from minilora.methods.prefix import PrefixConfig, apply_prefix
from minilora.methods.registry import METHODS, apply_method, described
from minilora.methods.rows import rows_use
from minilora.methods.selection import method_of
from minilora.methods.switching import adapter_names, lora_layers, remove_adapter, remove_lora, set_adapter

__all__ = [
    "AdapterConfig",
    "BitFitConfig",
    "FullConfig",
    "HeadConfig",
    "LoRAConfig",
    "METHODS",
    "PrefixConfig",
    "TopKConfig",
    "adapted_sublayers",
    "adapter_names",
    "apply_adapter",
    "apply_bitfit",
    "apply_full",
    "apply_head",
    "apply_lora",
    "apply_method",
    "apply_prefix",
    "apply_top_k",
    "classes_in",
    "combination_error",
    "combine_adapters",
    "described",
    "load_adapter",
    "lora_layers",
    "merge_lora",
    "method_of",
    "remove_adapter",
    "remove_lora",
    "rows_use",
    "save_adapter",
    "set_adapter",
    "unmerge_lora",
]

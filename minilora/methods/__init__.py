"""How a model is adapted. A method chooses, and where needed adds, what is trained; training does the rest."""

from typing import TYPE_CHECKING

from minilora.methods.adalora import AdaLoRAConfig, apply_adalora, orthogonality
from minilora.methods.adapter_file import classes_in, load_adapter, save_adapter
from minilora.methods.bundled import bundled_adapter
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
from minilora.methods.houlsby import HoulsbyConfig, apply_houlsby, houlsby_sublayers
from minilora.methods.ia3 import IA3Config, apply_ia3
from minilora.methods.lora.apply import apply_lora
from minilora.methods.lora.combining import combination_error, combine_adapters
from minilora.methods.lora.config import LoRAConfig
from minilora.methods.lora.dropout import adapter_dropout
from minilora.methods.lora.loftq import apply_loftq
from minilora.methods.lora.merging import merge_lora, unmerge_lora
from minilora.methods.lora.per_row import adapters_per_row
from minilora.methods.lora_with_prefix import LoRAPrefixConfig, apply_lora_with_prefix
from minilora.methods.prefix import PrefixConfig, apply_prefix
from minilora.methods.prompt_tuning import PromptTuningConfig, apply_prompt_tuning
from minilora.methods.quantization import quantization_of, quantize
from minilora.methods.random_subspace import RandomSubspaceConfig, apply_random_subspace
from minilora.methods.registry import METHODS, apply_method, to_dict
from minilora.methods.state import method_of
from minilora.methods.switching import adapter_names, lora_layers, remove_adapter, remove_lora, set_adapter
from minilora.methods.trainable_tokens import TrainableTokensConfig, apply_trainable_tokens, merge_tokens
from minilora.methods.vera import VeRAConfig, apply_vera
from minilora.moved import names_before

__all__ = [
    "bundled_adapter",
    "quantization_of",
    "quantize",
    "AdaLoRAConfig",
    "HoulsbyConfig",
    "BitFitConfig",
    "FullConfig",
    "HeadConfig",
    "IA3Config",
    "LoRAConfig",
    "LoRAPrefixConfig",
    "METHODS",
    "PrefixConfig",
    "PromptTuningConfig",
    "RandomSubspaceConfig",
    "TopKConfig",
    "TrainableTokensConfig",
    "VeRAConfig",
    "houlsby_sublayers",
    "adapter_dropout",
    "adapters_per_row",
    "adapter_names",
    "apply_adalora",
    "apply_houlsby",
    "apply_bitfit",
    "apply_full",
    "apply_head",
    "apply_ia3",
    "apply_loftq",
    "apply_lora",
    "apply_lora_with_prefix",
    "apply_method",
    "apply_prefix",
    "apply_prompt_tuning",
    "apply_random_subspace",
    "apply_top_k",
    "apply_trainable_tokens",
    "apply_vera",
    "classes_in",
    "combination_error",
    "combine_adapters",
    "load_adapter",
    "lora_layers",
    "merge_lora",
    "merge_tokens",
    "method_of",
    "orthogonality",
    "remove_adapter",
    "remove_lora",
    "save_adapter",
    "set_adapter",
    "to_dict",
    "unmerge_lora",
]

if not TYPE_CHECKING:
    __getattr__ = names_before(__name__)

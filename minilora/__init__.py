"""LoRA (Hu et al., 2021) written out by hand, on NumPy and CuPy: every forward, every backward, in the open."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minilora.accounting import count_parameters
    from minilora.data import ByteTokenizer, load_task
    from minilora.interop import load_deberta, load_gpt2, load_peft, load_roberta, save_peft
    from minilora.methods import (
        METHODS,
        FullConfig,
        HoulsbyConfig,
        LoRAConfig,
        adapters_per_row,
        apply_bitfit,
        apply_full,
        apply_houlsby,
        apply_lora,
        apply_method,
        combination_error,
        combine_adapters,
        load_adapter,
        merge_lora,
        remove_lora,
        save_adapter,
        set_adapter,
        unmerge_lora,
    )
    from minilora.models import (
        GPT,
        GPTConfig,
        Llama,
        LlamaConfig,
        RobertaConfig,
        RobertaForClassification,
        generate,
        load_bundled,
        load_model,
        save_model,
        stream,
    )
    from minilora.training import AdamW, TrainConfig, Trainer
else:  # the same, each when it is asked for
    from minilora.public import find as __getattr__
    from minilora.public import names as __dir__

__version__ = "0.1.0"

__all__ = [
    # a model, and what it says
    "load_bundled",
    "GPT",
    "GPTConfig",
    "Llama",
    "LlamaConfig",
    "RobertaConfig",
    "RobertaForClassification",
    "load_gpt2",
    "load_roberta",
    "load_deberta",
    "load_model",
    "save_model",
    "ByteTokenizer",
    "generate",
    "stream",
    # LoRA
    "LoRAConfig",
    "apply_lora",
    "merge_lora",
    "unmerge_lora",
    "remove_lora",
    "count_parameters",
    # training
    "load_task",
    "Trainer",
    "TrainConfig",
    "AdamW",
    # adapters by name, and as files
    "set_adapter",
    "save_adapter",
    "load_adapter",
    "save_peft",
    "load_peft",
    "adapters_per_row",
    "combine_adapters",
    "combination_error",
    # what LoRA is compared with
    "METHODS",
    "apply_method",
    "apply_full",
    "apply_bitfit",
    "apply_houlsby",
    "FullConfig",
    "HoulsbyConfig",
]

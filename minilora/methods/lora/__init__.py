"""All of LoRA (Hu et al., 2021): its layer, its configuration, and operations on adapters.

| file | what it has |
|---|---|
| `config.py` | LoRAConfig: what is adapted, at which rank, and how A and B start |
| `layer.py` | LoRALinear, a frozen Linear and the A and B next to it |
| `variants.py` | LoRA-FA, DoRA and PiSSA, which compute something else from A and B |
| `gradient_start.py` | LoRA-GA, whose A and B start from a gradient |
| `embedding.py` | LoRA on the token embedding |
| `apply.py` | putting an adapter into a model |
| `loftq.py` | LoftQ: a quantised W, and A and B that start as a correction of it |
| `merging.py` | W + delta_W, and back to the bit |
| `dropout.py` | dropout, for the length of a step |
| `combining.py` | adding adapters |
| `per_row.py`, `per_row_linear.py` | an adapter for each row of a batch |
"""

from minilora.methods.lora.config import LoRAConfig
from minilora.methods.lora.layer import LoRAFactors, LoRALinear, factors_of, lora_scale
from minilora.methods.lora.variants import DoRAFactors, LoRAFAFactors, PiSSAFactors

__all__ = [
    "DoRAFactors",
    "LoRAConfig",
    "LoRAFAFactors",
    "LoRAFactors",
    "LoRALinear",
    "PiSSAFactors",
    "factors_of",
    "lora_scale",
]

"""The layers that LoRA adapts where all linear ones are meant, whatever a model calls them."""

from dataclasses import replace
from typing import Any

from minilora.layers import Linear
from minilora.methods import LoRAConfig
from minilora.models.model import Model

ALL_LINEAR = "all-linear"  # PEFT's word for it
OF_GPT = ("q_proj", "k_proj", "v_proj", "o_proj", "fc_in", "fc_out")


def all_linear(model: Model) -> tuple[str, ...]:
    """The names of the linear layers in a model's blocks: q_proj, k_proj, and so on, in their order."""
    paths = (path for path, module in model.named_modules() if isinstance(module, Linear))
    return tuple(dict.fromkeys(path.rpartition(".")[2] for path in paths if "blocks." in path))


def with_all_linear(settings: Any, model: Model) -> Any:
    """A method's configuration, with the names of the model's linear layers if its targets are "all-linear"."""
    if isinstance(settings, LoRAConfig) and settings.targets == (ALL_LINEAR,):
        return replace(settings, targets=all_linear(model))
    return settings

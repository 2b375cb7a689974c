"""The layers that are adapted where all linear ones are meant, whatever a model calls them."""

from dataclasses import replace
from typing import Any

from minilora.layers import Linear
from minilora.methods import LoRAPrefixConfig
from minilora.models.model import Model

ALL_LINEAR = "all-linear"  # PEFT's word for it
OF_GPT = ("q_proj", "k_proj", "v_proj", "o_proj", "fc_in", "fc_out")


def all_linear(model: Model) -> tuple[str, ...]:
    """The names of the linear layers in a model's blocks: q_proj, k_proj, and so on, in their order."""
    return tuple(dict.fromkeys(path.rpartition(".")[2] for path in linear_of_blocks(model)))


def entries_of_linear(model: Model) -> int:
    """How many entries the W of these layers have together."""
    return sum(layer.W.data.size for layer in linear_of_blocks(model).values())


def largest_rank(model: Model) -> int:
    """The highest rank that all of these layers can have."""
    return min(min(layer.W.data.shape) for layer in linear_of_blocks(model).values())


def linear_of_blocks(model: Model) -> dict[str, Linear]:
    """The linear layers in a model's blocks, by their paths."""
    return {p: module for p, module in model.named_modules() if isinstance(module, Linear) and "blocks." in p}


def with_all_linear(settings: Any, model: Model) -> Any:
    """A method's configuration, with the names of the model's linear layers if its targets are "all-linear"."""
    if isinstance(settings, LoRAPrefixConfig):
        return replace(settings, lora=with_all_linear(settings.lora, model))
    if getattr(settings, "targets", None) == (ALL_LINEAR,):
        return replace(settings, targets=all_linear(model))
    return settings

"""The optimizer that a method wants: AdamW with the settings of a TrainConfig, LoRA+'s groups, or AdaLoRA's pruning."""

from typing import Any

from minilora.methods.adalora import triplets_of
from minilora.parameter import Module
from minilora.training.adalora import AdaLoRAAdamW
from minilora.training.optimizers import AdamW, Optimizer
from minilora.training.parameter_groups import lora_plus_groups
from minilora.training.train_config import TrainConfig


def default_optimizer(model: Module, config: TrainConfig) -> Optimizer:
    """The optimizer of a model's trainable parameters, where none is given.

    Raises
    ------
    ValueError
        If nothing is trainable, or the model is AdaLoRA's, which prunes by scores, and lr_ratio_B is not 1.
    """
    settings: dict[str, Any] = {"betas": config.betas, "weight_decay": config.weight_decay}
    if triplets_of(model):
        if config.lr_ratio_B != 1.0:
            raise ValueError(f"lr_ratio_B was {config.lr_ratio_B}; for AdaLoRA it must be 1")
        return AdaLoRAAdamW(model, config.lr, config.steps, **settings)
    groups: Any = model.parameters() if config.lr_ratio_B == 1.0 else lora_plus_groups(model, config.lr_ratio_B)
    return AdamW(groups, config.lr, **settings)

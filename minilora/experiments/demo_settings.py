"""What the demonstration trains, and how, for a model of a given size: the same story with other numbers."""

from dataclasses import dataclass, replace
from typing import Any

from minilora.experiments.finetune import FinetuneConfig
from minilora.experiments.rates import is_large
from minilora.experiments.targets import all_linear
from minilora.methods import LoRAConfig
from minilora.models.model import Model
from minilora.training import TrainConfig

WARMUP = 10  # steps, of a large model


@dataclass(frozen=True)
class DemoSettings:
    """The numbers of a demonstration.

    Parameters
    ----------
    lora, full : TrainConfig
        Of each method; both take the same batches, and each has a rate that suits it.
    steps, batch_size : int
        Of both.
    n_train : int
        Examples of mini-E2E that are trained on: about as many as are drawn, so that few are seen twice.
    n_prompts : int
        How many sentences are written at the end.
    n_shown : int
        How many of them are shown.
    n_speed : int
        Tokens in a round of measuring the speed of generation.
    """

    lora: TrainConfig
    full: TrainConfig
    steps: int
    batch_size: int
    n_train: int
    n_prompts: int = 96
    n_shown: int = 2
    n_speed: int = 128


OF_SMALL = DemoSettings(
    lora=TrainConfig(lr=5e-3, lr_ratio_B=4.0),
    full=TrainConfig(lr=2e-3),
    steps=900,
    batch_size=16,
    n_train=16_000,
)
# Of SmolLM2. LoRA's rate learned mini-E2E in a first trial; full fine-tuning's is a guess, not chosen on valid yet.
OF_LARGE = DemoSettings(
    lora=TrainConfig(lr=2e-3),
    full=TrainConfig(lr=1e-4),
    steps=300,
    batch_size=8,
    n_train=4000,
    n_shown=5,
    n_speed=64,
)


def settings_for(model: Model) -> DemoSettings:
    """The settings that suit a model's size."""
    return OF_LARGE if is_large(model) else OF_SMALL


def configs(model: Model, task_name: str, steps: int | None, seed: int) -> dict[str, FinetuneConfig]:
    """The two adaptations that are compared: the same batches, each method with a learning rate that suits it."""
    settings = settings_for(model)
    steps = steps or settings.steps
    common: dict[str, Any] = {
        "steps": steps,
        "batch_size": settings.batch_size,
        "eval_every": max(1, steps // 4),
        "seed": seed,
    }
    if settings is OF_LARGE:
        common["warmup"] = min(1.0, WARMUP / steps)
    lora = LoRAConfig(rank=8, alpha=16, targets=all_linear(model))
    return {
        "LoRA": FinetuneConfig(task_name, "lora", lora, replace(settings.lora, **common)),
        "full fine-tuning": FinetuneConfig(task_name, "full", None, replace(settings.full, **common)),
    }

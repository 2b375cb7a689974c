"""What the demonstration trains, and how, for a model of a given size: the same story with other numbers."""

from dataclasses import dataclass, replace
from typing import Any

from minilora.experiments.finetune import FinetuneConfig
from minilora.experiments.rates import is_large
from minilora.experiments.targets import all_linear, largest_rank
from minilora.methods import LoRAConfig
from minilora.models.model import Model
from minilora.training import TrainConfig

WARMUP = 10  # steps, of a large model


@dataclass(frozen=True)
class DemoSettings:
    """The numbers of a demonstration.

    Parameters
    ----------
    rank : int
        LoRA's; alpha is twice as much.
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

    rank: int
    lora: TrainConfig
    full: TrainConfig
    steps: int
    batch_size: int
    n_train: int
    n_prompts: int = 96
    n_shown: int = 2
    n_speed: int = 128


# Chosen on valid (`demo_search.py`), 900 steps of 16 examples each. Slot-exact sentences of 96: LoRA with r = 8 and a
# rate of 2.5e-3 42 %, of 5e-3 55 %, of 1e-2 39 %; with r = 32 and 2.5e-3 82 %, and in 900 steps of 8 examples 36 %
# (r = 16, 3.5e-3, 700 steps: 51 %). Full fine-tuning with 2e-3 76 %, with 4e-3 81 %.
OF_SMALL = DemoSettings(
    rank=32,
    lora=TrainConfig(lr=2.5e-3, lr_ratio_B=4.0),
    full=TrainConfig(lr=4e-3),
    steps=900,
    batch_size=16,
    n_train=16_000,
)
# Of SmolLM2, on valid: LoRA, 300 steps of 8, with a rate of 2e-3 97 %, of 3e-3 99 %. Full fine-tuning, 100 steps of 8,
# with 5e-5 43 % (loss 0.602), with 1e-4 57 % (0.523), with 3e-4 49 % (0.487): its rate is between the last two.
OF_LARGE = DemoSettings(
    rank=8,
    lora=TrainConfig(lr=3e-3),
    full=TrainConfig(lr=2e-4),
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
    rank = min(settings.rank, largest_rank(model))
    lora = LoRAConfig(rank=rank, alpha=2 * rank, targets=all_linear(model))
    return {
        "LoRA": FinetuneConfig(task_name, "lora", lora, replace(settings.lora, **common)),
        "full fine-tuning": FinetuneConfig(task_name, "full", None, replace(settings.full, **common)),
    }

"""How a model is trained: optimizers, schedules, the loop, checkpoints."""

from typing import TYPE_CHECKING

from minilora.moved import names_before
from minilora.training.adalora import AdaLoRAAdamW
from minilora.training.checkpoint import resume_newest, resume_run, save_run
from minilora.training.divergence import Diverged
from minilora.training.evaluation import evaluate_loss
from minilora.training.galore import GaLore, galore_values
from minilora.training.history import History, diagnose
from minilora.training.interruption import Stopped
from minilora.training.loop import Trainer
from minilora.training.memory import OutOfMemory
from minilora.training.objective import DataParallel, loss_and_backward
from minilora.training.optimizers import SGD, AdamW, clip_gradients
from minilora.training.parameter_groups import ParameterGroup, lora_plus_groups
from minilora.training.policy_gradient import Episodes, draw_episodes
from minilora.training.run_folder import lock_run_folder
from minilora.training.schedules import schedule_factor
from minilora.training.step import train_step
from minilora.training.train_config import TrainConfig

__all__ = [
    "SGD",
    "AdaLoRAAdamW",
    "AdamW",
    "GaLore",
    "galore_values",
    "Diverged",
    "Episodes",
    "History",
    "OutOfMemory",
    "ParameterGroup",
    "Stopped",
    "DataParallel",
    "TrainConfig",
    "Trainer",
    "clip_gradients",
    "diagnose",
    "draw_episodes",
    "evaluate_loss",
    "loss_and_backward",
    "lock_run_folder",
    "lora_plus_groups",
    "resume_newest",
    "resume_run",
    "save_run",
    "schedule_factor",
    "train_step",
]

if not TYPE_CHECKING:
    __getattr__ = names_before(__name__)

"""How a model is trained: optimizers, schedules, the loop, checkpoints."""

from minilora.training.checkpoint import resume_run, save_run
from minilora.training.evaluation import evaluate_loss
from minilora.training.loop import Diverged, History, TrainConfig, Trainer
from minilora.training.objective import ThreadedObjective, loss_and_backward
from minilora.training.optimizers import SGD, AdamW, clip_gradients
from minilora.training.schedules import schedule_factor

__all__ = [
    "SGD",
    "AdamW",
    "Diverged",
    "History",
    "ThreadedObjective",
    "TrainConfig",
    "Trainer",
    "clip_gradients",
    "evaluate_loss",
    "loss_and_backward",
    "resume_run",
    "save_run",
    "schedule_factor",
]

"""Training runs of a second or less."""

from methods.tiny import some_batch
from minilora.data.batches import LMBatch
from minilora.training import TrainConfig, Trainer

EXAMPLES = some_batch(6)


def draw(rng):
    """Two of six examples."""
    rows = rng.choice(6, 2, replace=False)
    return LMBatch(*(a[rows] for a in EXAMPLES[:3]))


def trainer(model, *, sample_batch=draw, folder=None, validate=None, checkpoint_every=None, **settings):
    config = TrainConfig(**({"steps": 7, "batch_size": 2, "lr": 0.01, "threads": 1, "eval_every": 3} | settings))
    options = {"folder": folder, "validate": validate, "checkpoint_every": checkpoint_every}
    return Trainer(model, sample_batch, config, **options)


def run(model, **settings):
    """Train a model; returns the Trainer."""
    made = trainer(model, **settings)
    made.run(progress=False)
    return made

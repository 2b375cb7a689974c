"""Shared by the experiments on mini-E2E: one way to train, so that they share runs, and one way to summarise."""

from dataclasses import dataclass, replace
from statistics import mean

from minilora.experiments.adapt import adapt_and_keep
from minilora.experiments.comparison import best_of_rates, check_seeds, mean_and_spread
from minilora.experiments.finetune import FinetuneConfig
from minilora.experiments.text_scores import mini_e2e_scores
from minilora.methods import LoRAConfig
from minilora.training import TrainConfig

ALPHA = 32  # at every rank, as the paper's GPT-2 has it
TEXT_SCORES = ("bleu", "nist", "meteor", "chrf")
EXAMPLES = 3  # answers that a result keeps


@dataclass(frozen=True)
class Training:
    """How each adaptation of the decoder to mini-E2E is trained.

    Parameters
    ----------
    steps, batch_size : int
    seeds : sequence of int
        At least two; each draws what a method adds, and the batches.
    """

    steps: int = 250
    batch_size: int = 4
    seeds: tuple[int, ...] = (0, 1, 2)

    def __post_init__(self):
        object.__setattr__(self, "seeds", check_seeds(tuple(self.seeds)))

    def of(self, method, settings=None):
        """A method's FinetuneConfig."""
        train = TrainConfig(steps=self.steps, batch_size=self.batch_size, threads=1)
        return FinetuneConfig("mini-e2e", method, settings, train)

    def lora(self, rank=4):
        """The FinetuneConfig of LoRA on W_q and W_v."""
        return self.of("lora", LoRAConfig(rank=rank, alpha=ALPHA))


def at(config, lr, seed):
    """A FinetuneConfig with another learning rate and seed."""
    return replace(config, train=replace(config.train, lr=lr, seed=seed))


QUICK = Training(steps=3, batch_size=2, seeds=(0, 1))


def train_all(sweep, settings, rates, seeds):
    """Each of the settings at the best of its rates, chosen by the loss on valid; see `best_of_rates`."""
    return best_of_rates(sweep, adapt_and_keep, settings, rates, seeds=seeds, score=minus_valid, model="decoder")


def minus_valid(run):
    """A run's score on valid: larger is better; None if it diverged."""
    return None if run["valid"] is None else -run["valid"]


def summary(found):
    """The results of one method, for JSON.

    Parameters
    ----------
    found : dict
        From `best_of_rates`.

    Returns
    -------
    dict
        trainable, lr, valid_by_lr (the loss), seconds of training; mean and spread of valid and test (losses in nats
        per byte), slot_exact, slot_error_rate, bleu, nist, meteor and chrf, all on test except the first; and a few
        answers of the first seed.
    """
    runs = found["runs"]
    tests = [run["test"] | mini_e2e_scores(run["test"]["samples"]) for run in runs]
    names = {"test": "loss"} | {n: n for n in ("slot_exact", "slot_error_rate", *TEXT_SCORES)}
    return {
        "trainable": runs[0]["trainable"],
        "lr": found["lr"],
        "valid_by_lr": [(lr, -score if score is not None else None) for lr, score in found["valid_by_lr"]],
        "seconds": mean(run["seconds"] for run in runs),
        "valid": mean_and_spread([run["valid"] for run in runs]),
        **{name: mean_and_spread([test[key] for test in tests]) for name, key in names.items()},
        "samples": tests[0]["samples"][:EXAMPLES],
    }

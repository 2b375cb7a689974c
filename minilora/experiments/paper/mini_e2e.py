"""Shared by the experiments on mini-E2E: one way to train, so that they share runs, and one way to summarise."""

from dataclasses import dataclass, replace
from statistics import mean

from minilora.experiments.adapt import HELD_OUT, DecoderRun, adapt_and_keep
from minilora.experiments.comparison import best_of_rates, check_seeds, mean_and_spread
from minilora.experiments.text_scores import mini_e2e_scores
from minilora.methods import LoRAConfig
from minilora.training import TrainConfig

ALPHA = 32  # at every rank, as the paper's GPT-2 has it
LORA_RATES = (3e-2, 1e-1, 1e-2)  # for LoRA on W_q and W_v of the bundled decoder, the usual one first
TEXT_SCORES = ("bleu", "nist", "meteor", "chrf")
EXAMPLES = 3  # answers that a result keeps


@dataclass(frozen=True)
class Training:
    """How each adaptation of a decoder to mini-E2E is trained.

    Parameters
    ----------
    steps, batch_size : int
    seeds : sequence of int
        At least two; each draws what a method adds, and the batches.
    model : str
        The decoder, see `open_language_model`.
    n_held_out : int
        How many examples there are in valid, and in test.
    alpha : float
        LoRA's, at every rank.
    """

    steps: int = 300
    batch_size: int = 8
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    model: str = "decoder"
    n_held_out: int = HELD_OUT
    alpha: float = ALPHA

    def __post_init__(self):
        object.__setattr__(self, "seeds", check_seeds(tuple(self.seeds)))

    def of(self, method, settings=None):
        """A method's DecoderRun."""
        train = TrainConfig(steps=self.steps, batch_size=self.batch_size, threads=1)
        return DecoderRun("mini-e2e", method, settings, train, self.model, self.n_held_out)

    def lora(self, rank=4, **settings):
        """The DecoderRun of LoRA, on W_q and W_v if the settings, of a LoRAConfig, do not say otherwise."""
        return self.of("lora", LoRAConfig(rank=rank, alpha=self.alpha, **settings))


def at(config, lr, seed):
    """A DecoderRun with another learning rate and seed."""
    return replace(config, train=replace(config.train, lr=lr, seed=seed))


QUICK = Training(steps=3, batch_size=2, seeds=(0, 1), n_held_out=8)
HERE = "the bundled decoder"  # in what is said about an experiment


def train_all(sweep, settings, rates, seeds):
    """Each of the settings at the best of its rates, chosen by the loss on valid; see `best_of_rates`."""
    (model,) = {run.model for run in settings.values()}
    return best_of_rates(sweep, adapt_and_keep, settings, rates, seeds=seeds, score=minus_valid, model=model)


def minus_valid(run):
    """A run's score on valid: larger is better; None if it diverged."""
    return None if run["valid"] is None else -run["valid"]


def valid_losses(found):
    """Pairs of a learning rate and its loss on valid, from what `best_of_rates` found; None if it diverged."""
    return [(lr, None if score is None else -score) for lr, score in found["valid_by_lr"]]


def rates_line(rows, what):
    """How the learning rates of the rows of a table were found; `what` each row is, in a word."""
    tried = [sorted(lr for lr, _ in row["valid_by_lr"]) for row in rows]
    if len(tried[0]) == 1:
        return [f"lr: one for each {what}, which was not chosen here."]
    ends = sorted({(lrs[0], lrs[-1]) for lrs in tried})
    ranges = " or ".join(f"from {low:g} to {high:g}" for low, high in ends)
    if len(ends) > 4:
        ranges = f"of rates of its own, between {ends[0][0]:g} and {max(high for _, high in ends):g}"
    return [
        f"lr: the best of {len(tried[0])} for each {what}, on valid with the first seed,",
        f"{ranges} (*: the lowest or highest of those tried).",
    ]


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
    tests = [
        run["test"]
        | {"loss_per_byte": run["test"]["loss"] / run["test"]["bytes_per_token"]}
        | mini_e2e_scores(run["test"]["samples"])
        for run in runs
    ]
    names = {"test": "loss_per_byte"} | {n: n for n in ("slot_exact", "slot_error_rate", *TEXT_SCORES)}
    return {
        "trainable": runs[0]["trainable"],
        "lr": found["lr"],
        "valid_by_lr": valid_losses(found),
        "seconds": mean(run["seconds"] for run in runs),
        "valid": mean_and_spread([run["valid"] for run in runs]),
        **{name: mean_and_spread([test[key] for test in tests]) for name, key in names.items()},
        "samples": tests[0]["samples"][:EXAMPLES],
    }

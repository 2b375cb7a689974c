"""The runs behind `regret.py`: a decoder learns code at several ranks, in some layers, in batches of some sizes."""

from dataclasses import dataclass

from minilora.accounting import adaptation, architecture_of
from minilora.experiments.comparison import best_of_rates, check_seeds
from minilora.experiments.paper.forgetting import CodeRun, adapt_to_code
from minilora.experiments.paper.learning_rates import lowest_point
from minilora.experiments.paper.mini_e2e import ALPHA, minus_valid, valid_losses
from minilora.experiments.targets import OF_GPT
from minilora.methods import LoRAConfig
from minilora.models import load_bundled
from minilora.training import TrainConfig

FULL = "full fine-tuning"
ATTENTION, MLP = OF_GPT[:4], OF_GPT[4:]
PLACES = {"all layers": OF_GPT, "MLP alone": MLP, "attention alone": ATTENTION}


@dataclass(frozen=True)
class Config:
    """How long the decoder learns code, with which ranks, in which layers, and in which batches.

    Parameters
    ----------
    windows_read : int
        Windows of code that each run trains on; a run with larger batches has fewer steps.
    batch_size : int
        Of the comparisons of ranks and of layers.
    looks : int
        How often a run is measured on the way.
    windows : int
        Windows of each split that it is measured on.
    ranks : sequence of int
        On all layers.
    places : sequence of (str, int)
        The rank in each of PLACES, so that all have as many parameters.
    batches : sequence of int
        Batch sizes, from small to large.
    batch_rank : int
        LoRA's rank there, on all layers.
    seeds : sequence of int
    full, lora : sequence of float
        The learning rates to try, rising, the same number for each.
    """

    windows_read: int = 1024
    batch_size: int = 8
    looks: int = 8
    windows: int = 16
    ranks: tuple[int, ...] = (1, 8, 64)
    places: tuple[tuple[str, int], ...] = (("all layers", 20), ("MLP alone", 36), ("attention alone", 45))
    batches: tuple[int, ...] = (8, 64)
    batch_rank: int = 8
    seeds: tuple[int, ...] = (0, 1, 2)
    full: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    lora: tuple[float, ...] = (1e-3, 3e-3, 1e-2)

    def __post_init__(self):
        check_seeds(self.seeds)

    def run_of(self, method, settings=None, batch_size=None):
        """The CodeRun of a method: constant rate, without warmup, as in the post."""
        batch_size = batch_size or self.batch_size
        steps = self.windows_read // batch_size
        train = TrainConfig(
            steps=steps,
            batch_size=batch_size,
            schedule="constant",
            warmup=0.0,
            threads=1,
            eval_every=max(1, steps // self.looks),
        )
        return CodeRun("code", method, settings, train, windows=self.windows)

    def lora_of(self, rank, targets=OF_GPT, batch_size=None):
        """The CodeRun of LoRA, with alpha = 32 at every rank, as in the post."""
        return self.run_of("lora", LoRAConfig(rank=rank, alpha=ALPHA, targets=targets), batch_size)

    def settings(self):
        """Every CodeRun by what it is compared for and its label; a run can be there twice."""
        ranks = {f"r = {rank}": self.lora_of(rank) for rank in self.ranks}
        return {
            "ranks": {**ranks, FULL: self.run_of("full")},
            "places": {place: self.lora_of(rank, PLACES[place]) for place, rank in self.places},
            **{
                f"batches of {n}": {
                    "LoRA": self.lora_of(self.batch_rank, batch_size=n),
                    FULL: self.run_of("full", batch_size=n),
                }
                for n in self.batches
            },
        }


def run(config, sweep):
    """Arguments and result are those of `Experiment.run`."""
    settings = {(part, label): run for part, of_part in config.settings().items() for label, run in of_part.items()}
    rates = {key: config.full if key[1] == FULL else config.lora for key in settings}
    found = best_of_rates(sweep, adapt_to_code, settings, rates, seeds=config.seeds, score=minus_valid, model="decoder")
    shape, results = architecture_of(load_bundled("decoder").config), {}
    for (part, label), row in found.items():
        results.setdefault(part, {})[label] = summary(row, settings[part, label], shape)
    return {"windows": config.windows_read, "batch_rank": config.batch_rank, "parts": results}


def summary(found, config, shape):
    """The results of one setting, for JSON."""
    losses = valid_losses(found)
    lora = {} if config.method == "full" else {"rank": config.settings.rank, "targets": config.settings.targets}
    return {
        "trainable": adaptation(shape, config.method, **lora).trainable,
        "lr": found["lr"],
        "valid_by_lr": losses,
        "lowest_point": lowest_point(*zip(*losses, strict=True)),
        "read": [point["step"] * config.train.batch_size for point in found["runs"][0]["path"]],
        "code": [[point["code"] for point in run["path"]] for run in found["runs"]],
    }

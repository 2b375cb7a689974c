"""The adapters behind our version of the paper's section 7: those that table 18 trains, read back from its runs."""

from dataclasses import dataclass, field, replace

import numpy

from minilora.analysis import adapter_factors, z_score
from minilora.experiments.adapt import adapt_and_keep, adapted_decoder
from minilora.experiments.comparison import plus_minus
from minilora.experiments.paper.bases import ON_ATTENTION
from minilora.experiments.paper.mini_e2e import LORA_RATES, QUICK, Training, at, train_all

QUICK_RATES = LORA_RATES[:1]
WHAT_Z_IS = "z: how many standard deviations of two random subspaces the mean phi lies above theirs."


@dataclass(frozen=True)
class SubspaceConfig:
    """Which adapters are compared, and how they are trained.

    Parameters
    ----------
    training : Training
    ranks : sequence of int
    rates : sequence of float
        The learning rates to try for each rank.
    blocks : sequence of int, optional
        The blocks whose adapters are compared; all, if not given.
    """

    training: Training = field(default_factory=Training)
    ranks: tuple[int, ...] = (8, 64)
    rates: tuple[float, ...] = LORA_RATES
    blocks: tuple[int, ...] | None = None

    def quick(self):
        """A configuration for a run of about a minute."""
        return SubspaceConfig(QUICK, self.ranks, QUICK_RATES)

    def on(self, base):
        """The configuration on another base, at as many ranks.

        A small model's are at most half of what its matrices can have: the whole space has all directions in common
        with any other.
        """
        most = base.most_rank // 2
        lower = [min(rank, most // 2 ** (len(self.ranks) - 1 - i)) for i, rank in enumerate(self.ranks)]
        return replace(
            self,
            training=base.training,
            ranks=tuple(lower),
            rates=base.rates_of("lora", LORA_RATES, ON_ATTENTION),
            blocks=base.blocks(),
        )


ANOTHER_START = 1000  # added to a seed


def trained_adapters(config, sweep, other_start=()):
    """The adapters of each rank and seed, at the best learning rate of each rank.

    Parameters
    ----------
    config : SubspaceConfig
    sweep : Sweep
    other_start : sequence of int
        The ranks whose A start from other random numbers than those of table 18, with the same batches.

    Returns
    -------
    dict of int to list of dict of str to Factors
        By rank, then one dict per seed, in order, by path of the layer.
    """
    settings = {rank: config.training.lora(rank) for rank in config.ranks}
    found = train_all(sweep, settings, dict.fromkeys(settings, config.rates), config.training.seeds)
    adapters = {}
    for rank in config.ranks:
        runs = [at(settings[rank], found[rank]["lr"], seed) for seed in config.training.seeds]
        if rank in other_start:
            runs = [replace(run, start_seed=run.train.seed + ANOTHER_START) for run in runs]
            sweep(adapt_and_keep, runs, model=config.training.model)
        adapters[rank] = [of_blocks(adapter_factors(adapted_decoder(sweep, run)), config.blocks) for run in runs]
    return adapters


def of_blocks(factors, blocks=None):
    """The Factors of some blocks, by the path of the layer; of all, if `blocks` is None."""
    return {path: f for path, f in factors.items() if blocks is None or int(path.split(".")[1]) in blocks}


def base_weight(model, path):
    """W of a layer of a decoder, in float64."""
    return dict(model.named_modules())[path].W.data.astype(numpy.float64)


def middle_layer(paths, projection="q_proj"):
    """The path of a projection in the middle block; the paper takes the 48th of 96."""
    of_projection = [path for path in paths if path.endswith(projection)]
    return of_projection[len(of_projection) // 2]


def with_z(score, i, j, I):
    """phi(i, j) as text, with its z-score beside it: how far it lies above chance in R^I.

    Parameters
    ----------
    score : dict
        From `mean_and_spread`.
    i, j, I : int
    """
    return f"{plus_minus(score, 3)}, z {z_score(score['mean'], i, j, I):5.1f}"


def symbol(path):
    """A layer's path as a label: "blocks.2.attn.q_proj" is W_q of block 2."""
    _, block, _, projection = path.split(".")
    return f"$W_{projection[0]}$, block {block}"


def as_text(grid):
    """A grid of numbers from 0 to 1 as one line of text per row: JSON with one number per line would be long."""
    return [" ".join(f"{value:.3f}" for value in row) for row in grid]


def as_grid(lines):
    """The grid that `as_text` wrote."""
    return numpy.array([line.split() for line in lines], dtype=float)

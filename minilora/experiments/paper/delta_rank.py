"""The rank of delta W: of full fine-tuning's and of LoRA's, layer by layer, against W itself and random numbers."""

from dataclasses import dataclass, field
from statistics import mean

import numpy

from minilora.analysis import (
    RankMeasures,
    adapter_factors,
    low_rank_approximation,
    low_rank_errors,
    rank_measures,
    weight_changes,
)
from minilora.experiments.adapt import adapted_decoder, base_and_task
from minilora.experiments.claims import Claim, own
from minilora.experiments.comparison import mean_and_spread, plus_minus, rate
from minilora.experiments.experiment import Experiment
from minilora.experiments.paper.mini_e2e import ALPHA, QUICK, Training, at, train_all, valid_losses
from minilora.experiments.paper.table3 import ADDED, OWN
from minilora.experiments.targets import OF_GPT
from minilora.experiments.text_table import aligned
from minilora.experiments.verdicts import better, of_values, paired
from minilora.methods import LoRAConfig
from minilora.training import evaluate_loss

RANDOM, WEIGHT, FULL, LORA = "random numbers", "W itself", "full fine-tuning", "LoRA"
SYMBOLS = dict(zip(OF_GPT, ("$W_q$", "$W_k$", "$W_v$", "$W_o$", "fc_in", "fc_out"), strict=True))


@dataclass(frozen=True)
class Config:
    """How both are trained, LoRA on all linear maps; and the learning rates to try for each."""

    training: Training = field(default_factory=Training)
    rank: int = 8
    full: tuple[float, ...] = OWN
    lora: tuple[float, ...] = ADDED


def run(config, sweep):
    """Arguments and result are those of `Experiment.run`."""
    lora = LoRAConfig(rank=config.rank, alpha=ALPHA, targets=OF_GPT)
    settings = {FULL: config.training.of("full"), LORA: config.training.of("lora", lora)}
    seeds = config.training.seeds
    found = train_all(sweep, settings, {FULL: config.full, LORA: config.lora}, seeds)
    models = {
        label: [adapted_decoder(sweep, at(settings[label], method_rows["lr"], seed)) for seed in seeds]
        for label, method_rows in found.items()
    }
    rng = numpy.random.default_rng(0)
    base, task = base_and_task(settings[FULL])
    weights = matrices(base)
    changes = [weight_changes(weights, matrices(model)) for model in models[FULL]]
    truncated = {
        "base": evaluate_loss(base, task.batches("valid")),
        "valid": [
            loss_of_truncated(model, task, weights, deltas, config.rank)
            for model, deltas in zip(models[FULL], changes, strict=True)
        ],
    }
    measured = {
        RANDOM: [rank_measures({path: rng.standard_normal(W.shape) for path, W in weights.items()}) for _ in seeds],
        WEIGHT: [rank_measures(weights)] * len(seeds),  # whatever the seed
        FULL: [rank_measures(deltas) for deltas in changes],
        LORA: [rank_measures(adapter_factors(model)) for model in models[LORA]],
    }
    return {
        "rank": config.rank,
        "training": {
            label: {
                "lr": method_rows["lr"],
                "valid_by_lr": valid_losses(method_rows),
                "valid": mean_and_spread([r["valid"] for r in method_rows["runs"]]),
            }
            for label, method_rows in found.items()
        },
        "ranks": {
            label: {path: [ranks[path]._asdict() for ranks in seeds] for path in weights}
            for label, seeds in measured.items()
        },
        "truncated": truncated,
        "kept": {path: [kept(deltas[path], config.rank) for deltas in changes] for path in weights},
    }


def linear_maps(model):
    """All linear maps of a decoder's blocks, by path: W_q of every block, then W_k, ..."""
    layers = [layer for layer in model.named_modules() if layer[0].endswith(OF_GPT)]
    return dict(sorted(layers, key=lambda layer: OF_GPT.index(layer[0].rsplit(".", 1)[-1])))


def matrices(model):
    """The weights of `linear_maps`."""
    return {path: layer.W.data for path, layer in linear_maps(model).items()}


def loss_of_truncated(model, task, weights, deltas, rank):
    """The loss on valid of a fine-tuned decoder, of whose change each matrix keeps the first `rank` directions.

    The model is changed. What is no matrix of a block (embeddings, norms, biases) keeps all of its change.
    """
    for path, layer in linear_maps(model).items():
        layer.W.data[...] = weights[path] + low_rank_approximation(deltas[path], rank).product
    return evaluate_loss(model, task.batches("valid"))


def kept(delta_W, rank):
    """The fraction of ||delta_W||_F^2 that its best approximation of a given rank keeps."""
    errors = low_rank_errors(delta_W).frobenius
    return float(1 - (errors[rank] / errors[0]) ** 2)


def over_matrices(results, label, name="directions", kind=""):
    """A measure's mean over the matrices, or over those of a kind, such as "q_proj": mean and spread of the seeds."""
    rows = results["ranks"][label].items()
    return mean_over([[m[name] for m in seeds] for path, seeds in rows if path.endswith(kind)])


def mean_over(rows):
    """The mean over rows that have a value for each seed: mean and spread of the seeds."""
    return mean_and_spread([mean(values) for values in zip(*rows, strict=True)])


def table(results):
    ranks, rank = results["ranks"], results["rank"]
    lines = [("directions for 90 % of ||M||^2", *ranks, f"first {rank} keep, %")]
    for path, shares in results["kept"].items():
        counts = (plus_minus(mean_and_spread([m["directions"] for m in of[path]]), 0) for of in ranks.values())
        lines.append((path, *counts, plus_minus(mean_and_spread(shares), 1, 100)))
    counts = (plus_minus(over_matrices(results, label), 1) for label in ranks)
    lines.append(("mean", *counts, plus_minus(mean_over(results["kept"].values()), 1, 100)))
    others = [("mean over the blocks", *ranks)]
    for kind in SYMBOLS:
        for name, title in ("stable_rank", "stable rank"), ("effective_rank", "effective rank"):
            numbers = (plus_minus(over_matrices(results, label, name, kind), 1) for label in ranks)
            others.append((f"{kind}, {title}", *numbers))
    trained = ", ".join(
        f"{label} at {rate(row).strip()}: {plus_minus(row['valid'], 3)}" for label, row in results["training"].items()
    )
    if "truncated" in results:  # not in results of before
        trained += f"; with these {rank} alone: {plus_minus(mean_and_spread(results['truncated']['valid']), 3)}"
    return [
        *aligned(lines),
        "",
        *aligned(others),
        "",
        f"M: delta W of full fine-tuning and of LoRA, r = {rank}, on all linear maps; the pretrained W; and Gaussian",
        f"numbers. First {rank}: the share of full fine-tuning's ||delta W||^2 that its first {rank} directions carry.",
        f"Loss on valid (nats per byte): {trained}.",
        "lr: the best of equally many, on valid with the first seed (*: the lowest or highest of them).",
        "The paper has no such table: it conjectures that delta W has a low intrinsic rank (section 4.1).",
    ]


def of_each_matrix(results, label, name):
    """A measure of each matrix: the mean over the seeds."""
    return [mean(seed[name] for seed in seeds) for seeds in results["ranks"][label].values()]


def below(results, label, factor=1.0):
    """By how much full fine-tuning's change is below something else, matrix by matrix, by both measures."""
    what = {"directions": "directions for 90 %", "effective_rank": "effective rank"}
    return [
        paired(
            f"{title}: {label}{'' if factor == 1 else f' x {factor:g}'}, above full fine-tuning's change",
            [factor * value for value in of_each_matrix(results, label, name)],
            of_each_matrix(results, FULL, name),
        )
        for name, title in what.items()
    ]


def queries_above_values(results):
    q, v = (over_matrices(results, FULL, kind=kind)["values"] for kind in ("q_proj", "v_proj"))
    return [paired("directions for 90 % of full fine-tuning's change: W_q's above W_v's", q, v)]


def nine_tenths_of_the_gain(results):
    """Of what full fine-tuning gains on valid, the share that the truncated change keeps, above nine tenths."""
    if "truncated" not in results:
        return None
    base, cut = results["truncated"]["base"], results["truncated"]["valid"]
    full = results["training"][FULL]["valid"]["values"]
    return [of_values("share kept above 0.9", [(base - c) / (base - f) - 0.9 for c, f in zip(cut, full, strict=True)])]


CLAIMS = (
    Claim(
        "delta_rank.below-weight",
        "The change that full fine-tuning makes has a lower rank than W itself, on average over the matrices",
        own("section 4.1 conjectures that the change has a low intrinsic rank"),
        better(),
        lambda results: below(results, WEIGHT),
        "W was trained for thousands of steps, in which its own leading directions grew; a short training with "
        "Adam, which moves every entry about equally far, spreads what it adds.",
        "n is the number of matrices: W is fixed, and it is the matrices that differ.",
    ),
    Claim(
        "delta_rank.below-random",
        "It has a rank of half of that of random numbers, or less",
        own("section 4.1"),
        better(),
        lambda results: below(results, RANDOM, 0.5),
        "What a few hundred steps with small batches add is in part the noise of the batches; and a measure of all "
        "directions counts the small ones too.",
    ),
    Claim(
        "delta_rank.enough",
        "The leading directions of full fine-tuning's change, as many as LoRA's rank, are what it needs: with these "
        "alone the loss on valid keeps nine tenths of the gain",
        own("section 4.1"),
        better(),
        nine_tenths_of_the_gain,
        "A low intrinsic rank, in the paper, is what a change can do with, not what an optimizer happens to make.",
    ),
    Claim(
        "delta_rank.queries",
        "Full fine-tuning changes W_q with a higher rank than W_v",
        own("section 7.2 says so of GPT-3, from the directions that two seeds of LoRA share"),
        better("directions"),
        queries_above_values,
        "This decoder has to learn what to write, which is what W_v carries.",
    ),
)


def plot(results):
    from minilora import plots

    measured = {}
    for label, rows in results["ranks"].items():
        title = f"LoRA, r = {results['rank']}" if label == LORA else label
        measured[title] = {}
        for path, seeds in rows.items():  # all blocks and seeds of a kind of matrix in one row
            measured[title].setdefault(SYMBOLS[path.rsplit(".", 1)[-1]], []).extend(RankMeasures(**m) for m in seeds)
    return plots.ranks(measured)


EXPERIMENT = Experiment(
    name="delta_rank",
    title="The rank of delta W, layer by layer",
    about="Not in the paper, which conjectures that delta W has a low intrinsic rank: the bundled decoder is adapted "
    "to mini-E2E by full fine-tuning and by LoRA on all linear maps, and delta W is compared with W and random "
    "numbers.",
    config=Config(),
    quick=Config(QUICK, full=(1e-3,), lora=(1e-2,)),
    run=run,
    table=table,
    plot=plot,
    claims=CLAIMS,
)

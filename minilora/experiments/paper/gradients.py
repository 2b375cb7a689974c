"""The gradients of A and B are projections of the full gradient, along training."""

from dataclasses import dataclass, field, replace

import numpy

from minilora.analysis import numerical_rank
from minilora.arrays.backend import to_numpy
from minilora.experiments.adapt import DecoderRun, decoder_trainer, watch
from minilora.experiments.claims import Claim, Fact, own
from minilora.experiments.comparison import mean_and_spread, plus_minus
from minilora.experiments.experiment import Experiment
from minilora.experiments.paper.mini_e2e import QUICK, Training, at
from minilora.experiments.text_table import aligned
from minilora.experiments.verdicts import better, paired
from minilora.methods import lora_layers, merge_lora, remove_lora

NAMES = ("error", "share", "expected", "cosine")


@dataclass(frozen=True)
class Config:
    """One rank and learning rate, those of table 3's LoRA; and the steps before which the gradients are examined."""

    training: Training = field(default_factory=Training)
    rank: int = 4
    lr: float = 3e-2
    steps: tuple[int, ...] = (0, 1, 2, 5, 10, 25, 50, 100, 150, 200, 250, 299)

    def __post_init__(self):
        if not self.steps or not 0 <= min(self.steps) <= max(self.steps) < self.training.steps:
            raise ValueError(f"steps was {self.steps}; each must be from 0 to {self.training.steps - 1}")


@dataclass(frozen=True)
class Watched:
    """One training run, and the steps before which the gradients are examined."""

    finetune: DecoderRun
    steps: tuple[int, ...]


def run(config, sweep):
    """Arguments and result are those of `Experiment.run`."""
    lora = config.training.lora(config.rank)
    settings = [Watched(at(lora, config.lr, seed), config.steps) for seed in config.training.seeds]
    seeds = sweep(watch_gradients, settings, model="decoder")
    return {
        "rank": config.rank,
        "steps": {
            str(step): {name: mean_and_spread([seed[i][name] for seed in seeds]) for name in NAMES}
            for i, step in enumerate(config.steps)
        },
    }


def watch_gradients(watched):
    """Train, and compare the gradients of A and B with the full gradient before some of the steps, on their batch.

    Parameters
    ----------
    watched : Watched

    Returns
    -------
    list of dict
        From `look`, for each of the steps.
    """
    model, _, trainer = decoder_trainer(watched.finetune)
    looks = watch(trainer, watched.steps, lambda batch: look(model, batch))
    return [looks[step] for step in watched.steps]


def look(model, batch):
    """Compare the gradients of A and B with dW, the gradient of the whole matrix in a copy where it is not frozen.

    With delta_W = scale B A, dA = scale B^T dW and dB = scale dW A^T. A step of A and B changes delta_W by
    scale (dB A + B dA) = scale^2 (dW A^T A + B B^T dW). Any such step is a sum of a matrix whose rows lie in the row
    space of A and one whose columns lie in the column space of B. So the part of dW that they can follow is

        dW - (1 - P_B) dW (1 - P_A),

    with P_A and P_B the orthogonal projections onto these spaces. What is left out is dW restricted to the other I - r
    and O - r directions. For random A and B, that is (1 - r / I) (1 - rank B / O) of ||dW||_F^2 on average.

    Parameters
    ----------
    model : GPT
        With a LoRA adapter.
    batch : LMBatch

    Returns
    -------
    dict
        error, the largest relative distance of dA and dB from these formulas in any layer; and means over the layers:
        share, the fraction of ||dW||_F^2 that A and B can follow; expected, that fraction for random A and B; cosine,
        between dW and the change that one step of gradient descent makes.
    """
    full = model.replica()
    merge_lora(full)  # a new W + delta_W in the copy; the model keeps its own
    remove_lora(full)
    weights = {path: dict(full.named_modules())[path].W for path in lora_layers(model)}
    full.freeze()
    for W in weights.values():
        W.trainable = True
    for each in (model, full):
        each.zero_grad()
        each.backward_loss(1.0, each.loss(batch)[1])
    looks = [compare(layer, weights[path].grad) for path, layer in lora_layers(model).items()]
    model.zero_grad()
    errors, *others = zip(*looks, strict=True)
    return dict(zip(NAMES, (max(errors), *(float(numpy.mean(values)) for values in others)), strict=True))


def compare(layer, dW):
    """error, share, expected and cosine of one LoRALinear, see `look`; in float64."""
    A, B, dA, dB, dW = (
        to_numpy(array).astype(numpy.float64) for array in (layer.A.data, layer.B.data, layer.A.grad, layer.B.grad, dW)
    )
    O, I = dW.shape
    by_formula = layer.scale * B.T @ dW, layer.scale * dW @ A.T  # (r, I), (O, r)
    error = joint_norm(dA - by_formula[0], dB - by_formula[1]) / joint_norm(*by_formula)
    P_A, rank_A = projection(A.T)
    P_B, rank_B = projection(B)
    left_out = (numpy.eye(O) - P_B) @ dW @ (numpy.eye(I) - P_A)  # (O, I)
    norm = numpy.linalg.norm(dW)
    step = layer.scale * (dB @ A + B @ dA)  # (O, I)
    return (
        float(error),
        float(1 - (numpy.linalg.norm(left_out) / norm) ** 2),
        1 - (1 - rank_A / I) * (1 - rank_B / O),
        float((step * dW).sum() / (numpy.linalg.norm(step) * norm)),
    )


def projection(M):
    """The orthogonal projection onto the column space of M, (n, n), and its rank."""
    if not M.any():
        return numpy.zeros((len(M), len(M))), 0
    rank = numerical_rank(M)
    U = numpy.linalg.svd(M, full_matrices=False)[0][:, :rank]
    return U @ U.T, rank


def joint_norm(*arrays):
    """The norm of several arrays taken together."""
    return numpy.sqrt(sum((array**2).sum() for array in arrays))


def table(results):
    lines = [("step", "error", "share of ||dW||^2, %", "random, %", "cosine")]
    for step, row in results["steps"].items():
        numbers = (plus_minus(row["share"], 1, 100), plus_minus(row["expected"], 1, 100), plus_minus(row["cosine"], 3))
        lines.append((step, f"{row['error']['mean']:.1e}", *numbers))
    return [
        *aligned(lines),
        "",
        "error: dA against scale B^T dW and dB against scale dW A^T, relative, in the worst layer, in float32.",
        f"share: what A and B, r = {results['rank']}, can follow of dW; random: what random A and B could.",
        "cosine: between dW and what one step of gradient descent makes of delta W. Means over all layers.",
        "There is no such table in the paper.",
    ]


def projections_agree(results):
    worst = max(max(row["error"]["values"]) for row in results["steps"].values())
    return Fact(worst < 1e-3, f"to {worst:.0e} at every step, layer and seed")


def followed(results):
    step, row = list(results["steps"].items())[-1]
    label = f"share of ||dW||^2 before step {int(step) + 1}, against that of random A and B"
    return [paired(label, row["share"]["values"], row["expected"]["values"], factor=100)]


CLAIMS = (
    Claim(
        "gradients.projections",
        "The gradients of A and B are scale B^T dW and scale dW A^T",
        own("the chain rule"),
        "to a relative 1e-3 in float32",
        projections_agree,
    ),
    Claim(
        "gradients.followed",
        "Trained A and B can follow more of the full gradient than random ones could",
        own(),
        better("points"),
        followed,
        "What they can follow they have followed, and what is left of dW lies elsewhere.",
    ),
)


def plot(results):
    from minilora import plots

    def line(name, factor=1):
        return [(int(s) + 1, [factor * v for v in row[name]["values"]]) for s, row in results["steps"].items()]

    panels = {
        r"share of $\|dW\|_F^2$ (%)": {"LoRA": line("share", 100), "random $A$, $B$": line("expected", 100)},
        "cosine of the step and $dW$": {"LoRA": line("cosine")},
    }
    return plots.seed_curves(panels, xlabel="training step; 1 is the first", xscale="log")


EXPERIMENT = Experiment(
    name="gradients",
    title="The gradients of A and B as projections of the full gradient",
    about="Not in the paper: along the training of LoRA on mini-E2E, the gradients of A and B are compared with that "
    "of the whole matrix in a copy of the model, and what A and B can follow of it with what random ones could.",
    config=Config(),
    quick=Config(replace(QUICK, steps=5), steps=(0, 1, 4)),
    run=run,
    table=table,
    plot=plot,
    claims=CLAIMS,
)

"""The intrinsic dimension of our tasks: how few numbers, spread at random over the model, reach 90 % of fine-tuning."""

import math
from dataclasses import dataclass, field, replace

from minilora.experiments.claims import Claim, paper
from minilora.experiments.comparison import plus_minus, rate
from minilora.experiments.experiment import Experiment
from minilora.experiments.paper import encoder_tasks, mini_e2e
from minilora.experiments.paper.decoder_tasks import TASK, measure_before, summary
from minilora.experiments.paper.encoder_tasks import Trial
from minilora.experiments.paper.mini_e2e import HERE, train_all
from minilora.experiments.paper.table3 import ADDED, OWN
from minilora.experiments.targets import ALL_LINEAR, OF_GPT, entries_of_linear
from minilora.experiments.text_table import aligned
from minilora.experiments.verdicts import better, paired
from minilora.interop.opening import open_language_model
from minilora.methods import FullConfig, RandomSubspaceConfig
from minilora.models import load_bundled

SHARE = 0.9  # of full fine-tuning's score: d_90 (Li et al., 2018, section 2; Aghajanyan et al., 2021, section 3)
LITTLE = 0.01  # of all entries: what "very low" is taken to mean
FULL = "full fine-tuning"
BITS, SCORE = "bits_per_byte", "accuracy"
WORDS = {SCORE: "right, %", BITS: "bits per byte"}


@dataclass(frozen=True)
class Config:
    """The dimensions of the subspaces, and how each is trained.

    Parameters
    ----------
    training : mini_e2e.Training
    encoder : encoder_tasks.Training, optional
        Adds the bundled encoder's tasks.
    dimensions : sequence of int
        From small to large.
    ranks : sequence of int
        Of LoRA on the same matrices, for comparison.
    full_rates, lora_rates : sequence of float
        The decoder's learning rates, the usual one first. Those of a subspace follow from full fine-tuning's, see
        `rates_of`.
    """

    training: mini_e2e.Training = field(default_factory=lambda: mini_e2e.Training(seeds=(0, 1, 2)))
    encoder: encoder_tasks.Training | None = None
    dimensions: tuple[int, ...] = (316, 1000, 3162, 10_000, 31_623, 100_000)
    ranks: tuple[int, ...] = (1,)
    full_rates: tuple[float, ...] = (OWN[1], OWN[2], OWN[0])
    lora_rates: tuple[float, ...] = (ADDED[1], ADDED[2], ADDED[0])

    def __post_init__(self):
        if list(self.dimensions) != sorted(set(self.dimensions)) or len(self.dimensions) < 2 or self.dimensions[0] < 1:
            raise ValueError(
                f"dimensions was {self.dimensions}; it must be at least 2 integers from 1, from low to high"
            )


def on(base):
    """The Config on another decoder."""
    full_rates = base.rates_of("full", Config().full_rates)
    return Config(base.training, full_rates=full_rates, lora_rates=base.rates_of("lora", Config().lora_rates))


def rates_of(d, D, full_rates):
    """The learning rates of a subspace of d dimensions.

    Adam moves each number that is trained by about the learning rate. So a step of full fine-tuning on D numbers has
    the length lr sqrt(D), and one in the subspace, which P leaves as it is, lr sqrt(d): with sqrt(D / d) times its
    rates, the steps are as long as full fine-tuning's.
    """
    return tuple(float(f"{lr * math.sqrt(D / d):.2g}") for lr in full_rates)


def run(config, sweep):
    """Arguments and result are those of `Experiment.run`."""
    tasks = {TASK: on_decoder(config, sweep)}
    if config.encoder is not None:
        tasks |= on_encoder(config, sweep)
    return {"share": SHARE, "tasks": tasks}


def on_decoder(config, sweep):
    """mini-E2E: every dimension, LoRA and full fine-tuning, by the fraction of right sentences and by the loss."""
    training = config.training
    D = entries_of_linear(open_language_model(training.model).model)
    runs, rates = {FULL: training.of("full")}, {FULL: config.full_rates}
    for r in config.ranks:
        runs[f"LoRA, r = {r}"] = training.lora(r, targets=(ALL_LINEAR,))
        rates[f"LoRA, r = {r}"] = config.lora_rates
    for d in config.dimensions:
        runs[f"d = {d}"] = training.of("random-subspace", RandomSubspaceConfig(d, (ALL_LINEAR,)))
        rates[f"d = {d}"] = rates_of(d, D, config.full_rates)
    found = train_all(sweep, runs, rates, training.seeds)
    (before,) = sweep(measure_before, [runs[FULL]], model=training.model)
    return {
        "D": D,
        "before": before["before"],
        "methods": {label: summary(of_label) for label, of_label in found.items()},
    }


def on_encoder(config, sweep):
    """The encoder's tasks, by accuracy."""
    D = entries_of_linear(load_bundled("encoder"))
    trials = {FULL: Trial(FullConfig(), encoder_tasks.FOR_MATRICES)}
    for r in config.ranks:
        trials[f"LoRA, r = {r}"] = encoder_tasks.lora(r, OF_GPT)
    for d in config.dimensions:
        trials[f"d = {d}"] = Trial(RandomSubspaceConfig(d, OF_GPT), rates_of(d, D, encoder_tasks.FOR_MATRICES))
    of_tasks = encoder_tasks.compare(sweep, config.encoder, trials)
    return {task: {"D": D, "methods": results["methods"]} for task, results in of_tasks.items()}


def goal(task_results, name):
    """What a subspace must reach: 90 % of full fine-tuning's score, or of how far it lets the loss fall.

    None if full fine-tuning itself has learned nothing, so that everything would reach it.
    """
    full = task_results["methods"][FULL][name]["mean"]
    if name == SCORE:
        return SHARE * full if full > 0 else None
    before = task_results["before"][name]
    return before - SHARE * (before - full) if full < before else None


def d_90(task_results, name=SCORE):
    """The smallest dimension tried that reaches the goal, and the largest below it.

    Returns
    -------
    low, high : int or None
        The intrinsic dimension is above low and at most high; None: no dimension tried lies below, or reaches it. Both
        are None if full fine-tuning has learned nothing.
    """
    least, low = goal(task_results, name), None
    if least is None:
        return None, None
    for d, mean in dimensions(task_results, name):
        if (mean >= least) if name == SCORE else (mean <= least):
            return low, d
        low = d
    return low, None


def dimensions(task_results, name):
    """Pairs of a dimension and the mean of a score there, from low to high."""
    rows = task_results["methods"].items()
    return sorted((int(label[4:]), of_d[name]["mean"]) for label, of_d in rows if label.startswith("d = "))


def as_words(low, high):
    """What `d_90` returns, in words."""
    if low is None and high is None:
        return f"none, for {FULL} has learned nothing"
    if high is None:
        return f"above {low:,}"
    return f"at most {high:,}" if low is None else f"above {low:,}, at most {high:,}"


def table(results):
    lines = []
    for task, of_task in results["tasks"].items():
        names = [name for name in (SCORE, BITS) if name in of_task["methods"][FULL]]
        rows = [(task, "trained", "lr", *(WORDS[name] for name in names))]
        for label, of_label in of_task["methods"].items():
            scores = (plus_minus(of_label[n], *((1, 100) if n == SCORE else (3,))) for n in names)
            rows.append((label, f"{of_label['trainable']:,}", rate(of_label), *scores))
        found = [
            f"d_90 of {'what is right' if n == SCORE else 'the loss'}: {as_words(*d_90(of_task, n))}" for n in names
        ]
        lines += [*aligned(rows), "", f"{'; '.join(found)}; of D = {of_task['D']:,}", ""]
    return [
        *lines,
        "d: theta of d numbers moves all linear maps of the blocks, W = W0 + P theta, whose entries are D. d_90: the",
        "smallest d tried with 90 % of full fine-tuning's score, or of the way that it lets the loss fall.",
        "right: sentences that say every attribute and nothing else, or labels. Test, mean ± standard deviation.",
        "Aghajanyan et al. (2021): 200 do for RoBERTa on MRPC. A dimension is not a rank: P theta has full rank.",
    ]


def with_little(results):
    """How far the largest dimension of at most 1 % of all entries lies above 90 % of full fine-tuning, on each task."""
    differences = []
    for task, of_task in results["tasks"].items():
        if goal(of_task, SCORE) is None:
            return f"{FULL} has learned nothing of {task}"
        little = [d for d, _ in dimensions(of_task, SCORE) if d <= LITTLE * of_task["D"]]
        if not little:
            return f"no dimension of at most {100 * LITTLE:.0f} % of {of_task['D']:,} was tried on {task}"
        reached, full = (of_task["methods"][label][SCORE]["values"] for label in (f"d = {little[-1]}", FULL))
        label = f"{task}, d = {little[-1]:,} above {100 * SHARE:.0f} % of {FULL}"
        differences.append(paired(label, reached, [SHARE * score for score in full], 100))
    return differences


CLAIMS = (
    Claim(
        "intrinsic_dimension.low",
        f"A random subspace of at most {100 * LITTLE:.0f} % of the entries reaches {100 * SHARE:.0f} % of {FULL}",
        paper(
            "section 4.1",
            'the pre-trained language models have a low "instrisic dimension" and can still learn efficiently despite '
            "a random projection to a smaller subspace",
        ),
        better("points"),
        with_little,
        "Aghajanyan et al. (2021) find the dimension to be the lower, the larger a model is and the longer it was "
        "pretrained; this one is small.",
    ),
)


def plot(results):
    from minilora import plots

    panels = {}
    for task, of_task in results["tasks"].items():
        for name, title, factor in (SCORE, f"right on {task} (%)", 100), (BITS, f"bits per byte of {task}", 1):
            curves = {"random subspace": [], "LoRA": [], FULL: []}
            for label, of_label in of_task["methods"].items():
                kind = next((kind for kind in ("LoRA", FULL) if label.startswith(kind)), "random subspace")
                if name in of_label:
                    curves[kind].append((of_label["trainable"], [factor * v for v in of_label[name]["values"]]))
            if any(curves.values()):
                panels[title] = {kind: points for kind, points in curves.items() if points}
    return plots.seed_curves(panels, xlabel="numbers trained", xscale="log")


EXPERIMENT = Experiment(
    name="intrinsic_dimension",
    title="How few numbers, spread at random over the model, are enough",
    about="LoRA's hypothesis follows Li et al. (2018) and Aghajanyan et al. (2021), who train a model in a random "
    "subspace of d dimensions and look for d_90. Here {base} is trained so on mini-E2E ({terms}), beside LoRA on the "
    "same matrices, and full fine-tuning.",
    config=Config(),
    quick=Config(
        mini_e2e.QUICK,
        replace(encoder_tasks.QUICK, n_rates=1),
        dimensions=(4, 64),
        ranks=(1,),
        full_rates=(1e-3,),
        lora_rates=(1e-2,),
    ),
    run=run,
    table=table,
    plot=plot,
    claims=CLAIMS,
    here=HERE,
    on=on,
)

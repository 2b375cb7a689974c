"""Table 1: the latency that adapters add, and that LoRA does not."""

import time
from dataclasses import dataclass

import numpy

from minilora.arrays.threads import one_blas_thread, retain_freed_memory
from minilora.experiments.claims import Claim, paper
from minilora.experiments.experiment import Experiment
from minilora.experiments.text_table import aligned
from minilora.experiments.verdicts import as_good, better, of_values, unpaired
from minilora.methods import HoulsbyConfig, LoRAConfig, apply_method, merge_lora
from minilora.models import load_bundled

BASE = "base"
VARIANTS = {  # by label: what is put into the model
    BASE: None,
    "base, again": None,  # another copy: what differs here is the timing's own error
    "LoRA, merged": LoRAConfig(rank=4),
    "LoRA, beside W": LoRAConfig(rank=4),
    "Adapter^L, small": HoulsbyConfig("lin", size=4),
    "Adapter^H, small": HoulsbyConfig("houlsby", size=2),
    "Adapter^L, large": HoulsbyConfig("lin", size=64),
    "Adapter^H, large": HoulsbyConfig("houlsby", size=32),
}
LARGE = ("Adapter^L, large", "Adapter^H, large")
PAPER = {  # GPT-2 medium, percent above the base: 32 x 512 with 0.5M in the adapters; 16 x 256 and 1 x 128 with 11M
    "Adapter^L, small": (2.2, None, None),
    "Adapter^H, small": (3.0, None, None),
    "Adapter^L, large": (None, 5.0, 20.7),
    "Adapter^H, large": (None, 8.4, 30.3),
}
PAPER_MS = {  # milliseconds of a forward, and their deviation over 100 trials, at 32 x 512, 16 x 256 and 1 x 128
    "fine-tuned, or LoRA merged": ("1449.4 ± 0.8", "338.0 ± 0.6", "19.8 ± 2.7"),
    "Adapter^L": ("1482.0 ± 1.0", "354.8 ± 0.5", "23.9 ± 2.1"),
    "Adapter^H": ("1492.2 ± 1.0", "366.3 ± 0.5", "25.8 ± 2.2"),
}


@dataclass(frozen=True)
class Config:
    """Batch and length of each forward, from the largest to the smallest, and how often it is timed."""

    shapes: tuple[tuple[int, int], ...] = ((32, 256), (16, 128), (1, 64))
    rounds: tuple[int, ...] = (9, 25, 150)
    seed: int = 0

    def __post_init__(self):
        if len(self.shapes) != len(self.rounds) or not self.shapes or min(self.rounds) < 3:
            raise ValueError(f"rounds was {self.rounds}; it must be a number of at least 3 for each of {self.shapes}")


def run(config, sweep):
    """Everything is timed in one run, so that no other run of the sweep disturbs it."""
    return sweep(time_forwards, [config], model="decoder")[0]


def time_forwards(config):
    """Seconds of one forward of each variant at each shape, interleaved: each round takes all variants in turn.

    Parameters
    ----------
    config : Config

    Returns
    -------
    dict
        added: by variant, the parameters that it adds to the base's; seconds: by shape and variant, a list over rounds.
    """
    retain_freed_memory()  # mapping fresh pages takes up to a third of a forward, now of one variant, now of another
    rng = numpy.random.default_rng(config.seed)
    models = {label: _variant(label, rng) for label in VARIANTS}
    sizes = {label: sum(p.data.size for p in model.parameters()) for label, model in models.items()}
    seconds = {}
    with one_blas_thread():
        for (N, T), rounds in zip(config.shapes, config.rounds, strict=True):
            ids = rng.integers(0, 256, (N, T))
            times = {label: [] for label in models}
            for i in range(rounds + 1):  # the first warms up
                for label in rng.permutation(list(models)):  # no variant always follows the same other one
                    started = time.perf_counter()
                    models[label].forward(ids)
                    if i > 0:
                        times[str(label)].append(time.perf_counter() - started)
            seconds[f"{N} x {T}"] = times
    return {"added": {label: sizes[label] - sizes[BASE] for label in models}, "seconds": seconds}


def _variant(label, rng):
    model = load_bundled("decoder")
    if VARIANTS[label] is not None:
        apply_method(model, VARIANTS[label], rng=rng)
    if label == "LoRA, merged":
        merge_lora(model)
    return model


def above_base(results):
    """By shape and variant: the percent above the base, in each round."""
    return {
        shape: {
            label: 100 * (numpy.array(row) / numpy.array(times[BASE]) - 1)
            for label, row in times.items()
            if label != BASE
        }
        for shape, times in results["seconds"].items()
    }


def overheads(results):
    """By shape and variant: quartiles over the rounds of the percent above the base of that round."""
    return {
        shape: {label: numpy.percentile(percent, (25, 50, 75)).tolist() for label, percent in of_shape.items()}
        for shape, of_shape in above_base(results).items()
    }


def table(results):
    percent, shapes = overheads(results), list(results["seconds"])
    lines = [("", "added", *(f"{shape}, ms" for shape in shapes), *(["above base, %"] * len(shapes)), "paper, %")]
    for label, added in results["added"].items():
        medians = (f"{1e3 * numpy.median(results['seconds'][shape][label]):.2f}" for shape in shapes)
        above = ["-"] * len(shapes)
        if label != BASE:
            above = [f"{q[1]:+.1f} ({q[0]:+.1f} to {q[2]:+.1f})" for q in (percent[shape][label] for shape in shapes)]
        paper = " / ".join("-" if p is None else f"{p:+.1f}" for p in PAPER.get(label, (None,) * 3))
        lines.append((label, f"{added:,}", *medians, *above, paper))
    paper = [("the paper's, in ms", "32 x 512", "16 x 256", "1 x 128")]
    return [
        *aligned(lines),
        "",
        *aligned(paper + [(label, *row) for label, row in PAPER_MS.items()]),
        "",
        "Batch x length of one forward on one core, without a cache. ms: the median over the rounds. above base: the",
        "median (and quartiles) of the ratio within a round, which meets the same noise: not the ratio of the ms.",
        "The paper's are of GPT-2 medium on a GPU, at 32 x 512, 16 x 256 and 1 x 128, with 0.5M, 11M and 11M in the",
        "adapters; its LoRA is merged, so that it has the base's row.",
    ]


def slower(labels):
    """`Claim.compare`: by how many percent these variants are slower than the base, at each shape, round by round."""

    def compare(results):
        return [
            of_values(f"{label}, {shape}", percent.tolist())
            for shape, of_shape in above_base(results).items()
            for label, percent in of_shape.items()
            if label in labels
        ]

    return compare


def slower_where_there_is_less(results):
    """By how many percentage points an adapter's overhead is larger at the smallest shape than at the largest."""
    percent = above_base(results)
    most, *_, least = percent
    return [
        unpaired(f"{label}, {least} against {most}", percent[least][label], percent[most][label]) for label in LARGE
    ]


CLAIMS = (
    Claim(
        "table1.merged",
        "Merged LoRA adds no latency",
        paper("abstract", "unlike adapters, no additional inference latency"),
        as_good(1.1, "%", "half of the least that the paper's adapters add, 2.2 %"),
        slower(("LoRA, merged",)),
        note="One value a round: the time over the base's in the same round. The copy of the base shows the noise.",
    ),
    Claim(
        "table1.adapters",
        "Adapters add latency at every shape",
        paper("section 3", "we see a noticeable increase in latency when using adapters"),
        better("%"),
        slower(LARGE),
    ),
    Claim(
        "table1.short",
        "Adapters add the more, the fewer tokens there are at once",
        paper(
            "table 1",
            "The inference latency introduced by adapter layers can be significant in an online, short-sequence-length "
            "scenario",
        ),
        better("percentage points"),
        slower_where_there_is_less,
        "On a GPU a small batch leaves most of the chip idle while the adapters wait in line; on one core each "
        "operation takes its time at any batch.",
        "The paper's first column has adapters of 0.5M parameters, the others of 11M: it changes both at once.",
    ),
)


def plot(results):
    from minilora import plots

    return plots.overheads(overheads(results), ylabel="latency above the base (%)")


EXPERIMENT = Experiment(
    name="table1",
    title="The latency of adapters, and of LoRA",
    about="The paper times one forward of GPT-2 medium on a GPU. Here it is the bundled decoder on one core, at the "
    "lengths that it takes, with LoRA also unmerged. Timings need a quiet machine: all variants take turns in one run, "
    "with nothing else of this package running.",
    config=Config(),
    quick=Config(rounds=(3, 3, 9)),
    run=run,
    table=table,
    plot=plot,
    claims=CLAIMS,
)

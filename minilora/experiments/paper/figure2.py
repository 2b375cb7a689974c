"""Figure 2: quality against trainable parameters, every method for encoders at several sizes."""

from minilora.experiments.claims import Claim, paper
from minilora.experiments.comparison import rate
from minilora.experiments.experiment import Experiment
from minilora.experiments.paper.accuracies import NO_WORSE, on_each_task
from minilora.experiments.paper.encoder_tasks import (
    ATTENTION,
    FOR_MATRICES,
    FOR_NEW,
    HERE,
    QUICK,
    TWO_RATES,
    Trial,
    compare,
    footnotes,
    heading,
    lora,
    scores,
)
from minilora.experiments.text_table import aligned
from minilora.experiments.verdicts import better
from minilora.methods import BitFitConfig, FullConfig, HeadConfig, HoulsbyConfig, PrefixConfig, TopKConfig

LORA, HEAD = "LoRA, W_q and W_v", "the head alone"
METHODS = {  # by label: the sizes, smallest first; some of these runs are shared with table 6
    "full fine-tuning": {"all": Trial(FullConfig(), FOR_MATRICES)},
    "FT-top-k": {f"k = {k}": Trial(TopKConfig(k=k), FOR_MATRICES) for k in (1, 2, 4)},
    "BitFit": {"all": Trial(BitFitConfig(), FOR_NEW)},
    "Adapter^H": {f"r = {r}": Trial(HoulsbyConfig("houlsby", size=r), FOR_NEW) for r in (2, 8, 32)},
    "Adapter^L": {"r = 8": Trial(HoulsbyConfig("lin", size=8), FOR_NEW)},
    "Adapter^P": {f"r = {r}": Trial(HoulsbyConfig("pfeiffer", size=r), FOR_NEW) for r in (2, 8, 32)},
    "Adapter^D": {"r = 8": Trial(HoulsbyConfig("pfeiffer", size=8, leave_out=1), FOR_NEW)},
    "prefix-embedding": {f"lp = {n}": Trial(PrefixConfig("embedding", n, after=0), FOR_NEW) for n in (2, 8, 32)},
    "prefix-layer": {f"lp = {n}": Trial(PrefixConfig("layer", n, after=0), FOR_NEW) for n in (2, 8, 32)},
    LORA: {f"r = {r}": lora(r, ("q_proj", "v_proj")) for r in (1, 2, 4, 8, 64)},
    "LoRA, all linear": {f"r = {r}": lora(r, (*ATTENTION, "fc_in", "fc_out")) for r in (1, 8)},
    HEAD: {"": Trial(HeadConfig(), FOR_NEW)},
}


def label_of(method, size):
    """The label of a size of a method."""
    return f"{method}, {size}" if size else method


def run(config, sweep):
    """Arguments and result are those of `Experiment.run`; the config is a Training."""
    if len(config.tasks) != 1:
        raise ValueError(f"tasks was {config.tasks}; it must be one task, which is what the figure shows")
    trials = {label_of(m, size): trial for m, sizes in METHODS.items() for size, trial in sizes.items()}
    return {"tasks": compare(sweep, config, trials)}


def table(results):
    ((task, task_results),) = results["tasks"].items()
    rows = [("", "trainable", "lr", "accuracy", "macro-F1")]
    for label, row in task_results["methods"].items():
        rows.append((label, f"{row['trainable']:,}", rate(row), *scores(row)))
    return [*heading(task, task_results), *aligned(rows), "", *footnotes(results)]


def by_size(rows, method):
    """The label and the row of each size of a method that was trained, in the order of their parameters."""
    labels = [label_of(method, size) for size in METHODS[method]]
    return [(label, rows[label]) for label in labels if label in rows]


def others_and_lora(rows):
    """(LoRA's label, another method's): each other size, with the smallest LoRA that trains as many parameters."""
    sizes = by_size(rows, LORA)
    others = [label for m in METHODS if not m.startswith("LoRA") for label, _ in by_size(rows, m)]
    found = []
    for label in others:
        as_large = [size for size, row in sizes if row["trainable"] >= rows[label]["trainable"]]
        found += [(as_large[0], label)] if as_large else []
    return found


def larger_and_smaller(rows):
    """(larger, next smaller) for each size of LoRA but the smallest."""
    labels = [label for label, _ in by_size(rows, LORA)]
    return list(zip(labels[1:], labels, strict=False))


def smaller_and_larger_prefixes(rows):
    """(smaller, larger) for the two ends of each kind of prefix."""
    kinds = [[label for label, _ in by_size(rows, method)] for method in METHODS if method.startswith("prefix")]
    return [(labels[0], labels[-1]) for labels in kinds if labels]


CLAIMS = (
    Claim(
        "figure2.performance",
        "No other method is better than LoRA with as few parameters",
        paper("figure 2", "LoRA exhibits better scalability and task performance"),
        NO_WORSE,
        on_each_task(others_and_lora),
        "LoRA on W_q and W_v changes the attention alone; this encoder was pretrained for a short time, and what "
        "changes its MLPs or its biases gets further with the same number.",
    ),
    Claim(
        "figure2.scalability",
        "LoRA is not worse for having more parameters",
        paper("table 15, to which figure 2 refers", "LoRA's performance stabilizes"),
        NO_WORSE,
        on_each_task(larger_and_smaller),
        "alpha / r makes delta_W smaller for a larger rank at the same learning rate, and the steps are few.",
    ),
    Claim(
        "figure2.prefixes",
        "Prefixes are worse for having more parameters",
        paper(
            "table 15, to which figure 2 refers",
            "Both prefix-embedding tuning (PrefixEmbed) and prefix-layer tuning (PrefixLayer) perform worse as we "
            "increase the number of trainable parameters",
        ),
        better("points"),
        on_each_task(smaller_and_larger_prefixes),
        "A longer prefix is not only more numbers: it moves the text further from the first token, which the head "
        "reads, to other learned positions of this encoder.",
    ),
)


def plot(results):
    from minilora import plots

    ((task, task_results),) = results["tasks"].items()
    rows = task_results["methods"]
    methods = {}
    for method in METHODS:
        there = [row for _, row in by_size(rows, method)]
        if there and method != HEAD:
            methods[method] = [(row["trainable"], [100 * v for v in row["accuracy"]["values"]]) for row in there]
    levels = {label: 100 * row["accuracy"] for label, row in task_results["baselines"].items()}
    if HEAD in rows:
        levels = {HEAD: 100 * rows[HEAD]["accuracy"]["mean"], **levels}
    return plots.parameters_against_score(methods, ylabel=f"accuracy on {task} (%)", levels=levels)


EXPERIMENT = Experiment(
    name="figure2",
    title="Quality against trainable parameters",
    about="The paper draws the accuracy of GPT-3 on WikiSQL and MNLI against the trainable parameters of each method. "
    "Here each method adapts {base} at one to five sizes: {terms}.",
    config=TWO_RATES,
    quick=QUICK,
    run=run,
    table=table,
    plot=plot,
    claims=CLAIMS,
    here=HERE,
)

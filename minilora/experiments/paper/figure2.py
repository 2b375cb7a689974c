"""Figure 2: quality against trainable parameters, every method for encoders at several sizes."""

from minilora.experiments.comparison import above, rate
from minilora.experiments.experiment import Experiment
from minilora.experiments.paper.encoder_tasks import (
    ATTENTION,
    FOR_MATRICES,
    FOR_NEW,
    QUICK,
    TWO_RATES,
    Trial,
    claim_of_tasks,
    compare,
    footnotes,
    heading,
    lora,
    percent,
    scores,
)
from minilora.experiments.text_table import aligned
from minilora.methods import BitFitConfig, FullConfig, HeadConfig, HoulsbyConfig, TopKConfig

LORA, HEAD = "LoRA, W_q and W_v", "the head alone"
METHODS = {  # by label: the sizes, smallest first; many of these runs are shared with tables 2 and 6
    "full fine-tuning": {"all": Trial(FullConfig(), FOR_MATRICES)},
    "FT-top-k": {f"k = {k}": Trial(TopKConfig(k=k), FOR_MATRICES) for k in (1, 2, 4)},
    "BitFit": {"all": Trial(BitFitConfig(), FOR_NEW)},
    "Adapter^H": {f"r = {r}": Trial(HoulsbyConfig("houlsby", size=r), FOR_NEW) for r in (2, 8, 32)},
    "Adapter^L": {"r = 8": Trial(HoulsbyConfig("lin", size=8), FOR_NEW)},
    "Adapter^P": {f"r = {r}": Trial(HoulsbyConfig("pfeiffer", size=r), FOR_NEW) for r in (2, 8, 32)},
    "Adapter^D": {"r = 8": Trial(HoulsbyConfig("pfeiffer", size=8, leave_out=1), FOR_NEW)},
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
    """The label and the row of each size of a method, in the order of their parameters."""
    return [(label_of(method, size), rows[label_of(method, size)]) for size in METHODS[method]]


def falls(rows):
    """By method: (smaller, larger) for each two sizes where the larger is clearly worse."""
    found = {}
    for method in METHODS:
        sizes = by_size(rows, method)
        found[method] = [
            (small, large)
            for i, (small, row) in enumerate(sizes)
            for large, larger in sizes[i + 1 :]
            if above(row["accuracy"], larger["accuracy"])
        ]
    return found


def better_for_less(rows):
    """(label, LoRA's) for each label of another method that beats a size of LoRA with no more parameters."""
    others = [label for m in METHODS if not m.startswith("LoRA") for label, _ in by_size(rows, m)]
    return [
        (label, size)
        for size, row in by_size(rows, LORA)
        for label in others
        if rows[label]["trainable"] <= row["trainable"] and above(rows[label]["accuracy"], row["accuracy"])
    ]


def claims(results):
    def seen_lora(rows):
        return ", ".join(f"{label}: {percent(row)}" for label, row in by_size(rows, LORA))

    def seen_falls(rows):
        pairs = [pair for pairs in falls(rows).values() for pair in pairs]
        return "; ".join(f"{a} {percent(rows[a])}, {b} {percent(rows[b])}" for a, b in pairs) or "none is clearly worse"

    def seen_better(rows):
        pairs = better_for_less(rows)
        return "; ".join(f"{a} {percent(rows[a])}, {b} {percent(rows[b])}" for a, b in pairs) or "none is"

    return [
        claim_of_tasks(
            results,
            "No other method is better than LoRA with as few parameters",
            lambda rows: not better_for_less(rows),
            seen_better,
            "LoRA on W_q and W_v changes the attention alone; this encoder was pretrained for a short time, and what "
            "changes its MLPs or its biases gets further with the same number.",
        ),
        claim_of_tasks(
            results,
            "LoRA is not worse for having more parameters",
            lambda rows: not falls(rows)[LORA],
            seen_lora,
            "alpha / r makes delta_W smaller for a larger rank at the same learning rate, and the steps are few.",
        ),
        claim_of_tasks(
            results,
            "Some other methods are worse with more parameters",
            lambda rows: any(pairs for method, pairs in falls(rows).items() if not method.startswith("LoRA")),
            seen_falls,
            "In the paper these are prefix-embedding and prefix-layer tuning, which are for decoders here.",
        ),
    ]


def plot(results):
    from minilora import plots

    ((task, task_results),) = results["tasks"].items()
    rows = task_results["methods"]
    methods = {
        method: [(row["trainable"], [100 * v for v in row["accuracy"]["values"]]) for _, row in by_size(rows, method)]
        for method in METHODS
        if method != HEAD
    }
    levels = {label: 100 * row["accuracy"] for label, row in task_results["baselines"].items()}
    levels = {HEAD: 100 * rows[HEAD]["accuracy"]["mean"], **levels}
    return plots.parameters_against_score(methods, ylabel=f"accuracy on {task} (%)", levels=levels)


EXPERIMENT = Experiment(
    name="figure2",
    title="Quality against trainable parameters",
    about="The paper draws the accuracy of GPT-3 on WikiSQL and MNLI against the trainable parameters of each method. "
    "Here each method adapts the bundled encoder at one to five sizes, "
    f"with {TWO_RATES.terms}.",
    config=TWO_RATES,
    quick=QUICK,
    run=run,
    table=table,
    plot=plot,
    claims=claims,
)

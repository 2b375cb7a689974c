"""Table 6: the rank, on W_q, on W_q and W_v, and on all four attention matrices."""

from minilora.experiments.claims import Claim, own, paper
from minilora.experiments.comparison import rate
from minilora.experiments.experiment import Experiment
from minilora.experiments.paper import decoder_tasks, encoder_tasks
from minilora.experiments.paper.accuracies import NO_WORSE, on_each_task
from minilora.experiments.paper.bases import ON_ATTENTION
from minilora.experiments.paper.encoder_tasks import (
    ATTENTION,
    HERE,
    QUICK,
    TWO_RATES,
    compare,
    lora,
)
from minilora.experiments.paper.mini_e2e import LORA_RATES
from minilora.experiments.text_table import aligned
from minilora.experiments.verdicts import better

QV = "W_q, W_v"
TARGETS = {"W_q": ("q_proj",), QV: ("q_proj", "v_proj"), "all four": ATTENTION}
PAPER = {  # GPT-3 on WikiSQL, and on MNLI, by rank
    "W_q": {1: (68.8, 90.7), 2: (69.6, 90.9), 4: (70.5, 91.1), 8: (70.4, 90.7), 64: (70.0, 90.7)},
    QV: {1: (73.4, 91.3), 2: (73.3, 91.4), 4: (73.7, 91.3), 8: (73.8, 91.6), 64: (73.5, 91.4)},
    "all four": {1: (74.1, 91.2), 2: (73.7, 91.7), 4: (74.0, 91.7), 8: (74.0, 91.5), 64: (73.9, 91.4)},
}
RANKS = tuple(PAPER[QV])


def label_of(where, rank):
    """The label of a row."""
    return f"{where}, r = {rank}"


def ranks_of(results, where=QV):
    """The ranks that were compared, in order; they are in the labels."""
    rows = next(iter(results["tasks"].values()))["methods"]
    labels = (label.rpartition(", r = ") for label in rows)
    return tuple(sorted(int(rank) for place, _, rank in labels if place == where))


def on(base):
    """The configuration on a decoder."""
    ranks = base.possible(base.few_ranks or RANKS)
    settings = {label_of(where, rank): base.lora(rank, TARGETS[where]) for where in TARGETS for rank in ranks}
    return decoder_tasks.Places(base.training, base.rates_of("lora", LORA_RATES, ON_ATTENTION), settings)


def run(config, sweep):
    """Arguments and result are those of `Experiment.run`; the config is a Training, or Places on a decoder."""
    if isinstance(config, decoder_tasks.Places):
        return {"tasks": decoder_tasks.compare(sweep, config)}
    trials = {label_of(where, rank): lora(rank, TARGETS[where]) for where in TARGETS for rank in RANKS}
    return {"tasks": compare(sweep, config, trials)}


def table(results):
    form, lines = decoder_tasks if decoder_tasks.TASK in results["tasks"] else encoder_tasks, []
    for task, task_results in results["tasks"].items():
        rows = [("", "trainable", "lr", *form.COLUMNS, "paper: WikiSQL", "MNLI")]
        for where in TARGETS:
            for rank in ranks_of(results):
                row = task_results["methods"][label_of(where, rank)]
                paper = (f"{score:.1f}" for score in PAPER[where][rank]) if rank in PAPER[where] else ("-", "-")
                rows.append((label_of(where, rank), f"{row['trainable']:,}", rate(row), *form.scores(row), *paper))
        lines += [*form.heading(task, task_results), *aligned(rows), ""]
    return [
        *lines,
        *form.footnotes(results),
        "alpha is the same at every rank. The paper's scores are those of GPT-3 175B.",
    ]


def higher(rows, where):
    """The labels of a place's ranks above 1, of those that were trained."""
    return tuple(label for label in rows if label.startswith(f"{where}, r = ") and label != label_of(where, 1))


CLAIMS = (
    Claim(
        "table6.rank-1",
        "A rank of 1 is enough for W_q and W_v: no higher one is better",
        paper("table 6", "a rank as small as one suffices for adapting both W_q and W_v on these datasets"),
        NO_WORSE,
        on_each_task(lambda rows: [(label_of(QV, 1), label) for label in higher(rows, QV)]),
        "GPT-3 has 96 layers and 12,288 channels, and one direction in each matrix is 4.7 million parameters in "
        "all; here it is a few thousand, for a task that pretraining has not prepared.",
    ),
    Claim(
        "table6.queries-alone",
        "W_q alone needs a higher rank than 1: the higher ones are better, on average over them",
        paper("table 6", "while training W_q alone needs a larger r"),
        better("points"),
        on_each_task(lambda rows: [(higher(rows, "W_q"), label_of("W_q", 1))]),
    ),
    Claim(
        "table6.rank-64",
        "A rank of 64 is no better than one of 8",
        paper("section 7.2", "increasing r does not cover a more meaningful subspace"),
        NO_WORSE,
        on_each_task(lambda rows: [(label_of(where, 8), label_of(where, 64)) for where in TARGETS]),
        "In a small model rank 64 is a good part of what a matrix can hold, nearly full fine-tuning of the attention, "
        "and the task gains from it.",
    ),
    Claim(
        "table6.two-matrices",
        "Rank 1 on W_q and W_v is better than rank 64 on W_q",
        own("the numbers of the paper's table 6"),
        better("points"),
        on_each_task(lambda rows: [(label_of(QV, 1), label_of("W_q", 64))]),
        "Enough rank on one matrix makes up for the other.",
    ),
)


def plot(results):
    from minilora import plots

    panels = {
        f"accuracy on {task} (%)": {
            where: [
                (rank, [100 * v for v in task_results["methods"][label_of(where, rank)]["accuracy"]["values"]])
                for rank in ranks_of(results)
                if label_of(where, rank) in task_results["methods"]
            ]
            for where in TARGETS
        }
        for task, task_results in results["tasks"].items()
    }
    return plots.seed_curves(panels, xlabel="rank $r$", xscale="log2")


EXPERIMENT = Experiment(
    name="table6",
    title="The rank, from 1 to 64",
    about="The paper adapts GPT-3 at ranks from 1 to 64, on W_q, on W_q and W_v, and on all four attention matrices. "
    "Here {base} is adapted in the same places: {terms}.",
    config=TWO_RATES,
    quick=QUICK,
    run=run,
    table=table,
    plot=plot,
    claims=CLAIMS,
    here=HERE,
    on=on,
)

"""Table 6: the rank, on W_q, on W_q and W_v, and on all four attention matrices."""

from minilora.experiments.comparison import above, rate
from minilora.experiments.experiment import Experiment
from minilora.experiments.paper.encoder_tasks import (
    ALPHA,
    ATTENTION,
    QUICK,
    TWO_RATES,
    best,
    claim_of_tasks,
    compare,
    footnotes,
    heading,
    lora,
    percent,
    scores,
)
from minilora.experiments.text_table import aligned

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


def run(config, sweep):
    """Arguments and result are those of `Experiment.run`; the config is a Training."""
    trials = {label_of(where, rank): lora(rank, TARGETS[where]) for where in TARGETS for rank in RANKS}
    return {"tasks": compare(sweep, config, trials)}


def table(results):
    lines = []
    for task, task_results in results["tasks"].items():
        rows = [("", "trainable", "lr", "accuracy", "macro-F1", "paper: WikiSQL", "MNLI")]
        for where in TARGETS:
            for rank in RANKS:
                row = task_results["methods"][label_of(where, rank)]
                paper = (f"{score:.1f}" for score in PAPER[where][rank])
                rows.append((label_of(where, rank), f"{row['trainable']:,}", rate(row), *scores(row), *paper))
        lines += [*heading(task, task_results), *aligned(rows), ""]
    return [
        *lines,
        *footnotes(results),
        f"alpha is {ALPHA} at every rank. The paper's scores are those of GPT-3 175B.",
    ]


def claims(results):
    lowest = label_of(QV, RANKS[0])

    def best_of(rows, where):
        return best(rows, [label_of(where, rank) for rank in RANKS])

    def seen(*labels):
        return lambda rows: ", ".join(f"{label}: {percent(rows[label])}" for label in labels)

    return [
        claim_of_tasks(
            results,
            "A rank of 1 is enough for W_q and W_v",
            lambda rows: not above(rows[best_of(rows, QV)]["accuracy"], rows[lowest]["accuracy"]),
            lambda rows: seen(*dict.fromkeys((lowest, best_of(rows, QV))))(rows),
            "GPT-3 has 96 layers and 12,288 channels, and one direction in each matrix is 4.7 million parameters in "
            "all; here it is a few thousand, for a task that pretraining has not prepared.",
        ),
        claim_of_tasks(
            results,
            "while W_q alone needs more",
            lambda rows: above(rows[best_of(rows, "W_q")]["accuracy"], rows[label_of("W_q", RANKS[0])]["accuracy"]),
            lambda rows: seen(*dict.fromkeys((label_of("W_q", RANKS[0]), best_of(rows, "W_q"))))(rows),
            "There, too, what rank 1 lacks is less than the spread of the seeds.",
        ),
        claim_of_tasks(
            results,
            "A rank of 64 is no better than one of 8",
            lambda rows: (
                not any(
                    above(rows[label_of(w, RANKS[-1])]["accuracy"], rows[label_of(w, 8)]["accuracy"]) for w in TARGETS
                )
            ),
            lambda rows: seen(*(label_of(w, rank) for w in TARGETS for rank in (8, RANKS[-1])))(rows),
            "With C = 128, rank 64 is half of what a matrix can hold: nearly full fine-tuning of the attention, and "
            "the tasks gain from it.",
        ),
        claim_of_tasks(
            results,
            "Rank 1 on W_q and W_v is better than rank 64 on W_q",
            lambda rows: above(rows[lowest]["accuracy"], rows[label_of("W_q", RANKS[-1])]["accuracy"]),
            seen(lowest, label_of("W_q", RANKS[-1])),
            "Enough rank on one matrix makes up for the other, or the seeds differ by more.",
        ),
    ]


def plot(results):
    from minilora import plots

    panels = {
        f"accuracy on {task} (%)": {
            where: [
                (rank, [100 * v for v in task_results["methods"][label_of(where, rank)]["accuracy"]["values"]])
                for rank in RANKS
            ]
            for where in TARGETS
        }
        for task, task_results in results["tasks"].items()
    }
    return plots.seed_curves(panels, xlabel="rank $r$", xscale="log2")


EXPERIMENT = Experiment(
    name="table6",
    title="The rank: 1, 2, 4, 8 and 64",
    about="The paper adapts GPT-3 at ranks from 1 to 64, on W_q, on W_q and W_v, and on all four attention matrices. "
    "Here the bundled encoder is adapted at the same ranks, of 128 at most, "
    f"with {TWO_RATES.terms}.",
    config=TWO_RATES,
    quick=QUICK,
    run=run,
    table=table,
    plot=plot,
    claims=claims,
)

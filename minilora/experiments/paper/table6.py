"""Table 6: the rank, on W_q, on W_q and W_v, and on all four attention matrices."""

from minilora.experiments.comparison import above, rate
from minilora.experiments.experiment import Experiment
from minilora.experiments.paper import decoder_tasks, encoder_tasks
from minilora.experiments.paper.encoder_tasks import (
    ATTENTION,
    HERE,
    QUICK,
    TWO_RATES,
    best,
    claim_of_tasks,
    compare,
    lora,
    percent,
)
from minilora.experiments.paper.mini_e2e import LORA_RATES
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


def ranks_of(results, where=QV):
    """The ranks that were compared, in order; they are in the labels."""
    rows = next(iter(results["tasks"].values()))["methods"]
    labels = (label.rpartition(", r = ") for label in rows)
    return tuple(sorted(int(rank) for place, _, rank in labels if place == where))


def on(base):
    """The configuration on a decoder."""
    ranks = base.ranks_of(RANKS)
    settings = {label_of(where, rank): base.lora(rank, TARGETS[where]) for where in TARGETS for rank in ranks}
    return decoder_tasks.Places(base.training, base.rates_of("lora", LORA_RATES), settings)


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


def claims(results):
    ranks = ranks_of(results)
    least, most = ranks[0], ranks[-1]
    usual = 8 if 8 in ranks[:-1] else ranks[-2]
    lowest = label_of(QV, least)

    def best_of(rows, where):
        return best(rows, [label_of(where, rank) for rank in ranks])

    def seen(*labels):
        return lambda rows: ", ".join(f"{label}: {percent(rows[label])}" for label in labels)

    return [
        claim_of_tasks(
            results,
            f"A rank of {least} is enough for W_q and W_v",
            lambda rows: not above(rows[best_of(rows, QV)]["accuracy"], rows[lowest]["accuracy"]),
            lambda rows: seen(*dict.fromkeys((lowest, best_of(rows, QV))))(rows),
            "GPT-3 has 96 layers and 12,288 channels, and one direction in each matrix is 4.7 million parameters in "
            "all; here it is a few thousand, for a task that pretraining has not prepared.",
        ),
        claim_of_tasks(
            results,
            "while W_q alone needs more",
            lambda rows: above(rows[best_of(rows, "W_q")]["accuracy"], rows[label_of("W_q", least)]["accuracy"]),
            lambda rows: seen(*dict.fromkeys((label_of("W_q", least), best_of(rows, "W_q"))))(rows),
            "There, too, what rank 1 lacks is less than the spread of the seeds.",
        ),
        claim_of_tasks(
            results,
            f"A rank of {most} is no better than one of {usual}",
            lambda rows: (
                not any(
                    above(rows[label_of(w, most)]["accuracy"], rows[label_of(w, usual)]["accuracy"]) for w in TARGETS
                )
            ),
            lambda rows: seen(*(label_of(w, rank) for w in TARGETS for rank in (usual, most)))(rows),
            "With C = 128, rank 64 is half of what a matrix can hold: nearly full fine-tuning of the attention, and "
            "the tasks gain from it.",
        ),
        claim_of_tasks(
            results,
            f"Rank {least} on W_q and W_v is better than rank {most} on W_q",
            lambda rows: above(rows[lowest]["accuracy"], rows[label_of("W_q", most)]["accuracy"]),
            seen(lowest, label_of("W_q", most)),
            "Enough rank on one matrix makes up for the other, or the seeds differ by more.",
        ),
    ]


def plot(results):
    from minilora import plots

    panels = {
        f"accuracy on {task} (%)": {
            where: [
                (rank, [100 * v for v in task_results["methods"][label_of(where, rank)]["accuracy"]["values"]])
                for rank in ranks_of(results)
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
    claims=claims,
    here=HERE,
    on=on,
)

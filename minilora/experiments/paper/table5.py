"""Table 5: which of W_q, W_k, W_v and W_o to adapt, with the same number of parameters."""

from minilora.experiments.claims import Claim, paper
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
    score_panels,
)
from minilora.experiments.paper.mini_e2e import LORA_RATES
from minilora.experiments.text_table import aligned
from minilora.experiments.verdicts import better

BOTH, ALL = "W_q, W_v, r = 4", "all four, r = 2"
PLACES = {  # rank and targets; the paper's GPT-3 on WikiSQL and MNLI, each with 18 million parameters
    "W_q, r = 8": (8, ("q_proj",), ("70.4", "91.0")),
    "W_k, r = 8": (8, ("k_proj",), ("70.0", "90.8")),
    "W_v, r = 8": (8, ("v_proj",), ("73.0", "91.0")),
    "W_o, r = 8": (8, ("o_proj",), ("73.2", "91.3")),
    "W_q, W_k, r = 4": (4, ("q_proj", "k_proj"), ("71.4", "91.3")),
    BOTH: (4, ("q_proj", "v_proj"), ("73.7", "91.3")),
    ALL: (2, ATTENTION, ("73.7", "91.7")),
}
ONE = tuple(label for label, (_, targets, _) in PLACES.items() if len(targets) == 1)
SEVERAL = tuple(label for label in PLACES if label not in ONE)
QK = ("W_q, r = 8", "W_k, r = 8")


def on(base):
    """The configuration on a decoder."""
    settings = {label: base.lora(r, targets, equal=True) for label, (r, targets, _) in PLACES.items()}
    return decoder_tasks.Places(base.training, base.rates_of("lora", LORA_RATES, ON_ATTENTION), settings)


def run(config, sweep):
    """Arguments and result are those of `Experiment.run`; the config is a Training, or Places on a decoder."""
    if isinstance(config, decoder_tasks.Places):
        return {"tasks": decoder_tasks.compare(sweep, config)}
    return {"tasks": compare(sweep, config, {p: lora(r, targets) for p, (r, targets, _) in PLACES.items()})}


def table(results):
    form, lines = decoder_tasks if decoder_tasks.TASK in results["tasks"] else encoder_tasks, []
    for task, task_results in results["tasks"].items():
        rows = [("", "trainable", "lr", *form.COLUMNS, "paper: WikiSQL", "MNLI")]
        for label, row in task_results["methods"].items():
            rows.append((label, f"{row['trainable']:,}", rate(row), *form.scores(row), *PLACES[label][-1]))
        lines += [*form.heading(task, task_results), *aligned(rows), ""]
    if form is decoder_tasks:
        lines += [
            "r is that of the widest of the matrices; a smaller one has a higher rank, for as many parameters.",
            "",
        ]
    return [
        *lines,
        *form.footnotes(results),
        "The paper's scores are those of GPT-3 175B; ± 0.5 on WikiSQL, ± 0.1 on MNLI.",
    ]


CLAIMS = (
    Claim(
        "table5.queries-or-keys",
        "W_q alone, and W_k alone, are worse than W_q and W_v",
        paper("section 7.1", "putting all the parameters in dW_q or dW_k results in significantly lower performance"),
        better("points"),
        on_each_task(lambda rows: [(BOTH, label) for label in QK]),
    ),
    Claim(
        "table5.best",
        "No other choice is better than W_q and W_v",
        paper("table 5", "Adapting both W_q and W_v gives the best performance overall"),
        NO_WORSE,
        on_each_task(lambda rows: [(BOTH, label) for label in PLACES if label != BOTH]),
        "Where all that has to be learned is which bytes to add up, the matrix through which they are added may be "
        "the one that counts, and a part of the parameters for W_q is a part too many.",
        "In the paper, too, all four are as good: best can only mean that none is better.",
    ),
    Claim(
        "table5.several",
        "Several matrices at a smaller rank are better than one at a larger, on average over the choices",
        paper(
            "section 7.1",
            "it is preferable to adapt more weight matrices than adapting a single type of weights with a larger rank",
        ),
        better("points"),
        on_each_task(lambda rows: [(SEVERAL, ONE)]),
    ),
)


def plot(results):
    from minilora import plots

    return plots.scores(score_panels(results, levels=False), xlabel="accuracy on test (%)")


EXPERIMENT = Experiment(
    name="table5",
    title="Which of W_q, W_k, W_v and W_o, with the same number of parameters",
    about="The paper spends 18 million parameters of GPT-3 on one, two or all four kinds of attention matrices. Here "
    "LoRA spends as many on each choice: rank 8 on one kind, 4 on two, 2 on four. The model is {base}: {terms}.",
    config=TWO_RATES,
    quick=QUICK,
    run=run,
    table=table,
    plot=plot,
    claims=CLAIMS,
    here=HERE,
    on=on,
)

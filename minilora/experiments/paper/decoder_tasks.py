"""Tables 5 and 6 on a decoder: where LoRA is put, and its rank, by how many of mini-E2E's test sentences are right.

The paper measures both on WikiSQL by accuracy: how many of the queries that GPT-3 writes are right. The same question
here is how many of the sentences that a decoder writes are right, those that say every attribute once and nothing
else, as a parser finds. So accuracy is a fraction of texts, as in these tables on the encoder, a difference of a point
means the same in both, and the claims are judged by it. It cannot tell two settings apart that are both near 0 or
100 %: for these, the loss on the same texts stands beside it, in bits per byte.
"""

from dataclasses import dataclass

from minilora.experiments.adapt import base_and_task
from minilora.experiments.comparison import mean_and_spread, plus_minus
from minilora.experiments.measure import measure
from minilora.experiments.paper.mini_e2e import Training, rates_line, train_all, valid_losses
from minilora.methods import LoRAConfig

TASK = "mini-e2e"
COLUMNS = ("accuracy", "bits per byte")


@dataclass(frozen=True)
class Places:
    """Where LoRA is put, and how it is trained.

    Parameters
    ----------
    training : Training
    rates : sequence of float
        The learning rates to try for each place.
    settings : dict of str to LoRAConfig
        By label.
    """

    training: Training
    rates: tuple[float, ...]
    settings: dict[str, LoRAConfig]


def compare(sweep, config):
    """LoRA in each place, at the best of the rates; results as those of the encoder's tasks, for JSON.

    Parameters
    ----------
    sweep : Sweep
    config : Places

    Returns
    -------
    dict
        By the task's name, "mini-e2e": examples, in each split; before, what the decoder reaches on test as it is; and
        methods, by label: trainable, lr, valid_by_lr (the loss, in nats per byte), and mean and spread on test of
        accuracy and bits_per_byte.
    """
    training = config.training
    runs = {label: training.of("lora", settings) for label, settings in config.settings.items()}
    found = train_all(sweep, runs, dict.fromkeys(runs, config.rates), training.seeds)
    (before,) = sweep(measure_before, [training.of("lora")], model=training.model)
    return {TASK: {**before, "methods": {label: summary(of_label) for label, of_label in found.items()}}}


def measure_before(run):
    """What a decoder reaches on test before it is adapted, and how many examples each split has.

    Parameters
    ----------
    run : DecoderRun

    Returns
    -------
    dict
    """
    model, task = base_and_task(run)
    reached = measure(model, task, n_prompts=run.n_held_out)
    examples = {split: len(of_split) for split, of_split in task.splits.items()}
    return {
        "examples": examples,
        "before": {"accuracy": reached["slot_exact"], "bits_per_byte": reached["bits_per_byte"]},
    }


def summary(found):
    """The results of one place, for JSON, from what `best_of_rates` found; see `compare`."""
    tests = [run["test"] for run in found["runs"]]
    return {
        "trainable": found["runs"][0]["trainable"],
        "lr": found["lr"],
        "valid_by_lr": valid_losses(found),
        "accuracy": mean_and_spread([test["slot_exact"] for test in tests]),
        "bits_per_byte": mean_and_spread([test["bits_per_byte"] for test in tests]),
    }


def scores(row):
    """Accuracy in percent and bits per byte of a row, as text."""
    return plus_minus(row["accuracy"], factor=100), plus_minus(row["bits_per_byte"], 3)


def heading(task, task_results):
    """The lines above a task's table."""
    sizes = (f"{n:,} examples in {split}" for split, n in task_results["examples"].items())
    accuracy, bits = (task_results["before"][name] for name in ("accuracy", "bits_per_byte"))
    before = f"before it is adapted: {100 * accuracy:.1f} % of the answers right, {bits:.3f} bits per byte"
    return [f"{task}: {', '.join(sizes)}", before, ""]


def footnotes(results):
    """The notes below every table."""
    (task_results,) = results["tasks"].values()
    rows = task_results["methods"].values()
    n_seeds = len(next(iter(rows))["accuracy"]["values"])
    return [
        "accuracy: answers on test that say every attribute once and nothing else, in percent. bits per byte: of the",
        f"loss on test. Both are the mean ± standard deviation of {n_seeds} seeds.",
        *rates_line(rows, "setting"),
    ]

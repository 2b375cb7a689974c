"""The paper's table 2: GLUE, task by task, to be printed beside ours. Nothing here is measured by minilora."""

from typing import NamedTuple

from minilora.experiments.text_table import aligned

TASKS = ("MNLI", "SST-2", "MRPC", "CoLA", "QNLI", "QQP", "RTE", "STS-B")


class Row(NamedTuple):
    """One row of the paper's table 2: scores in percent, without their deviations."""

    model: str
    method: str
    trainable: str  # millions, as printed
    scores: tuple[float, ...]  # of TASKS
    average: str  # as printed


ROWS = (
    Row("RoBERTa base", "full fine-tuning*", "125.0", (87.6, 94.8, 90.2, 63.6, 92.8, 91.9, 78.7, 91.2), "86.4"),
    Row("RoBERTa base", "BitFit*", "0.1", (84.7, 93.7, 92.7, 62.0, 91.8, 84.0, 81.5, 90.8), "85.2"),
    Row("RoBERTa base", "Adapter^D*", "0.3", (87.1, 94.2, 88.5, 60.8, 93.1, 90.2, 71.5, 89.7), "84.4"),
    Row("RoBERTa base", "Adapter^D*", "0.9", (87.3, 94.7, 88.4, 62.6, 93.0, 90.6, 75.9, 90.3), "85.4"),
    Row("RoBERTa base", "LoRA", "0.3", (87.5, 95.1, 89.7, 63.4, 93.3, 90.8, 86.6, 91.5), "87.2"),
    Row("RoBERTa large", "full fine-tuning*", "355.0", (90.2, 96.4, 90.9, 68.0, 94.7, 92.2, 86.6, 92.4), "88.9"),
    Row("RoBERTa large", "LoRA", "0.8", (90.6, 96.2, 90.9, 68.2, 94.9, 91.6, 87.4, 92.6), "89.0"),
    Row("RoBERTa large", "Adapter^P +", "3.0", (90.2, 96.1, 90.2, 68.3, 94.8, 91.9, 83.8, 92.1), "88.4"),
    Row("RoBERTa large", "Adapter^P +", "0.8", (90.5, 96.6, 89.7, 67.8, 94.8, 91.7, 80.1, 91.9), "87.9"),
    Row("RoBERTa large", "Adapter^H +", "6.0", (89.9, 96.2, 88.7, 66.5, 94.7, 92.1, 83.4, 91.0), "87.8"),
    Row("RoBERTa large", "Adapter^H +", "0.8", (90.3, 96.3, 87.7, 66.3, 94.7, 91.5, 72.9, 91.5), "86.4"),
    Row("RoBERTa large", "LoRA +", "0.8", (90.6, 96.2, 90.2, 68.2, 94.8, 91.6, 85.2, 92.3), "88.6"),
    Row("DeBERTa XXL", "full fine-tuning*", "1500.0", (91.8, 97.2, 92.0, 72.0, 96.0, 92.7, 93.9, 92.9), "91.1"),
    Row("DeBERTa XXL", "LoRA", "4.7", (91.9, 96.9, 92.6, 72.4, 96.0, 92.9, 94.9, 93.0), "91.3"),
)


def average(model, method):
    """The printed average of a model's row, of several adapters of a kind that of the smallest; "-" without a row.

    A method's runs with the settings of Houlsby et al. stand in only where there are no others.
    """
    rows = [row for row in ROWS if row.model == model and row.method.rstrip("*+ ") == method]
    rows.sort(key=lambda row: (row.method.endswith("+"), float(row.trainable)))
    return rows[0].average if rows else "-"


def lines():
    """The table as lines of text."""
    head = ("the paper's GLUE", "method", "M", *TASKS, "average")
    rows = [(r.model, r.method, r.trainable, *(f"{score:.1f}" for score in r.scores), r.average) for r in ROWS]
    return [
        *aligned([head, *rows]),
        "",
        "MNLI: overall accuracy; CoLA: Matthews' correlation; STS-B: Pearson's; else accuracy; M: millions trained.",
        "*: published by others. +: with the settings of Houlsby et al.; LoRA's other runs on MRPC, RTE and STS-B",
        "start from its adapter of MNLI. None of these eight tasks is run here.",
    ]

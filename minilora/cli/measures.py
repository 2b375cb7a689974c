"""What `finetune` and `evaluate` print about a model's quality."""

import math
from typing import Any

from minilora.cli.printing import table
from minilora.data import ClassificationTask, ConversationTask, PairTask, TextTask


def print_left_out(task: PairTask | TextTask | ConversationTask | ClassificationTask) -> None:
    """Say how many examples are in no split, if there are any."""
    if task.left_out:
        longest = f" (the longest has {task.longest:,})" if isinstance(task, ConversationTask) else ""
        print(f"examples of more than {task.length} tokens, left out: {task.left_out:,}{longest}")


def print_measures(result: dict[str, Any]) -> None:
    """Print the loss, with the slot scores of mini-E2E, or with the scores of classes next to the baselines'."""
    if "baselines" in result:
        print_scores(result)
        return
    print(f"loss {result['loss']:.4f} nats per {token_of(result)}, {result['bits_per_byte']:.4f} bits per byte")
    if "slot_exact" in result:
        exact, errors = 100 * result["slot_exact"], 100 * result["slot_error_rate"]
        print(f"slot-exact sentences {exact:.0f} %, slot error rate {errors:.0f} %")


def token_of(result: dict[str, Any]) -> str:
    """What the loss is a mean over: "byte", if the tokens are bytes, else "token"."""
    return "byte" if math.isclose(result["loss"] / math.log(2.0), result["bits_per_byte"], rel_tol=1e-9) else "token"


def print_scores(result: dict[str, Any]) -> None:
    """Print the loss, and a table of accuracy and macro-F1."""
    scores = {"the model": result, **result["baselines"]}
    rows = [(name, f"{100 * s['accuracy']:.2f}", f"{100 * s['macro_f1']:.2f}") for name, s in scores.items()]
    print(f"loss {result['loss']:.4f} nats per text")
    print("\n".join(table([("", "accuracy, %", "macro-F1, %"), *rows])))

"""A finished run: its result.json and its learned file, which have to agree."""

import hashlib
import math
from pathlib import Path
from typing import Any

from minilora.files import read_fields, read_json, write_json
from minilora.limits import check_fields, one_line_errors
from minilora.training import Diverged, History
from minilora.training.checkpoint import differing_settings

RESULT, HISTORY = "result.json", "history.json"
FIELDS = {
    "config": dict,
    "task": dict,
    "model_id": str,
    "trainable": int,
    "percent": float,
    "loss": float,
    "file": dict,
}
OF_CLASSES, OF_TEXTS = {"baselines": dict, "accuracy": float, "macro_f1": float}, {"bits_per_byte": float}
INSIDE = {
    "config": {"task": str, "method": str, "settings": dict, "train": dict},
    "task": {"name": str, "id": str},
    "file": {"name": str, "bytes": int},
}


def write_result(folder: Path, result: dict[str, Any]) -> None:
    """Write the result of a run, which marks it as finished.

    Raises
    ------
    Diverged
        If a number in it is infinite or NaN, which JSON cannot hold; nothing is written.
    """
    if odd := not_finite_numbers(result):
        raise Diverged(f"after the last step {odd[0]} was infinite or NaN; a lower lr may help, or a longer warmup")
    write_json(folder / RESULT, result)


def describe_file(path: Path) -> dict[str, Any]:
    """What result.json records of the learned file: its name, size in bytes, and SHA-256."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": digest}


@one_line_errors()
def finished_run(folder: str | Path, configuration: dict[str, Any]) -> tuple[dict[str, Any], History] | None:
    """The result and the History of the finished run in a folder; None if it holds none.

    Parameters
    ----------
    folder : str or Path
    configuration : dict
        What the run must be; see `Trainer.configuration`.

    Raises
    ------
    ValueError
        If it is a run of another configuration; if result.json or history.json is damaged; if the learned file is
        missing, or is not the one that result.json describes.
    """
    folder = Path(folder)
    if not (folder / RESULT).exists():
        return None
    result = read_result(folder / RESULT)
    config = result["config"]
    done = {
        "task": result["task"]["name"],
        "task_id": result["task"]["id"],
        "model_id": result["model_id"],
        "method": config["method"],
        "settings": config["settings"],
        **config["train"],
    }
    if differing := differing_settings(done, configuration):
        raise ValueError(
            f"{folder} holds a finished run of another configuration; take another folder, or remove this one; "
            f"these differ: {differing}"
        )
    check_learned_file(folder, result)
    try:
        history = History.from_json(read_json(folder / HISTORY))
    except ValueError as error:
        raise ValueError(f"{folder / HISTORY} cannot be read: {error}") from None
    return result, history


@one_line_errors()
def read_result(path: Path) -> dict[str, Any]:
    """Read a result.json, and check that every field that is needed is there and of its type.

    Raises
    ------
    ValueError
        With the file and the field.
    """
    result = read_fields(path, FIELDS)
    check_fields(result, OF_CLASSES if "baselines" in result else OF_TEXTS, path)
    for name, fields in INSIDE.items():
        check_fields(result[name], fields, f"{path}: {name}")
    for name, scores in result.get("baselines", {}).items():
        check_fields(scores, {"accuracy": float, "macro_f1": float}, f"{path}: baselines.{name}")
    if "bytes_per_token" in result:  # not in results of before
        check_fields(result, {"bytes_per_token": float}, path)
    if "slot_exact" in result:
        check_fields(result, {"slot_exact": float, "slot_error_rate": float}, path)
    if "head" in result:
        check_fields(result, {"head": int}, path)
    return result


def check_learned_file(folder: Path, result: dict[str, Any]) -> None:
    """Raise a ValueError unless the file of what was learned is the one that result.json describes."""
    told = result["file"]
    path = folder / Path(told["name"]).name  # in this folder, whatever the name says
    what = f"the run in {folder} is finished, but {path.name}"
    if not path.is_file():
        raise ValueError(f"{what} is missing; put it back, or remove {RESULT} to repeat the run")
    there = describe_file(path)
    if any(there[name] != told.get(name, there[name]) for name in ("bytes", "sha256")):  # older files have no digest
        raise ValueError(
            f"{what} is not the file that {RESULT} describes; put it back, or remove {RESULT} to repeat the run"
        )


def not_finite_numbers(content: Any, name: str = "") -> list[str]:
    """Where a number in JSON content is infinite or NaN: "losses.3", and so on."""
    if isinstance(content, float):
        return [] if math.isfinite(content) else [name or "a number"]
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [odd for key, value in items for odd in not_finite_numbers(value, f"{name}.{key}" if name else str(key))]

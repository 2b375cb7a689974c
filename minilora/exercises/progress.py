"""A student's progress, in `progress.json` next to the exercises."""

import json
from pathlib import Path

from minilora.files import write_json

FILE = "progress.json"
FRESH = {"passed": False, "checks": 0, "hints": 0, "solution_seen": False}


def load(folder):
    """The progress in a folder: a dict of exercise to what was done; empty at first.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return {}
    try:
        progress = json.loads(path.read_text(encoding="utf-8"))
        return {name: {key: type(value)(done[key]) for key, value in FRESH.items()} for name, done in progress.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error}); remove it to start over; your answers stay") from None


def of(progress, name):
    """What was done for one exercise."""
    return FRESH | progress.get(name, {})


def record(folder, name, **changes):
    """Note what was done, and return it."""
    progress = load(folder)
    progress[name] = of(progress, name) | changes
    write_json(Path(folder) / FILE, progress)
    return progress[name]

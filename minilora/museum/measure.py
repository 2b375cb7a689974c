"""Measures the damage: each wrong version in a training run, next to the right one with the same seed."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from minilora.experiments.record import provenance
from minilora.files import read_json, write_json
from minilora.museum.exhibit import exchanged
from minilora.museum.rooms import EXHIBITS
from minilora.museum.scenes import SCENES, STEPS_BEFORE, Outcome, judged, train, weights_before
from minilora.ops.plain import plain_ops

SEEDS = (0, 1, 2)  # of the right runs: how far apart they end is how much a difference must be to mean something
SEED = SEEDS[0]  # of the wrong runs
RESULTS = "museum.json"


def settings() -> dict[str, Any]:
    """What each scene trains, and how, for JSON."""
    before = {True: STEPS_BEFORE, False: 0}
    return {
        name: {"about": scene.about, "steps_before": before[scene.from_nothing], **asdict(scene.config)}
        for name, scene in SCENES.items()
    }


def run_right(scene: str, seed: int) -> Outcome:
    """Train with the right functions, by the page, as the wrong runs do."""
    with plain_ops():
        model, losses = train(scene, seed)
        return Outcome(losses, judged(scene, seed, model))


def run_wrong(name: str, seed: int = SEED) -> Outcome:
    """Train with an exhibit's wrong version in the place of the right one, and judge the weights with the right one."""
    exhibit = EXHIBITS[name]
    weights_before(exhibit.scene)  # with the right functions
    with exchanged(exhibit.instead):
        model, losses = train(exhibit.scene, seed)
    with plain_ops():
        return Outcome(losses, judged(exhibit.scene, seed, model))


def measure(folder: Path, names: Sequence[str] = (), *, command: str = "") -> dict[str, Any]:
    """Do the runs that are not done yet, and write them to the folder after each; an interrupted run goes on.

    Parameters
    ----------
    folder : Path
        Gets ``museum.json``.
    names : sequence of str
        Exhibits; all, if there are none.
    command : str
        The command line, for the record.

    Returns
    -------
    dict
        What the file holds: "right", by scene and seed, and "wrong", by exhibit, each with losses and held_out.
    """
    if unknown := sorted(set(names) - set(EXHIBITS)):
        raise ValueError(f"names had {unknown[0]!r}, which is not in the museum; it has {', '.join(EXHIBITS)}")
    path = folder / RESULTS
    results: dict[str, Any] = read_json(path) if path.exists() else {"right": {}, "wrong": {}, "seconds": 0.0}
    chosen = names or tuple(EXHIBITS)
    scenes = [scene for scene in SCENES if any(EXHIBITS[name].scene == scene for name in chosen)]

    def do(place: dict[str, Any], key: str, run: Callable[[], Outcome], what: str) -> None:
        if key in place:
            return
        started = time.process_time()
        outcome = run()
        place[key] = {"losses": [round(loss, 4) for loss in outcome.losses], "held_out": outcome.held_out}
        results["seconds"] = round(results["seconds"] + time.process_time() - started, 1)
        results.update(command=command, scenes=settings(), **provenance())
        write_json(path, results)
        print(f"{what}: {outcome.held_out}", file=sys.stderr, flush=True)

    def do_right(scene: str, seed: int) -> None:
        place = results["right"].setdefault(scene, {})
        do(place, f"{seed}", partial(run_right, scene, seed), f"{scene}, seed {seed}")

    for scene in scenes:
        for seed in SEEDS:
            do_right(scene, seed)
        for name in chosen:
            if EXHIBITS[name].scene == scene:
                do(results["wrong"], name, partial(run_wrong, name), name)
    return results

"""The figures of `minilora bench` and of the ladder, drawn from their results."""

import json
from functools import partial
from pathlib import Path

from minilora.experiments.bench.report import METHODS
from minilora.experiments.bench.scaling import BASE, LETTERS
from minilora.experiments.bench.shapes import SHAPES

STAGES = ("imports", "model", "step")
CONTENDERS = {"torch": "PyTorch + PEFT"}  # as figures call them


def read(folder):
    """The results in a folder's bench.json; ValueError if it has none, or they are damaged."""
    path = Path(folder) / "bench.json"
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        known = {"command", "config", "provenance"} <= results.keys()
    except (OSError, ValueError, AttributeError):
        known = False
    if not known:
        raise ValueError(f"{path} is not a result of `minilora bench`, or it is damaged")
    return results


def draw(results, folder):
    """Write the figures that the results allow into the folder; returns their names."""
    from minilora import plots

    found = figures_of(results)
    for name, make in found.items():
        plots.save(make(), Path(folder) / name)
    return list(found)


def figures_of(results):
    """What draws each figure that the results allow.

    Parameters
    ----------
    results : dict
        From `run`, or from its bench.json.

    Returns
    -------
    dict of str to callable
        By file name; each returns a Figure.
    """
    found = {}
    if ratios_of(results):
        found["ratios.png"] = partial(ratios, results)
    if "memory" in results:
        found["memory.png"] = partial(memory, results)
    if "scaling" in results:
        found["scaling.png"] = partial(scaling, results)
    return found


def ratios_of(results):
    """Times as fast as PyTorch, by panel and shape: (median, min, max); empty if it took no part."""
    if "torch" not in results["provenance"] or "torch" not in results["config"].get("against", ("torch",)):
        return {}
    panels = {}
    for method, title in METHODS.items():
        if method in results["config"]["methods"] and "train" in results:
            panels[f"{title}, a training step"] = {s: triple(r[method]["ratio"]) for s, r in results["train"].items()}
    if "generate" in results:
        panels["LoRA, not merged, generating"] = {s: triple(r["lora"]["ratio"]) for s, r in results["generate"].items()}
    return panels


def ratios(results):
    """Times as fast as PyTorch, as a Figure."""
    from minilora import plots

    figure = plots.bench_ratios(ratios_of(results))
    return plots.caption(figure, title="Speed: minilora next to PyTorch with PEFT", note=setting(results))


def memory(results):
    """The most memory that each process held, as a Figure."""
    from minilora import plots

    panels = {
        shape: {
            f"{CONTENDERS.get(contender, contender)}\n{METHODS[method]}": tuple(peaks[stage] for stage in STAGES)
            for method, contenders in methods.items()
            for contender, peaks in contenders.items()
        }
        for shape, methods in results["memory"].items()
    }
    figure = plots.bench_memory(panels)
    note = "Number: all parts together. "
    return plots.caption(figure, title="Memory: the most that a training process held", note=note + setting(results))


def scaling(results):
    """How time and memory of a step grow, as a Figure."""
    from minilora import plots

    letters = {
        f"${letter}$: {LETTERS[letter]}": (
            [point["value"] for point in r["points"]],
            [point["seconds"]["median"] for point in r["points"]],
            *([point[name] for point in r["points"]] for name in ("flops", "bytes", "bytes_formula")),
        )
        for letter, r in results["scaling"].items()
    }
    figure = plots.bench_scaling(letters)
    note = f"Where nothing else is said: {sizes(BASE)}. {machine(results)}"
    return plots.caption(figure, title="A LoRA training step as one size grows", note=note)


def ladder(results):
    """What each optimisation gave, as a Figure.

    Parameters
    ----------
    results : dict
        From ladder.json: `rungs`, by shape and rung, and `provenance`.
    """
    from minilora import plots

    bars = {
        shape: {name: triple(rung["times_the_first"]) for name, rung in rungs.items()}
        for shape, rungs in results["rungs"].items()
    }
    shapes = [f"{name}: {sizes(SHAPES[name])}" for name in bars if name in SHAPES]
    note = "; ".join(shapes) + f". {machine(results)}"
    return plots.caption(plots.ladder(bars), title="What each optimisation of a LoRA step gave", note=note)


def setting(results):
    """The shapes that were measured, and on what."""
    shapes = [f"{name}: {sizes(SHAPES[name])}" for name in results["config"]["shapes"] if name in SHAPES]
    return "; ".join(shapes) + f". {machine(results)}"


def sizes(shape):
    """A shape and its batch in words."""
    return f"{shape.L} layers, {shape.C} channels, {shape.N} texts of {shape.T} tokens"


def machine(results):
    """What drew weights and tokens, and what computed."""
    made, config = results["provenance"], results.get("config", {})
    seed = f", seed {config['seed']}" if "seed" in config else ""
    where = ", ".join(filter(None, (made.get("processor"), made.get("machine"))))
    return f"Random weights and tokens{seed}. {where}; {made['date']}."


def triple(value):
    """(median, min, max)"""
    return value["median"], value["min"], value["max"]

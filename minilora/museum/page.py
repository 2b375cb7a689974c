"""docs/museum.md and its figures: the exhibits, room by room, with what was measured."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import numpy

from minilora.exercises.sources import find
from minilora.museum.exhibit import Exhibit
from minilora.museum.measure import SEED, SEEDS
from minilora.museum.rooms import EXHIBITS, ROOMS
from minilora.museum.scenes import SCENES, STEPS

WINDOW = 5  # steps, of the moving average in the figures
LAST = 10  # steps, whose mean loss a run reports at its end
WORSE, BETTER, ALIKE = "worse", "better", "no more than a seed"
UNKNOWN = "without other seeds to compare with"

HEAD = """\
# A museum of wrong gradients

{n} wrong versions, each from a real public bug: what went wrong there, in one sentence; the lines, wrong and right; \
what the wrong ones do to a training run of 100 steps; and the check that finds them. Sentences are about the thread \
that they link to, lines are in minilora's words.

**How the damage was measured.** The wrong version takes the place of the right one in a real training run, with the \
same first weights and the same batches. Afterwards the trained weights are judged by the *right* program, on held-out \
text: the loss *is* that. What the faulty program *reports* is its own training loss, the mean of its last {last} \
steps, and where the mistake is in the loss itself, the two part. The right run was done with {seeds} seeds, and a \
difference that is no larger than the distance between their best and their worst is no more than another seed makes.

**What to learn from it.** {measured} were measured: {worse} of them ended worse, {better} better, and {alike} no \
further from the right run than another seed{unknown}. A curve that goes down proves little: {down} of them brought \
their reported loss below that of their first step, and {flattered} of those that ended worse report a lower loss than \
the right run does. Each of the {n} fails its check at once.
"""


def page(results: dict[str, Any], figures: str) -> str:
    """The page, as Markdown.

    Parameters
    ----------
    results : dict
        What `measure` returns; what was not measured yet is said to be so.
    figures : str
        The folder of the figures, seen from the page.
    """
    verdicts = [verdict_of(exhibit, results) for exhibit in measured(results)]
    falls = [run["losses"][0] > reported(run) for run in results["wrong"].values() if run["losses"]]
    head = HEAD.format(
        n=len(EXHIBITS),
        last=LAST,
        seeds=len(SEEDS),
        worse=verdicts.count(WORSE),
        better=verdicts.count(BETTER),
        alike=verdicts.count(ALIKE),
        measured="All" if len(verdicts) == len(EXHIBITS) else len(verdicts),
        unknown=f"; {verdicts.count(UNKNOWN)} are {UNKNOWN}" if UNKNOWN in verdicts else "",
        down=sum(falls),
        flattered=sum(flattered(exhibit, results) for exhibit in measured(results)),
    )
    parts = [head.rstrip(), table(results)]
    number = 0
    for n, (room, exhibits) in enumerate(ROOMS.items(), 1):
        parts.append(f"## Room {n}: {room}")
        if any(exhibit in measured(results) for exhibit in exhibits):
            parts.append(f"![The loss of each run, right and wrong]({figures}/{figure_name(n)})")
        for exhibit in exhibits:
            number += 1
            parts.append(section(number, exhibit, results))
    made = f"Made with `{results['command']}`, minilora {results['minilora']}, Python {results['python']}, NumPy "
    made += (
        f"{results['numpy']}, {results['processor']}, {results['date']}: {results['seconds']:.0f} seconds of one core."
    )
    return "\n\n".join([*parts, "## How it was made", made]) + "\n"


def table(results: dict[str, Any]) -> str:
    """All exhibits, with the right and the wrong loss."""
    rows = ["| | exhibit | right | wrong | |", "|---|---|---|---|---|"]
    for number, exhibit in enumerate(EXHIBITS.values(), 1):
        name = f"[{exhibit.title}](#{anchor(f'{number}. {exhibit.title}')})"
        said = ("", "", "not measured yet")
        if exhibit in measured(results):
            right, wrong = runs_of(exhibit, results)
            said = loss(right["held_out"]), loss(wrong["held_out"]), verdict_of(exhibit, results)
        row = (f"{number}", name, *said)
        rows.append(f"| {' | '.join(row)} |")
    return "\n".join([*rows, "", "Held-out loss after 100 steps, in nats per token."])


def section(number: int, exhibit: Exhibit, results: dict[str, Any]) -> str:
    """One exhibit."""
    thread = exhibit.link.removeprefix("https://github.com/").replace("/issues/", " ").replace("/pull/", " ")
    lines = [
        f"### {number}. {exhibit.title}",
        f"{exhibit.says} ([{thread}]({exhibit.link}))",
        f"In `{exhibit.place.__qualname__}`:",
        f"```python\n# wrong\n{exhibit.wrong or '# (nothing)'}\n# right\n{exhibit.right}\n```",
        damage(exhibit, results),
        f"Found by: {exhibit.check.says}.",
    ]
    if exhibit.slip:
        exercise = find(exhibit.slip.exercise)
        lines.append(f"Exercise {exercise.number} knows it: “{exhibit.slip.named}”.")
    return "\n\n".join(lines)


def damage(exhibit: Exhibit, results: dict[str, Any]) -> str:
    """What the wrong version did to its training run."""
    if exhibit not in measured(results):
        return "Its damage was not measured yet."
    right, wrong = runs_of(exhibit, results)
    low, high = spread(exhibit, results)
    steps = len(wrong["losses"])
    ended = "" if steps == STEPS else f" It diverged after {steps} steps."
    return (
        f"Damage to {SCENES[exhibit.scene].about}: the loss is {loss(wrong['held_out'])} instead of "
        f"{loss(right['held_out'])} (the right one over seeds: {loss(low)} to {loss(high)}): "
        f"**{verdict_of(exhibit, results)}**. "
        f"It reports {loss(reported(wrong))} instead of {loss(reported(right))}.{ended}"
    )


def measured(results: dict[str, Any]) -> list[Exhibit]:
    """The exhibits whose wrong run was made."""
    return [exhibit for exhibit in EXHIBITS.values() if exhibit.name in results["wrong"]]


def runs_of(exhibit: Exhibit, results: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The right run and the wrong one, of the same seed."""
    return results["right"][exhibit.scene][f"{SEED}"], results["wrong"][exhibit.name]


def spread(exhibit: Exhibit, results: dict[str, Any]) -> tuple[float, float]:
    """The lowest and the highest held-out loss of the right run with several seeds."""
    losses = [run["held_out"] for run in results["right"][exhibit.scene].values()]
    return min(losses), max(losses)


def verdict_of(exhibit: Exhibit, results: dict[str, Any]) -> str:
    """Whether the wrong version ended worse or better than the right one by more than seeds differ."""
    right, wrong = runs_of(exhibit, results)
    low, high = spread(exhibit, results)
    if len(results["right"][exhibit.scene]) < 2:
        return UNKNOWN
    if wrong["held_out"] is None or wrong["held_out"] - right["held_out"] > high - low:
        return WORSE
    return BETTER if right["held_out"] - wrong["held_out"] > high - low else ALIKE


def flattered(exhibit: Exhibit, results: dict[str, Any]) -> bool:
    """Whether a wrong version that ended worse reports a lower loss than the right one."""
    right, wrong = runs_of(exhibit, results)
    return verdict_of(exhibit, results) == WORSE and reported(wrong) < reported(right)


def reported(run: dict[str, Any]) -> float:
    """What a run says of itself at its end: the mean of the training loss over the last steps."""
    return mean(run["losses"][-LAST:])


def loss(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3g}" if value >= 100 else f"{value:.3f}"


def anchor(heading: str) -> str:
    """What GitHub makes of a heading, to link to."""
    kept = "".join(c for c in heading.lower() if c.isalnum() or c in "_- ")
    return kept.replace(" ", "-")


def figure_name(room: int) -> str:
    return f"room_{room}.png"


def draw(results: dict[str, Any], folder: Path) -> None:
    """Write the figure of each room."""
    from minilora import plots

    for name, figure in figures_of(results).items():
        plots.save(figure(), folder / name)


def figures_of(results: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    """What draws the figure of each room, by file name: each exhibit's loss, in the right and in the wrong run."""
    numbers = {name: number for number, name in enumerate(EXHIBITS, 1)}
    figures: dict[str, Callable[[], Any]] = {}
    for n, exhibits in enumerate(ROOMS.values(), 1):
        panels = {}
        for exhibit in exhibits:
            if exhibit not in measured(results):
                continue
            right, wrong = runs_of(exhibit, results)
            panels[f"{numbers[exhibit.name]}. {exhibit.title}"] = {
                "wrong": averaged(wrong["losses"]),
                "right": averaged(right["losses"]),
            }
        if panels:
            figures[figure_name(n)] = partial(room, panels)
    return figures


def room(panels: dict[str, Any]) -> Any:
    """The figure of one room."""
    from minilora import plots

    return plots.small_multiples(panels, xlabel="step", ylabel="training loss (nats)")


def averaged(losses: list[float]) -> tuple[Any, Any]:
    """Steps, and the moving average of the loss; cut at 10 nats, above which nothing can be read."""
    size = min(WINDOW, len(losses))
    y = numpy.convolve(losses, numpy.full(size, 1 / size), mode="valid")
    return numpy.arange(len(y)) + (size + 1) / 2, numpy.minimum(y, 10.0)

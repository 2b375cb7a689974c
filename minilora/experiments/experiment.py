"""What an experiment is, and how it is run."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from minilora.experiments.claims import Claim, lines_of
from minilora.experiments.drawing import figure_of, terms_in_words
from minilora.experiments.record import provenance
from minilora.files import write_json


class Experiment(NamedTuple):
    """A small-scale version of a table or figure of the paper, or one that the paper does not have.

    Attributes
    ----------
    name : str
        Such as "table6".
    title : str
    about : str
        In a few sentences: what the paper did, and what is done here instead; {base} and {terms} stand for what
        differs with the base.
    config : dataclass
        The full run's, on a bundled model: everything that its results depend on.
    quick : dataclass
        A configuration for a run of about a minute, to see it work; its numbers mean nothing.
    run : callable
        ``run(config, sweep) -> results``, a dict for JSON. `sweep` is a `Sweep`.
    table : callable
        ``table(results) -> list of str``: lines of text, the paper's numbers next to ours.
    plot : callable
        ``plot(results) -> Figure``.
    claims : tuple of Claim
        What is put to the test, each with its verdict when the results are there.
    here : str, optional
        What {base} is on the bundled model; {terms} are those of the record.
    on : callable, optional
        ``on(base) -> config`` of another decoder, a `Base`; an experiment without it runs on the bundled model only.
    """

    name: str
    title: str
    about: str
    config: Any
    quick: Any
    run: Callable
    table: Callable
    plot: Callable
    claims: tuple[Claim, ...]
    here: str | None = None
    on: Callable | None = None


def reproduce(experiment, folder, sweep, *, quick=False, command=None, base=None):
    """Run an experiment, reusing the runs that are saved already, and write its results.

    Parameters
    ----------
    experiment : Experiment
    folder : str or Path
        Gets ``<name>.json`` and ``<name>.png``.
    sweep : Sweep
    quick : bool
        Run with `experiment.quick`.
    command : str, optional
        The command line, for the record.
    base : Base, optional
        The decoder to run on; the bundled model of `experiment.config`, if not given.

    Returns
    -------
    record : dict
        What the JSON file holds; the experiment's own under "results".
    """
    from minilora import plots

    folder, started = Path(folder), time.perf_counter()
    if base is None:
        config = experiment.quick if quick else experiment.config
    else:
        base = base.quick() if quick else base
        config = experiment.on(base)
    sweep.took.clear()
    results = json.loads(json.dumps(experiment.run(config, sweep)))
    record = {
        "experiment": experiment.name,
        "command": command,
        "quick": quick,
        **({} if base is None else {"base": base.about()}),
        "config": asdict(config),
        "results": results,
        "seconds": round(time.perf_counter() - started, 1),  # without those of runs that had been saved before
        "runs": {"count": len(sweep.took), "hours": hours(sweep.took)},
        **provenance(),
    }
    plots.save(figure_of(experiment, record), folder / f"{experiment.name}.png")
    write_json(folder / f"{experiment.name}.json", record)
    return record


def hours(took):
    """The sum of `Sweep.took` in hours; None if that of a run is not known."""
    known = [seconds for seconds in took.values() if seconds is not None]
    return round(sum(known) / 3600, 2) if len(known) == len(took) else None


def report(experiment, record):
    """An experiment's table, and its claims with their verdicts, as text."""
    head = title(experiment, record)
    return "\n".join([head, "", *experiment.table(record["results"]), "", claim_lines(experiment, record)])


def title(experiment, record):
    """An experiment's name and title, with the base if it is not the bundled model."""
    on = f" on {record['base']['name']}" if "base" in record else ""
    return f"{experiment.name}{on}: {experiment.title}"


def about(experiment, record):
    """What the paper did and what is done here, with the words for the base of a record."""
    if experiment.here is None:
        return experiment.about
    base = record["base"]["base"] if "base" in record else experiment.here
    return experiment.about.format(base=base, terms=terms_in_words(record))


def claim_lines(experiment, record):
    """An experiment's claims with their verdicts, as Markdown; the likely reasons are those of the bundled models."""
    with_why = "base" not in record
    return "\n".join(line for c in experiment.claims for line in lines_of(c, record["results"], with_why=with_why))

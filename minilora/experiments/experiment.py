"""What an experiment is, and how it is run."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from minilora.experiments.claims import Claim, lines_of
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
        In a few sentences: what the paper did, and what is done here instead.
    config : dataclass
        The full run's: everything that its results depend on.
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


def reproduce(experiment, folder, sweep, *, quick=False, command=None):
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

    Returns
    -------
    record : dict
        What the JSON file holds; the experiment's own under "results".
    """
    from minilora import plots

    folder, config, started = Path(folder), experiment.quick if quick else experiment.config, time.perf_counter()
    results = json.loads(json.dumps(experiment.run(config, sweep)))
    record = {
        "experiment": experiment.name,
        "command": command,
        "quick": quick,
        "config": asdict(config),
        "results": results,
        "seconds": round(time.perf_counter() - started, 1),  # without those of runs that had been saved before
        **provenance(),
    }
    plots.save(experiment.plot(results), folder / f"{experiment.name}.png")
    write_json(folder / f"{experiment.name}.json", record)
    return record


def report(experiment, record):
    """An experiment's table, and its claims with their verdicts, as text."""
    head = f"{experiment.name}: {experiment.title}"
    return "\n".join([head, "", *experiment.table(record["results"]), "", claim_lines(experiment, record)])


def claim_lines(experiment, record):
    """An experiment's claims with their verdicts, as Markdown."""
    return "\n".join(line for claim in experiment.claims for line in lines_of(claim, record["results"]))

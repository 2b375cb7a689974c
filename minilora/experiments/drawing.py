"""The figure of an experiment's result, with its title, and what it was made with in small print."""

import re

MODELS = {"decoder": "the bundled decoder", "encoder": "the bundled encoder"}


def figure_of(experiment, record):
    """The figure of a record: the experiment's own, under its title; below it the model, the task and the seeds.

    Inside ``with minilora.plots.figure_style(dark=True)`` it is drawn for a dark page.

    Parameters
    ----------
    experiment : Experiment
    record : dict
        What `reproduce` returns, or its file holds.

    Returns
    -------
    Figure
    """
    from minilora import plots

    figure = experiment.plot(record["results"])
    number = re.fullmatch(r"(table|figure)(\d+)", experiment.name)
    after = f"{number[1].capitalize()} {number[2]}: " if number else ""
    return plots.caption(figure, title=after + experiment.title, note=subject(record))


def subject(record):
    """Model, task and seeds of a record, as a sentence; what its configuration does not say is left out."""
    config = record["config"]
    terms = {**config, **(config.get("training") or {})}
    tasks, seeds = terms.get("tasks"), terms.get("seeds")
    model = terms.get("model") or ("encoder" if tasks else "decoder")
    parts = []
    if seeds:
        parts.append(record["base"]["label"] if "base" in record else MODELS.get(model, str(model)))
        parts += [" and ".join(tasks)] if tasks else ["mini-E2E"] if "training" in config else []
        parts += [f"{terms['steps']} steps"] if isinstance(terms.get("steps"), int) else []
        parts.append(f"{len(seeds)} seeds")
    said = ", ".join(parts)
    return f"{said[0].upper()}{said[1:]}." if parts else None

"""The figure of an experiment's result, with its title, and what it was made with in small print."""

import re

from minilora.models import bundled_recipe

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
    config, terms = record["config"], terms_of(record)
    tasks, seeds = terms.get("tasks"), terms.get("seeds")
    parts = []
    if seeds:
        parts.append(base_in_words(record))
        parts += [" and ".join(tasks)] if tasks else ["mini-E2E"] if "training" in config else []
        if "budgets" in config:
            parts.append(f"{config['budgets'][0]} to {config['budgets'][-1]} steps")
        elif isinstance(terms.get("steps"), int):
            parts.append(f"{terms['steps']:,} steps")
        parts.append(f"{len(seeds)} seeds")
    said = ", ".join(parts)
    if "base" not in record:  # else it begins with a name
        said = said[:1].upper() + said[1:]
    return f"{said}." if parts else None


def terms_of(record):
    """A record's configuration, with what it says of training."""
    config = record["config"]
    return {**config, **(config.get("training") or {})}


def terms_in_words(record):
    """The terms on which all settings of a record were compared: steps, examples, seeds, learning rates."""
    terms = terms_of(record)
    n = terms.get("n_rates") or len(terms.get("rates") or terms.get("lora_rates"))
    rates = f"{n} learning rates to choose from on valid" if n > 1 else "one learning rate for each"
    return f"{terms['steps']:,} steps of {terms['batch_size']} examples, {len(terms['seeds'])} seeds, and {rates}"


def bundled_model(record):
    """The bundled model that a record's runs adapted, "decoder" or "encoder"; None if it was another, or none."""
    terms = terms_of(record)
    model = terms.get("model") or ("encoder" if terms.get("tasks") else "decoder")
    return model if "base" not in record and terms.get("seeds") and model in MODELS else None


def of_an_earlier_one(record):
    """Whether a record is older than the bundled model that it speaks of, and so is of the one before."""
    model = bundled_model(record)
    return model is not None and record.get("date", "9999") < bundled_recipe(model)["date"]


def base_in_words(record):
    """The model that was adapted; a bundled one is called an earlier one if it is no longer there."""
    if "base" in record:
        return record["base"]["name"]
    terms = terms_of(record)
    words = MODELS.get(bundled_model(record), str(terms.get("model")))
    return words.replace("the bundled", "an earlier bundled") if of_an_earlier_one(record) else words

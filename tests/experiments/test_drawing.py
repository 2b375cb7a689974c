"""The figure of a result says what it shows: title, model, task, seeds."""

import json
from pathlib import Path

import pytest

from minilora.experiments import drawing
from minilora.experiments.drawing import figure_of, subject
from minilora.experiments.paper import EXPERIMENTS, find_experiment
from minilora.plots import figure_style
from minilora.plots.theme import DARK

FIGURES = Path(__file__).resolve().parents[2] / "figures"
DRAWN = [name for name in EXPERIMENTS if (FIGURES / f"{name}.json").exists()]


def record_of(name):
    return json.loads((FIGURES / f"{name}.json").read_text())


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"config": {"batch_size": 1}}, None),
        (
            {"config": {"tasks": ["names", "pairs"], "steps": 600, "seeds": [0, 1]}},
            "The bundled encoder, names and pairs, 600 steps, 2 seeds.",
        ),
        (
            {"config": {"training": {"steps": 250, "seeds": [0, 1, 2]}, "steps": [1, 2]}},
            "The bundled decoder, mini-E2E, 250 steps, 3 seeds.",
        ),
        (
            {"config": {"training": {"steps": 300, "seeds": [0, 1, 2]}, "budgets": [100, 300]}},
            "The bundled decoder, mini-E2E, 100 to 300 steps, 3 seeds.",
        ),
        (
            {"base": {"name": "gpt-x"}, "config": {"training": {"model": "smollm2", "steps": 9, "seeds": [0, 1]}}},
            "gpt-x, mini-E2E, 9 steps, 2 seeds.",
        ),
    ],
)
def test_the_subject_is_what_the_configuration_says(record, said):
    assert subject(record) == said


@pytest.mark.parametrize(
    ("date", "words"),
    [
        ("2026-11-26", "An earlier bundled decoder, "),
        ("2026-11-27", "The bundled decoder, "),
        (None, "The bundled decoder, "),
    ],
)
def test_a_result_that_is_older_than_its_model_says_so(date, words, monkeypatch):
    monkeypatch.setattr(drawing, "bundled_recipe", lambda name: {"date": {"decoder": "2026-11-27"}[name]})
    record = {"config": {"training": {"steps": 9, "seeds": [0, 1]}}} | ({} if date is None else {"date": date})
    assert subject(record).startswith(words)


@pytest.mark.parametrize("name", ["table4", "table6", "forgetting"])
def test_a_result_is_drawn_under_its_title(name):
    record = record_of(name)
    figure = figure_of(find_experiment(name), record)
    title, note = (text.replace("\n", " ") for text in (figure.get_suptitle(), figure.get_supxlabel()))
    number = {"table4": "Table 4: ", "table6": "Table 6: "}.get(name, "")
    assert title.startswith(number) and len(title) > len(number) + 5
    seeds = record["config"].get("seeds")
    assert (f"{len(seeds)} seeds." in note) if seeds else ("seed" not in note)
    with figure_style(dark=True):
        dark = figure_of(find_experiment(name), record)
    assert dark.get_facecolor()[:3] == pytest.approx(tuple(int(DARK.paper[k : k + 2], 16) / 255 for k in (1, 3, 5)))


@pytest.mark.parametrize("name", ["table3", "figure2", "table2"])
def test_methods_and_seeds_that_are_absent_are_not_drawn(name):
    record = record_of(name)
    results = json.loads(json.dumps(record["results"]))
    tables = [results] if "methods" in results else list(results["tasks"].values())
    for table in tables:
        for label in [label for label in table["methods"] if label.startswith("Adapter")]:
            del table["methods"][label]
    figure = figure_of(find_experiment(name), record | {"results": results})
    words = " ".join(text.get_text() for axes in figure.axes for text in axes.get_yticklabels())
    words += " ".join(text.get_text() for axes in figure.axes if axes.get_legend() for text in axes.get_legend().texts)
    assert "LoRA" in words and "Adapter" not in words

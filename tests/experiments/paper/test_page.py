"""figures/README.md says what the JSON files beside it give."""

import json
import shutil
from pathlib import Path

import pytest

from minilora.data.classification import LOWER_CASE_SINCE
from minilora.experiments.figures_page import anchor, cost, earlier, places_of, section, write_page
from minilora.experiments.paper import EXPERIMENTS

FIGURES = Path(__file__).resolve().parents[3] / "figures"
PAGE = (FIGURES / "README.md").read_text(encoding="utf-8")
SECTIONS = [(name, place) for name in EXPERIMENTS for place in places_of(name, FIGURES)]


def results(name):
    return json.loads((FIGURES / f"{name}.json").read_text())["results"]


@pytest.mark.parametrize(("name", "place"), SECTIONS)
def test_a_section_is_what_its_results_give(name, place):
    """After a change of a table or a claim: ``minilora reproduce all --from-results --out figures``."""
    assert section(name, FIGURES, place) in PAGE


def test_the_page_is_the_sections_and_nothing_else(tmp_path):
    for path in (*(f"{place}{name}.json" for name, place in SECTIONS), "others.md"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        shutil.copy(FIGURES / path, tmp_path / path)
    write_page(tmp_path)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == PAGE


@pytest.mark.parametrize("heading", [line[3:] for line in PAGE.splitlines() if line.startswith("## ")])
def test_the_contents_link_to_each_section(heading):
    assert f"(#{anchor(heading)})" in PAGE


@pytest.mark.parametrize(
    ("task", "date", "said"),
    [
        ("unicode-names", "2026-11-22", True),
        ("unicode-names", LOWER_CASE_SINCE, False),
        ("docstring-pairs", "2026-11-22", False),
    ],
)
def test_results_of_an_earlier_form_of_a_task_say_so(task, date, said):
    record = {"config": {"tasks": [task], "seeds": [0, 1]}, "date": date}
    assert any(f"an earlier form of {task}.** They are of {date}" in text for text in earlier(record)) == said


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ({"runs": {"count": 45, "hours": 1.64}}, " 45 runs, 1.6 hours of one core, with those that others share."),
        ({"runs": {"count": 45, "hours": None}}, ""),  # some were saved by an earlier version
        ({"runs": {"count": 0, "hours": 0.0}}, ""),  # table 4 is counted, not trained
        ({}, ""),  # so is the whole record
    ],
)
def test_a_section_says_what_its_runs_cost_if_that_is_known(runs, said):
    assert cost(runs) == said


def test_table_4_divides_by_the_count_of_the_papers_rank():
    from minilora.accounting import adaptation, find_architecture

    architecture = find_architecture("gpt3-175b")
    lora = adaptation(architecture, "lora", rank=4, targets=("q_proj", "v_proj")).trainable
    fewer = adaptation(architecture, "full").trainable / lora
    assert (
        f"{lora:,} parameters, {fewer:,.0f} times fewer" in PAGE and f"{fewer:,.0f} times, with the paper's r" in PAGE
    )

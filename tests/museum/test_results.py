"""docs/museum.md, its figures and its results belong together, and are of all exhibits."""

import math
import re
from pathlib import Path

import pytest

from minilora.files import read_json
from minilora.museum import EXHIBITS, ROOMS, scenes
from minilora.museum.measure import SEEDS, settings
from minilora.museum.page import figure_name, page

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "figures" / "museum"


@pytest.fixture(scope="module")
def results():
    return read_json(FIGURES / "museum.json")


def test_the_page_is_made_of_the_committed_results(results):
    assert (ROOT / "docs" / "museum.md").read_text() == page(results, "../figures/museum")


def test_every_exhibit_was_measured_and_none_else(results):
    assert set(results["wrong"]) == set(EXHIBITS)
    assert set(results["right"]) == {exhibit.scene for exhibit in EXHIBITS.values()}
    for of_scene in results["right"].values():
        assert list(of_scene) == [f"{seed}" for seed in SEEDS]
    for run in results["wrong"].values():
        assert 1 <= len(run["losses"]) <= scenes.STEPS
        assert run["held_out"] is None or math.isfinite(run["held_out"])
    assert results["seconds"] < 15 * 60
    assert all((FIGURES / figure_name(n)).exists() for n in range(1, len(ROOMS) + 1))


def test_the_runs_were_those_of_the_scenes(results):
    assert results["scenes"] == {name: about | {"betas": list(about["betas"])} for name, about in settings().items()}


def test_links_within_the_page_lead_somewhere(results):
    text = page(results, "../figures/museum")
    anchors = {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", text, re.M)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors and "1-" in text

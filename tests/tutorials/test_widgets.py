"""Sliders: nothing without a notebook; in one, a picture that follows them."""

import sys
import types

import pytest

from minilora import plots


@pytest.fixture
def shown(monkeypatch):
    """What is displayed, in what takes itself for a notebook."""
    pytest.importorskip("ipywidgets")
    monkeypatch.setitem(sys.modules, "ipykernel", types.SimpleNamespace(version_info=(7, 0)))  # ipywidgets asks for it
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    return shown


def test_without_a_notebook_nothing_is_drawn(monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    assert plots.sliders(lambda r: 1 / 0, r=(1, 8)) is None


def test_a_notebook_without_ipywidgets_shows_nothing(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    monkeypatch.setitem(sys.modules, "ipywidgets", None)  # an import of it fails
    assert plots.sliders(lambda r: 1 / 0, r=(1, 8)) is None


def test_in_a_notebook_the_picture_follows_the_sliders(shown):
    calls = []

    def draw(i, size=0.5):
        calls.append((i, size))
        return plots.two_lines(10 * i)

    assert plots.sliders(draw, i=(1, 8), size=(0.0, 1.5, 0.1)) is None
    ((first, second, picture),) = (box.children for box in shown)
    assert [(s.description, s.min, s.max, s.value) for s in (first, second)] == [("i", 1, 8, 4), ("size", 0, 1.5, 0.5)]
    assert {s.layout.width for s in (first, second)} == {"100%"}, "wide enough to meet each of 192 values"
    before = bytes(picture.value)
    assert before.startswith(b"\x89PNG")
    first.value = 7
    second.value = 1.0
    assert calls == [(4, 0.5), (7, 0.5), (7, 1.0)]
    assert bytes(picture.value).startswith(b"\x89PNG") and bytes(picture.value) != before


def test_a_slider_draws_into_no_output_widget(shown):
    """Running a notebook with nbclient may hang where a cell draws into one."""
    plots.sliders(plots.two_lines, angle=(0, 90))
    assert [type(child).__name__ for child in shown[0].children] == ["IntSlider", "Image"]

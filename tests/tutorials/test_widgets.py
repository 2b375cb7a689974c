import builtins
import sys
import types

from minilora import plots


def test_without_a_notebook_nothing_is_drawn(monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    monkeypatch.setitem(sys.modules, "ipywidgets", types.SimpleNamespace(interact=lambda *_, **__: 1 / 0))
    assert plots.sliders(lambda r: 1 / 0, r=(1, 8)) is None


def test_a_notebook_without_ipywidgets_shows_nothing(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    monkeypatch.setitem(sys.modules, "ipywidgets", None)  # an import of it fails
    assert plots.sliders(lambda r: 1 / 0, r=(1, 8)) is None


def test_in_a_notebook_the_ranges_become_sliders(monkeypatch):
    calls = []
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    interact = types.SimpleNamespace(interact=lambda draw, **ranges: calls.append((draw, ranges)))
    monkeypatch.setitem(sys.modules, "ipywidgets", interact)
    assert plots.sliders(builtins.print, i=(1, 8), j=(1, 64)) is None
    assert calls == [(builtins.print, {"i": (1, 8), "j": (1, 64)})]

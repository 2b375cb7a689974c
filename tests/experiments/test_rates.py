"""The learning rates where none is given: those that the committed search found."""

import pytest

from markdown_pages import ROOT
from minilora.experiments.paper import table2
from minilora.experiments.paper.family import SETTINGS
from minilora.experiments.rates import OF_CLASSES, OF_TEXTS
from minilora.files import read_json

UNTRAINED = 1.3  # nats per byte of the bundled decoder on mini-E2E, figures/demo/demo.json
ROWS = read_json(ROOT / "figures" / "family.json")["results"]["methods"]


@pytest.mark.parametrize("method", sorted(ROWS.keys() & OF_TEXTS.keys()))
def test_a_default_rate_is_the_best_of_those_tried_or_half_of_it_or_less_where_a_higher_one_broke_the_model(method):
    best, tried = ROWS[method]["lr"], dict(ROWS[method]["valid_by_lr"])
    breaks = any(rate > best and (loss is None or loss > UNTRAINED) for rate, loss in tried.items())
    factor = OF_TEXTS[method] / best
    assert 0.25 < factor <= 0.5 if breaks else factor == pytest.approx(1)


def test_the_rates_of_most_methods_were_searched_for():
    assert {"lora", "dora", "vera", "adalora", "ia3", *SETTINGS} <= ROWS.keys() & OF_TEXTS.keys()


@pytest.mark.parametrize(
    ("method", "label"),
    [("lora", table2.LORA), ("full", table2.FINE_TUNING), ("bitfit", table2.BITFIT), ("adapter-h", "Adapter^H")],
)
def test_on_classes_it_is_table_2_s(method, label):
    (task,) = read_json(ROOT / "figures" / "table2.json")["results"]["tasks"].values()
    assert OF_CLASSES[method] == task["methods"][label]["lr"]

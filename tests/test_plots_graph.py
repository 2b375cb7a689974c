"""Backpropagation in one drawing: every number is where it belongs, and comes when it is known."""

import pytest

from minilora import plots
from plotted import NODES


def shown(step):
    """The texts of the drawing after so many steps, without formulas."""
    texts = [text.get_text() for text in plots.value_graph(NODES, step).axes[0].texts]
    return [text for text in texts if text and not (text.startswith("$") and "times" not in text)]


@pytest.mark.parametrize(
    ("step", "numbers"),
    [
        (0, ["2", "1.5", "4"]),
        (1, ["2", "1.5", "4", "3"]),
        (3, ["2", "1.5", "4", "3", "-1", "1"]),
        (4, ["2", "1.5", "4", "3", "-1", "1", "1"]),
        (5, ["2", "1.5", "4", "3", "-1", "-2", "1", "1", r"$\times\,(-2)$"]),
    ],
)
def test_values_come_forward_and_then_gradients_backward(step, numbers):
    assert sorted(shown(step)) == sorted(numbers)


def test_at_the_end_every_number_is_there_and_each_arrow_has_its_slope():
    texts = shown(None)
    slopes = [text for text in texts if "times" in text]
    assert slopes == [rf"$\times\,{slope}$" for slope in ("1.5", "2", "1", "(-1)", "(-2)")]
    numbers = [f"{number:g}" for node in NODES.values() for number in (node.value, node.gradient)]
    assert sorted(set(texts) - set(slopes)) == sorted(set(numbers))
    arrows = [text for text in plots.value_graph(NODES).axes[0].texts if getattr(text, "arrow_patch", None)]
    assert len(arrows) == 2 * 5


def test_what_is_made_stands_to_the_right_of_its_inputs():
    axes = plots.value_graph(NODES).axes[0]
    places = {text.get_text().strip("$"): text.get_position() for text in axes.texts}
    for node in NODES.values():
        for source in node.inputs:
            assert places[NODES[source].formula][0] < places[node.formula][0]
    assert len(set(places.values())) == len(places)

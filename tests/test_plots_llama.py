"""The drawings of Llama's attention show the angles and the groups that were given."""

import numpy as np
import pytest

from minilora import plots


def test_each_hand_stands_at_its_angle():
    angles = np.outer(np.arange(3), (1.0, 0.25))  # (T, planes)
    (axes,) = plots.rotations(angles).axes
    assert len(axes.patches) == len(axes.lines) == angles.size
    for (t, i), angle, line in zip(np.ndindex(angles.shape), angles.ravel(), axes.lines, strict=True):
        (x0, y0), (x1, y1) = line.get_xydata()
        assert (x0, y0) == (t, i) and np.arctan2(y0 - y1, x1 - x0) == pytest.approx(angle)  # upwards is smaller y
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("position", "plane")


def test_each_query_head_leads_to_the_key_value_head_that_it_reads():
    (axes,) = plots.head_groups(6, 2).axes
    lines = [line.get_xydata() for line in axes.lines]
    assert [start[0] for start, _ in lines] == list(range(6))
    assert [end[0] for _, end in lines] == [1.0, 1.0, 1.0, 4.0, 4.0, 4.0]
    texts = [text.get_text() for text in axes.texts]
    assert texts.count("$k_{0}, v_{0}$") == texts.count("$k_{1}, v_{1}$") == 1 and "$q_{5}$" in texts

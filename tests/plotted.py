"""What several tests of plots draw."""

import numpy as np

from minilora import plots
from minilora.analysis import Amplification
from minilora.plots import Node

PHI = np.linspace(0.1, 0.6, 15).reshape(3, 5)
WORD = plots.word_image("BA", (20, 30))
TABLE_7 = {"r = 4": Amplification(4, 0.32, 21.67, 0.02, 0.0202, 61.95, 6.91)}
NODES = {
    "x": Node("x", 2.0, -6.0, {}),
    "w": Node("w", 1.5, -8.0, {}),
    "t": Node("t", 4.0, 2.0, {}),
    "y": Node("y = w x", 3.0, -2.0, {"x": 1.5, "w": 2.0}),
    "e": Node("e = y - t", -1.0, -2.0, {"y": 1.0, "t": -1.0}),
    "L": Node("L = e^2", 1.0, 1.0, {"e": -2.0}),
}


def title_of(axes):
    """What stands above the axes, at the left."""
    return axes.get_title(loc="left")

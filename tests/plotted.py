"""What several tests of plots draw."""

import numpy as np

from minilora import plots
from minilora.analysis import Amplification

PHI = np.linspace(0.1, 0.6, 15).reshape(3, 5)
WORD = plots.word_image("BA", (20, 30))
TABLE_7 = {"r = 4": Amplification(4, 0.32, 21.67, 0.02, 0.0202, 61.95, 6.91)}


def title_of(axes):
    """What stands above the axes, at the left."""
    return axes.get_title(loc="left")

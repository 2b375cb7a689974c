"""How well several methods do a task."""

from itertools import cycle

import numpy

from minilora.plots.style import LINES, new_figure, styled


@styled
def scores(methods, levels):
    """A row for each method, best on top: a dot a seed and a stroke at their mean; a line for each baseline.

    Parameters
    ----------
    methods : dict of str to (n, values)
        By label: the trainable parameters, and the accuracy of each seed in percent.
    levels : dict of str to float
        By label: the accuracy of a baseline in percent.

    Returns
    -------
    Figure
    """
    rows = sorted(methods.items(), key=lambda row: numpy.mean(row[1][1]))
    figure = new_figure(12, 2.6 + 0.6 * len(rows))
    axes = figure.subplots()
    for (label, level), line in zip(levels.items(), cycle(LINES[1:])):
        axes.axvline(level, color=line["color"], linestyle=line["linestyle"], label=f"{label}: {level:.1f}")
    for y, (_, (_, values)) in enumerate(rows):
        axes.plot(numpy.mean(values), y, "|", markersize=26, markeredgewidth=3, color="black")
        axes.plot(values, numpy.full(len(values), y), "o", color=LINES[0]["color"], markeredgecolor="black")
    axes.set_yticks(range(len(rows)), [f"{label}  ({n:,})" for label, (n, _) in rows])
    axes.set(xlabel="test accuracy (%); beside each method, its trainable parameters", ylim=(-0.6, len(rows) - 0.4))
    figure.legend(loc="outside upper right", ncols=2)
    return figure

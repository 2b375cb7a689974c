"""A score against a chosen number: a rank, a learning rate, a step."""

from itertools import cycle

import numpy

from minilora.plots.style import LINES, new_figure, styled


@styled
def seed_curves(panels, *, xlabel, xscale=None, columns=None):
    """A curve through the means of the seeds for each label, with a bar from the lowest to the highest.

    Parameters
    ----------
    panels : dict of str to dict of str to list of (x, values)
        By the label of the panel's y axis, and by the curve's label: the scores of the seeds at each x. None values
        are left out, and so is an x that has nothing else.
    xlabel : str
    xscale : {"log", "log2"}, optional
        "log2" has a tick at each x.
    columns : int, optional
        Panels per row; all in one row, if not given.

    Returns
    -------
    Figure
    """
    columns = columns or len(panels)
    rows = -(-len(panels) // columns)
    width, height = (6.6, 5.8) if rows == 1 else (5.4, 4.6)  # inches of a panel
    figure = new_figure(max(9, width * columns), height * rows)
    explained = set()  # the labels, with their places, of the legends so far
    all_axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in all_axes[len(panels) :]:
        axes.axis("off")
    for axes, (ylabel, lines) in zip(all_axes, panels.items()):
        for (label, points), line in zip(lines.items(), cycle(LINES)):
            known = [(x, [v for v in values if v is not None]) for x, values in points]
            x, values = zip(*((x, numpy.array(v)) for x, v in known if v))
            means = numpy.array([v.mean() for v in values])
            spans = numpy.array([(m - v.min(), v.max() - m) for m, v in zip(means, values)]).T
            spans = numpy.maximum(spans, 0)  # the mean of equal numbers may be off by its rounding
            axes.errorbar(x, means, spans, label=label, capsize=4, markeredgecolor="black", **line)
        axes.set(xlabel=xlabel, ylabel=ylabel)
        if xscale is not None:
            axes.set_xscale("log", base=2 if xscale == "log2" else 10)
        if xscale == "log2":
            ticks = sorted({x for points in lines.values() for x, _ in points})
            axes.set_xticks(ticks, [f"{x:g}" for x in ticks])
        handles, labels = axes.get_legend_handles_labels()
        new = [n for n, label in enumerate(labels) if (n, label) not in explained]
        if len(lines) > 1 and new:
            # above the panel, where no curve can be
            above = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": 3 if rows == 1 else 2}
            axes.legend([handles[n] for n in new], [labels[n] for n in new], **above)
            explained.update(enumerate(labels))
    return figure

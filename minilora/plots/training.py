"""The course of a training run."""

from itertools import cycle

import numpy

from minilora.plots.style import LINES, new_figure, styled


@styled
def loss_curves(runs):
    """How the loss fell: the training loss as a moving average, the validation loss as points.

    Parameters
    ----------
    runs : dict of str to (losses, validation)
        By label: the training loss of every step, and (step, loss) pairs; in bits per byte.

    Returns
    -------
    Figure
    """
    figure = new_figure(10, 5.6)
    axes = figure.subplots()
    n = max(1, min(len(losses) for losses, _ in runs.values()) // 25)
    for (label, (losses, validation)), line in zip(runs.items(), cycle(LINES)):
        means = numpy.convolve(losses, numpy.full(n, 1 / n), mode="valid")  # (steps,) -> (steps - n + 1,)
        steps = numpy.arange(len(means)) + (n + 1) / 2  # the middle of each window; the first step is 1
        axes.plot(steps, means, color=line["color"], linestyle=line["linestyle"], label=f"{label}, training")
        points = {"color": line["color"], "marker": line["marker"], "markeredgecolor": "black"}
        axes.plot(*zip(*validation), linestyle="none", markersize=11, label=f"{label}, validation", **points)
    axes.set_xlabel("training step")
    axes.set_ylabel("loss (bits per byte)")
    axes.legend(loc="upper right", title=f"training: moving average of {n} steps" if n > 1 else None, alignment="left")
    return figure

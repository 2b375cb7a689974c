"""The course of a training run."""

import numpy

from minilora.plots.labels import caption, label_ends, typeset
from minilora.plots.style import WIDTH, looks, new_figure, styled


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
    figure = new_figure(WIDTH, 4.8)
    axes = figure.subplots()
    n = max(1, min(len(losses) for losses, _ in runs.values()) // 25)
    look, ends = looks(runs), []
    for label, (losses, validation) in runs.items():
        means = numpy.convolve(losses, numpy.full(n, 1 / n), mode="valid")  # (steps,) -> (steps - n + 1,)
        steps = numpy.arange(len(means)) + (n + 1) / 2  # the middle of each window; the first step is 1
        style = {"color": look[label].color, "linestyle": look[label].dash, "linewidth": 2.0}
        axes.plot(steps, means, label=f"{label}, training", **style)
        marks = {"linestyle": "none", "markersize": 10, "clip_on": False, "zorder": 4}
        axes.plot(*zip(*validation), label=f"{label}, validation", **look[label].marks(), **marks)
        ends.append((steps[-1], validation[-1][1], typeset(label), look[label].color))
    axes.set_title("loss (bits per byte)")
    axes.set_xlabel("training step")
    axes.margins(x=0.02)
    label_ends(axes, ends, 3.8)
    mean = f"mean of {n} steps" if n > 1 else "of every step"
    return caption(figure, note=f"Line: training loss, {mean}. Marks: validation.")

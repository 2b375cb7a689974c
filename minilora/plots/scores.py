"""How well several methods do a task."""

from itertools import cycle

import numpy

from minilora.plots.style import LINES, new_figure, styled

DASHES = ((0, (1, 1)), (0, (6, 2)), (0, (3, 1, 1, 1)), "solid")  # of the lines across


@styled
def scores(panels, *, xlabel):
    """A row for each method: a dot per seed, and a stroke at their mean; a line for each baseline.

    The method that is best in the first panel is on top.

    Parameters
    ----------
    panels : dict of str to (methods, levels)
        By title. `methods` is a dict of label to (n, values), the trainable parameters and the score of each seed, with
        the same labels and numbers in each panel; `levels` a dict of label to the score of a baseline.
    xlabel : str

    Returns
    -------
    Figure
    """
    methods, _ = next(iter(panels.values()))
    rows = sorted(methods, key=lambda label: numpy.mean(methods[label][1]))
    names = list(dict.fromkeys(name for _, levels in panels.values() for name in levels))
    figure = new_figure(5.5 + 6 * len(panels), 2.6 + 0.5 * len(rows))
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (title, (of_panel, levels)) in zip(all_axes, panels.items()):
        for y, label in enumerate(rows):
            values = of_panel[label][1]
            axes.plot(numpy.mean(values), y, "|", markersize=24, markeredgewidth=3, color="black")
            axes.plot(values, numpy.full(len(values), y), "o", color=LINES[0]["color"], markeredgecolor="black")
        for name, level in levels.items():
            line = LINES[1:][names.index(name) % len(LINES[1:])]
            axes.axvline(level, color=line["color"], linestyle=line["linestyle"], label=name)
        axes.set(title=title, xlabel=xlabel, ylim=(-0.6, len(rows) - 0.4))
    all_axes[0].set_yticks(range(len(rows)), [f"{label}  ({methods[label][0]:,})" for label in rows])
    handles = {h.get_label(): h for axes in all_axes for h in axes.get_legend_handles_labels()[0]}
    if handles:
        figure.legend(handles=handles.values(), loc="outside upper right", ncols=2)
    return figure


@styled
def parameters_against_score(methods, *, ylabel, levels=None):
    """The score of each method against how many parameters it trains, as in the paper's figure 2.

    Parameters
    ----------
    methods : dict of str to list of (n, values)
        By label: for each size of the method, the trainable parameters and the score of each seed. Sizes are joined by
        a line through their means; a bar spans the seeds.
    ylabel : str
    levels : dict of str to float, optional
        By label: the score of a baseline, drawn as a line across.

    Returns
    -------
    Figure
    """
    figure = new_figure(12, 7)
    axes = figure.subplots()
    for k, (label, sizes) in enumerate(methods.items()):
        n, values = zip(*sizes)
        means = numpy.array([numpy.mean(v) for v in values])
        spans = numpy.array([(m - numpy.min(v), numpy.max(v) - m) for m, v in zip(means, values)]).T
        line = LINES[k % len(LINES)]
        fill = "white" if k // len(LINES) % 2 else line["color"]  # the second five of ten are hollow
        axes.errorbar(n, means, spans, label=label, capsize=4, markerfacecolor=fill, **line)
    for (label, level), dash in zip((levels or {}).items(), cycle(DASHES)):
        axes.axhline(level, color="0.45", linewidth=1.6, linestyle=dash, label=label)
    axes.set_xscale("log")
    axes.set(xlabel="trainable parameters", ylabel=ylabel)
    figure.legend(loc="outside right upper")
    return figure


@styled
def by_seed(measured, *, x, joined=False):
    """A row for each setting, the first on top: a mark for every seed, and a stroke at their mean.

    Parameters
    ----------
    measured : dict of str to sequence of float
        By setting: a value for each seed, in the same order.
    x : str
        What was measured.
    joined : bool
        Join the marks of each seed by a line, to see whether all seeds agree.

    Returns
    -------
    Figure
    """
    figure = new_figure(10.5, 1.6 + 0.6 * len(measured))
    axes = figure.subplots()
    values = numpy.array(list(measured.values()))  # (settings, seeds)
    places = numpy.arange(len(values))
    for seed, line in zip(range(values.shape[1]), cycle(LINES)):
        dash = {"linestyle": line["linestyle"] if joined else "none", "linewidth": 1.4, "alpha": 0.8}
        marker = {"marker": line["marker"], "color": line["color"], "markeredgecolor": "black"}
        axes.plot(values[:, seed], places, label=f"seed {seed}", **dash, **marker)
    axes.plot(values.mean(axis=1), places, "|", markersize=26, markeredgewidth=3, color="black", label="mean")
    axes.set_yticks(places, measured)
    axes.set(xlabel=x, ylim=(len(values) - 0.5, -0.5))
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=values.shape[1] + 1)
    return figure

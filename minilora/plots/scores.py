"""How well several methods do a task."""

import numpy

from minilora.plots.labels import LINE_HEIGHT, caption, typeset, whiskers
from minilora.plots.seed_curves import number_ticks
from minilora.plots.style import SMALL, WIDTH, looks, method_of, new_figure, series, styled
from minilora.plots.theme import theme


@styled
def scores(panels, *, xlabel):
    """A row for each method: its mark for every seed, and a stroke at their mean; a line for each baseline.

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
    page = theme()
    methods, _ = next(iter(panels.values()))
    rows = sorted(methods, key=lambda label: numpy.mean(methods[label][1]))
    look = looks(methods) if any(map(method_of, methods)) else dict.fromkeys(methods, series(0))
    height = 1.0 + 0.42 * len(rows)
    figure = new_figure(WIDTH, (height + 0.4) * len(panels) + 0.6)
    all_axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axes, (title, (of_panel, levels)) in zip(all_axes, panels.items()):
        for y, label in enumerate(rows):
            values = of_panel[label][1]
            axes.plot(values, numpy.full(len(values), y), linestyle="none", zorder=3, **look[label].marks())
            axes.plot(numpy.mean(values), y, "|", markersize=22, markeredgewidth=2.6, color=page.ink, zorder=4)
        axes.set(title=typeset(title), ylim=(-0.6, len(rows) - 0.4))
        axes.set_yticks(range(len(rows)), [f"{typeset(label)}  ({methods[label][0]:,})" for label in rows])
        axes.grid(axis="x", visible=False)
        _across(axes, levels, (len(rows) - 0.3))
    all_axes[-1].set_xlabel(xlabel)
    n = max(len(values) for of_panel, _ in panels.values() for _, values in of_panel.values())
    return caption(figure, note=f"A mark for each of {n} seeds, a stroke at their mean; in brackets: parameters.")


def _across(axes, levels, top):
    """A line upwards for each baseline, with its name at the top, higher where it would meet its neighbour's."""
    page = theme()
    for n, (name, level) in enumerate(sorted(levels.items(), key=lambda item: item[1])):
        axes.axvline(level, color=page.soft, linewidth=1.4, linestyle=(0, (5, 3)), label=name)
        high = 14 * (n % 2)
        place = {"textcoords": "offset points", "va": "bottom", "size": SMALL, "color": page.soft}
        axes.annotate(name, (level, top), (-3, high), ha="right", annotation_clip=False, **place)
    if len(levels) > 1:
        axes.set_title(axes.get_title(loc="left"), pad=34)


@styled
def parameters_against_score(methods, *, ylabel, levels=None, note=None):
    """The score of each method against how many parameters it trains, as in the paper's figure 2.

    Parameters
    ----------
    methods : dict of str to list of (n, values)
        By label: for each size of the method, the trainable parameters and the score of each seed. Sizes are joined by
        a line through their means; a whisker spans the seeds.
    ylabel : str
    levels : dict of str to float, optional
        By label: the score of a baseline, drawn as a line across.
    note : str, optional
        For the small print.

    Returns
    -------
    Figure
    """
    look = looks(methods)
    figure = new_figure(WIDTH, 6.4)
    axes = figure.subplots()
    axes.set_xscale("log")
    height = {}
    for label, sizes in methods.items():
        n, values = zip(*sorted(sizes, key=lambda size: size[0]))
        means = numpy.array([numpy.mean(v) for v in values])
        spans = numpy.array([(m - numpy.min(v), numpy.max(v) - m) for m, v in zip(means, values)]).T
        settings = look[label].line() | {"linewidth": 1.6, "elinewidth": 1.2}
        axes.errorbar(n, means, numpy.maximum(spans, 0), label=label, capsize=3, ecolor=look[label].color, **settings)
        height[label] = means[-1]
    outside = _levels_across(axes, levels or {})
    number_ticks(axes.xaxis)
    axes.set_title(ylabel)
    axes.set_xlabel("trainable parameters")
    marks = dict(zip(methods, axes.containers))
    shown = sorted(methods, key=lambda label: -height[label])  # from high to low, as they stand in the picture
    place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0), "handlelength": 1.6, "labelspacing": 0.7}
    axes.legend([marks[label].lines[0] for label in shown], list(map(typeset, shown)), **place)
    said = whiskers(max(len(values) for sizes in methods.values() for _, values in sizes))
    beyond = "; ".join(f"{label} {level:.1f}" for label, level in outside.items())
    parts = (note, f"Outside the picture: {beyond}." if beyond else "", said)
    return caption(figure, note=" ".join(part for part in parts if part))


def _levels_across(axes, levels):
    """A line across for each level, with its name; returns those that lie too far away to be drawn.

    The name stands above its line, or below it if the next level is too near for that.
    """
    page, (low, high) = theme(), axes.get_ylim()
    reach = 0.4 * (high - low)
    near = {label: level for label, level in levels.items() if low - reach <= level <= high + reach}
    for label, level in near.items():
        axes.axhline(level, color=page.soft, linewidth=1.4, linestyle=(0, (5, 3)), label=label)
    low, high = axes.get_ylim()  # further apart now, if a line lies outside
    room = SMALL * LINE_HEIGHT * (high - low) / (axes.get_figure().get_figheight() * axes.get_position().height)
    for label, level in near.items():
        crowded = any(0 < other - level < room for other in near.values())
        place = {"xytext": (0, -2), "va": "top"} if crowded else {"xytext": (0, 2), "va": "bottom"}
        style = {"textcoords": "offset points", "ha": "right", "size": SMALL, "color": page.soft}
        axes.annotate(label, (1.0, level), xycoords=("axes fraction", "data"), **place, **style)
    return {label: level for label, level in levels.items() if label not in near}


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
    figure = new_figure(WIDTH, 1.4 + 0.5 * len(measured))
    axes = figure.subplots()
    values = numpy.array(list(measured.values()))  # (settings, seeds)
    places = numpy.arange(len(values))
    for seed in range(values.shape[1]):
        look = series(seed)
        dash = {"linestyle": look.dash if joined else "none", "linewidth": 1.4, "alpha": 0.8}
        axes.plot(values[:, seed], places, label=f"seed {seed}", **look.marks(), **dash)
    stroke = {"markersize": 24, "markeredgewidth": 2.6, "color": theme().ink, "label": "mean"}
    axes.plot(values.mean(axis=1), places, "|", **stroke)
    axes.set_yticks(places, list(map(typeset, measured)))
    axes.set(xlabel=x, ylim=(len(values) - 0.5, -0.5))
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=values.shape[1] + 1)
    return figure

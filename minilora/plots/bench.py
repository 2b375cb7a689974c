"""How fast: ratios to the peer, memory, how cost grows, and what each optimisation gave."""

import numpy

from minilora.plots.labels import caption, typeset
from minilora.plots.style import METHODS, SMALL, WIDTH, looks, method_of, new_figure, series, styled
from minilora.plots.theme import theme


@styled
def bench_ratios(panels):
    """How many times as fast as the peer: a bar for each shape with its range over the rounds, and a line at 1.

    Parameters
    ----------
    panels : dict of str to dict of str to (median, min, max)
        By title and shape; a title that begins with a method has its colour.

    Returns
    -------
    Figure
    """
    page = theme()
    n_bars = max(map(len, panels.values()))
    figure = new_figure(WIDTH, (0.9 + 0.42 * n_bars) * len(panels) + 1.0)
    medians = [median for bars in panels.values() for median, _, _ in bars.values()]
    most = max(high for bars in panels.values() for _, _, high in bars.values())
    # a thread that lost its core for a while can make one round many times as slow
    right = max(1.05, min(1.12 * most, 1.8 * max(medians)))
    for axes, (title, bars) in zip(figure.subplots(len(panels), 1, squeeze=False, sharex=True)[:, 0], panels.items()):
        median, low, high = (numpy.array(column) for column in zip(*bars.values()))
        places = numpy.arange(len(bars))
        look = METHODS.get(method_of(title), series(0))
        axes.barh(places, median, height=0.62, color=look.color)
        axes.hlines(places, low, numpy.minimum(high, right), color=page.ink, linewidth=1.8)
        inside = high <= right
        axes.plot(low, places, "|", color=page.ink, markersize=9, markeredgewidth=1.8)
        axes.plot(high[inside], places[inside], "|", color=page.ink, markersize=9, markeredgewidth=1.8)
        for place in places[~inside]:
            axes.plot(right, place, ">", color=page.ink, clip_on=False)
        names = [f"{typeset(label)}   {value:.2f}" for label, value in zip(bars, median)]
        axes.axvline(1.0, color=page.ink, linewidth=1.4, linestyle="--")
        axes.set(title=typeset(title), yticks=places, xlim=(0, right), ylim=(len(bars) - 0.5, -0.5))
        axes.set_yticklabels(names)
        axes.grid(axis="y", visible=False)
    figure.axes[-1].set_xlabel("times as fast as PyTorch + PEFT (dashed: as fast)")
    beyond = " An arrow: beyond the picture." if most > right else ""
    return caption(figure, note="Bar and number: median of the rounds. Stroke: fastest to slowest round." + beyond)


@styled
def bench_memory(panels):
    """The peak memory of each process, stacked: after its imports, with model and optimizer, in steps.

    Parameters
    ----------
    panels : dict of str to dict of str to (imports, model, step)
        By shape, and by what ran; bytes, each including those before it.

    Returns
    -------
    Figure
    """
    stages = ("imports", "model and optimizer", "steps")
    grown = {}
    for shape, bars in panels.items():
        for name, peaks in bars.items():
            parts = numpy.diff([0, *peaks]) / 1e6
            grown.setdefault(shape, {})[name.replace("\n", ", ")] = dict(zip(stages, parts.tolist()))
    return stacked(grown, x="most memory held (MB)")


@styled
def stacked(panels, *, x, form="{:,.0f}"):
    """What a total is made of: a bar for each row, in parts next to each other, with the sum at its end.

    Parameters
    ----------
    panels : dict of str to dict of str to dict of str to float
        By title, by row, and by part, which are the same in all rows, in the same order.
    x : str
        The label of the axis.
    form : str
        How a sum is written.

    Returns
    -------
    Figure
    """
    page = theme()
    shades = dict(zip(("grey", "sky", "blue", "amber", "vermilion"), ("", "//", "", "..", "")))
    n_bars = max(map(len, panels.values()))
    figure = new_figure(WIDTH, (0.6 + 0.46 * n_bars) * len(panels) + 1.1)
    all_axes = figure.subplots(len(panels), 1, squeeze=False, sharex=True)[:, 0]
    for axes, (title, bars) in zip(all_axes, panels.items()):
        places = numpy.arange(len(bars))
        left = numpy.zeros(len(bars))
        for part, (hue, hatch) in zip(next(iter(bars.values())), shades.items()):
            sizes = numpy.array([parts[part] for parts in bars.values()])
            style = {"color": page.hues[hue], "hatch": hatch, "edgecolor": page.ink, "linewidth": 0.8}
            axes.barh(places, sizes, left=left, height=0.66, label=part, **style)
            left = left + sizes
        for place, total in zip(places, left):
            style = {"textcoords": "offset points", "va": "center"}
            axes.annotate(form.format(total), (total, place), (5, 0), **style)
        axes.set(title=title, yticks=places, ylim=(len(bars) - 0.5, -0.5))
        axes.set_yticklabels(list(map(typeset, bars)))
        axes.grid(axis="y", visible=False)
    most = max(sum(parts.values()) for bars in panels.values() for parts in bars.values())
    all_axes[-1].set(xlabel=x, xlim=(0, 1.13 * most))
    n_parts = len(next(iter(next(iter(panels.values())).values())))
    if n_parts > 1:
        place = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0 + 0.32 / n_bars), "handlelength": 1.8}
        all_axes[0].legend(ncols=min(n_parts, 4), columnspacing=1.4, **place)
    return figure


@styled
def bench_scaling(growth):
    """Seconds and activation bytes of a step as one size grows, with the formula's slope.

    Parameters
    ----------
    growth : dict of str to (values, seconds, flops, bytes, bytes_formula)
        By the name of what grows, such as layers: arrays over its points.

    Returns
    -------
    Figure
    """
    from matplotlib.ticker import MaxNLocator

    page, look = theme(), series(0)
    figure = new_figure(WIDTH, 2.15 * len(growth) + 1.1)
    rows = figure.subplots(len(growth), 2, squeeze=False)
    for row, (name, (values, seconds, flops, held, held_formula)) in zip(rows, growth.items()):
        middle = len(values) // 2
        panels = (
            (row[0], 1e3 * numpy.array(seconds), 1e3 * seconds[middle] * numpy.array(flops) / flops[middle]),
            (row[1], numpy.array(held) / 1e6, numpy.array(held_formula) / 1e6),
        )
        for axes, measured, formula in panels:
            axes.plot(values, formula, color=page.hues["grey"], linewidth=8, solid_capstyle="round", label="formula")
            axes.plot(values, measured, label="measured", **look.line())
            axes.set_xscale("log", base=2)
            axes.set_yscale("log", base=2)
            axes.set_xticks(values, [f"{value:g}" for value in values])
            axes.yaxis.set_major_formatter("{x:g}")
            axes.minorticks_off()
            axes.margins(x=0.07, y=0.15)
            if max(*measured, *formula) < 3 * min(*measured, *formula):  # less than two powers of two
                axes.set_yticks(MaxNLocator(3).tick_values(min(measured), max(measured)))
                axes.margins(y=0.5)
            axes.set_xlabel(name)
    rows[0, 0].set_title("a step (ms)")
    rows[0, 1].set_title("kept activations (MB)")
    note = "Line with marks: measured. Thick grey line: the formula; of time, through the middle measurement."
    return caption(figure, note=note)


@styled
def ladder(rungs):
    """What each optimisation gave: steps per second, one bar per rung, from the plain step at the top to all of them.

    Parameters
    ----------
    rungs : dict of str to dict of str to (median, min, max)
        By shape, and by rung: times as fast as the first rung.

    Returns
    -------
    Figure
    """
    page = theme()
    names = list(next(iter(rungs.values())))
    figure = new_figure(WIDTH, (0.34 * len(names) + 0.5) * len(rungs) + 1.0)
    right = 1.03 * max(high for bars in rungs.values() for _, _, high in bars.values())
    all_axes = figure.subplots(len(rungs), 1, squeeze=False, sharex=True)[:, 0]
    for axes, (shape, bars) in zip(all_axes, rungs.items()):
        medians, low, high = (numpy.array(column) for column in zip(*bars.values()))
        places = numpy.arange(len(bars))
        axes.barh(places, medians, color=page.hues["teal"], height=0.62)
        axes.hlines(places, low, high, color=page.ink, linewidth=1.4)
        labels = [f"{typeset(name)}   {median:.2f}" for name, median in zip(bars, medians)]
        axes.set(title=shape, yticks=places, xlim=(0, right), ylim=(len(bars) - 0.5, -0.5))
        axes.set_yticklabels(labels, size=SMALL)
        axes.grid(axis="y", visible=False)
    all_axes[-1].set_xlabel("times as many steps per second as plain NumPy")
    note = "Each row adds one optimisation. Bar and number: median of the rounds; stroke: their range."
    return caption(figure, note=note)


@styled
def overheads(panels, *, ylabel):
    """How much slower each variant is: a panel for each shape, a bar at the median, a stroke between the quartiles.

    Parameters
    ----------
    panels : dict of str to dict of str to (low, median, high)
        By shape and variant; percent.
    ylabel : str

    Returns
    -------
    Figure
    """
    page = theme()
    n_bars = max(map(len, panels.values()))
    figure = new_figure(WIDTH, (0.36 * n_bars + 0.5) * len(panels) + 1.0)
    all_axes = figure.subplots(len(panels), 1, squeeze=False, sharex=True)[:, 0]
    for axes, (shape, bars) in zip(all_axes, panels.items()):
        low, medians, high = (numpy.array(column) for column in zip(*bars.values()))
        places, look = numpy.arange(len(bars)), looks(bars)
        colors = [look[label].color if method_of(label) else page.hues["grey"] for label in bars]
        axes.barh(places, medians, height=0.66, color=colors)
        axes.errorbar(medians, places, xerr=(medians - low, high - medians), fmt="none", ecolor=page.ink, capsize=4)
        axes.axvline(0.0, color=page.ink, linewidth=1.4)
        axes.set(title=shape, yticks=places, ylim=(len(bars) - 0.5, -0.5))
        axes.set_yticklabels(list(map(typeset, bars)))
        axes.grid(axis="y", visible=False)
    all_axes[-1].set_xlabel(ylabel)
    return caption(figure, note="Bar: median of the rounds. Whisker: from the first to the third quartile.")

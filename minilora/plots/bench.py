"""How fast: ratios to the peer, memory, how cost grows, and what each optimisation gave."""

import numpy

from minilora.plots.style import LINES, new_figure, styled

OURS, THEIRS = "#0072B2", "#B8B8B8"


@styled
def bench_ratios(panels):
    """How many times as fast as the peer: a bar for each shape with its range over the rounds, and a line at 1.

    Parameters
    ----------
    panels : dict of str to dict of str to (median, min, max)
        By title and shape.

    Returns
    -------
    Figure
    """
    figure = new_figure(4.6 * len(panels) + 0.6, 5.0)
    for axes, (title, bars) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items()):
        medians, low, high = (numpy.array(column) for column in zip(*bars.values()))
        places = numpy.arange(len(bars))
        axes.bar(places, medians, width=0.6, color=OURS)
        # a thread that lost its core for a while can make one round many times as slow: cut the whisker there
        top = max(1.05, min(1.05 * high.max(), 1.6 * medians.max()))
        # lists: older matplotlib takes an array of one for a number, and NumPy warns about that
        whiskers = [(medians - low).tolist(), (numpy.minimum(high, top) - medians).tolist()]
        axes.errorbar(places, medians, whiskers, fmt="none", color="black", capsize=6)
        for place, median, most in zip(places, medians, high):
            axes.annotate(f"{median:.2f}", (place, 0), (0, 6), textcoords="offset points", ha="center", color="white")
            if most > top:
                axes.annotate(f"to {most:.1f}", (place, top), (8, -16), textcoords="offset points", size=13)
        axes.axhline(1.0, color="black", linewidth=1.4, linestyle="--")
        axes.set(title=title, xticks=places, xticklabels=bars, xlim=(-0.7, len(bars) - 0.3), ylim=(0, top))
        axes.grid(axis="x", visible=False)
    figure.axes[0].set_ylabel("times as fast as PyTorch + PEFT")
    return figure


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
    figure = new_figure(max(4.4 * len(panels) + 0.6, 8.4), 5.6)
    most = max(peaks[-1] for bars in panels.values() for peaks in bars.values()) / 1e6
    stages = {"imports": "0.8", "model and optimizer": "#56B4E9", "steps": "#0072B2"}
    for axes, (shape, bars) in zip(figure.subplots(1, len(panels), squeeze=False, sharey=True)[0], panels.items()):
        places = numpy.arange(len(bars))
        peaks = numpy.array(list(bars.values())).T / 1e6  # (stages, bars)
        before = numpy.zeros(len(bars))
        for (stage, color), peak in zip(stages.items(), peaks):
            axes.bar(places, peak - before, bottom=before, width=0.66, color=color, edgecolor="white", label=stage)
            before = peak
        for place, peak in zip(places, peaks[-1]):
            axes.annotate(f"{peak:,.0f}", (place, peak), (0, 4), textcoords="offset points", ha="center", size=13)
        axes.set(title=shape, xticks=places, ylim=(0, 1.08 * most))
        axes.set_xticklabels(bars, size=13)
        axes.grid(axis="x", visible=False)
    figure.axes[0].set_ylabel("most memory held (MB)")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(stages))
    return figure


@styled
def bench_scaling(letters):
    """Seconds and activation bytes of a step as one letter grows, with the formula's slope.

    Parameters
    ----------
    letters : dict of str to (values, seconds, flops, bytes, bytes_formula)
        For each letter, arrays over its points.

    Returns
    -------
    Figure
    """
    figure = new_figure(3.5 * len(letters) + 0.8, 7.6)
    rows = figure.subplots(2, len(letters), sharey="row", squeeze=False)
    for column, (letter, (values, seconds, flops, held, held_formula)) in enumerate(letters.items()):
        middle = len(values) // 2
        panels = (
            (rows[0, column], 1e3 * numpy.array(seconds), 1e3 * seconds[middle] * numpy.array(flops) / flops[middle]),
            (rows[1, column], numpy.array(held) / 1e6, numpy.array(held_formula) / 1e6),
        )
        for axes, measured, formula in panels:
            axes.plot(values, formula, color="0.72", linewidth=8, solid_capstyle="round", label="formula")
            axes.plot(values, measured, label="measured", **LINES[1] | {"linestyle": "-"})
            axes.set_xscale("log", base=2)
            axes.set_yscale("log", base=2)
            axes.set_xticks(values, [f"{value:g}" for value in values])
            axes.yaxis.set_major_formatter("{x:g}")
            axes.minorticks_off()
            axes.margins(y=0.1)
        rows[1, column].set_xlabel(f"${letter}$")
    rows[0, 0].set_ylabel("a step (ms)")
    rows[1, 0].set_ylabel("kept activations (MB)")
    rows[0, 0].legend()
    return figure


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
    names = list(next(iter(rungs.values())))
    figure = new_figure(4.2 * len(rungs) + 4.4, 0.62 * len(names) + 1.8)
    for axes, (shape, bars) in zip(figure.subplots(1, len(rungs), squeeze=False, sharey=True)[0], rungs.items()):
        medians, low, high = (numpy.array(column) for column in zip(*bars.values()))
        places = numpy.arange(len(bars))
        axes.barh(places, medians, color=OURS, height=0.62)
        axes.errorbar(medians, places, xerr=(medians - low, high - medians), fmt="none", color="black", capsize=4)
        right = 1.5 * medians.max()  # a round in which the first rung stalled would flatten the others
        for place, median in zip(places, medians):
            axes.annotate(
                f"{median:.2f}",
                (right, place),
                (-4, 0),
                textcoords="offset points",
                va="center",
                ha="right",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
            )
        axes.set(title=shape, yticks=places, yticklabels=names, xlabel="times the first", xlim=(0, right))
        axes.grid(axis="y", visible=False)
    figure.axes[0].invert_yaxis()
    return figure


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
    figure = new_figure(4.4 * len(panels) + 1.4, 6.2)
    for axes, (shape, bars) in zip(figure.subplots(1, len(panels), squeeze=False, sharey=True)[0], panels.items()):
        low, medians, high = (numpy.array(column) for column in zip(*bars.values()))
        places = numpy.arange(len(bars))
        axes.bar(places, medians, width=0.7, color="#56B4E9")
        axes.errorbar(places, medians, (medians - low, high - medians), fmt="none", color="black", capsize=5)
        axes.axhline(0.0, color="black", linewidth=1.4)
        axes.set(title=shape)
        axes.set_xticks(places, bars, rotation=50, ha="right", rotation_mode="anchor", size=13)
        axes.grid(axis="x", visible=False)
    figure.axes[0].set_ylabel(ylabel)
    return figure

"""A score against a chosen number: a rank, a learning rate, a step."""

import numpy

from minilora.plots.labels import MOST_LABELS, caption, label_ends, letters, typeset, whiskers
from minilora.plots.style import WIDTH, looks, new_figure, styled
from minilora.plots.theme import theme

LONGEST = 9  # letters of a label with which two panels fit next to each other
NARROW = 20  # high / low of a logarithmic axis that has hardly a power of ten: up to here 2 and 5 are marked as well


@styled
def seed_curves(panels, *, xlabel, xscale=None, levels=None, note=None, n_seeds=None):
    """A curve through the means of the seeds for each label, with the range of the seeds as a band or as whiskers.

    Each curve has its label at its end, and each method its own colour and mark.

    Parameters
    ----------
    panels : dict of str to dict of str to list of (x, values)
        By the panel's title, and by the curve's label: the scores of the seeds at each x. None values are left out,
        and so is an x, or a curve, that has nothing else.
    xlabel : str
    xscale : {"log", "log2"}, optional
        "log2" is for few x, such as ranks: each is a tick, and has whiskers, next to each other where curves meet.
    levels : dict of str to (str, float), optional
        By the panel's title: the label and the height of a line across.
    note : str, optional
        For the small print.
    n_seeds : int, optional
        How many seeds the small print names; the most values that stand at an x, if not given.

    Returns
    -------
    Figure
    """
    known = {title: known_points(lines) for title, lines in panels.items()}
    longest = max((letters(label) for lines in known.values() for label in lines), default=0)
    columns = 2 if len(panels) > 1 and longest <= LONGEST else 1
    rows = -(-len(panels) // columns)
    height = 3.3 if len(panels) > 1 else 4.4  # inches of a panel
    figure = new_figure(WIDTH, height * rows + 0.7)
    all_axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in all_axes[len(panels) :]:
        axes.remove()
    look = looks(dict.fromkeys(label for lines in known.values() for label in lines))
    for n, (axes, (title, lines)) in enumerate(zip(all_axes, known.items())):
        level = (levels or {}).get(title)
        one_panel(axes, lines, look, xscale, level, height - 0.9)
        axes.set_title(typeset(title))
        if n + columns >= len(panels):
            axes.set_xlabel(xlabel)
    many = max((len(v) for lines in known.values() for points in lines.values() for _, v in points), default=1)
    said = whiskers(n_seeds or many, what="Whisker" if xscale == "log2" else "Band")
    return caption(figure, note=" ".join(part for part in (note, said) if part))


def known_points(lines):
    """The curves with what is known of each: (x, ndarray of values) for every x that has any."""
    known = {}
    for label, points in lines.items():
        known[label] = [(x, numpy.array([v for v in values if v is not None])) for x, values in points]
        known[label] = [(x, values) for x, values in known[label] if len(values)]
    return {label: points for label, points in known.items() if points}


def one_panel(axes, lines, look, xscale, level, height):
    """Curves, their ranges, and their labels."""
    page = theme()
    if xscale is not None:
        axes.set_xscale("log", base=2 if xscale == "log2" else 10)
    ends = []
    for k, (label, points) in enumerate(lines.items()):
        x, values = zip(*points)
        x = numpy.array(x, dtype=float)
        means, low, high = (numpy.array([f(v) for v in values]) for f in (numpy.mean, numpy.min, numpy.max))
        if xscale == "log2":
            x = x * 2.0 ** (0.11 * (k - (len(lines) - 1) / 2))  # whiskers of two curves stand next to each other
        if xscale == "log2" or len(x) == 1:
            spans = numpy.maximum((means - low, high - means), 0)  # the mean of equal numbers may be off by rounding
            axes.errorbar(x, means, spans, fmt="none", ecolor=look[label].color, elinewidth=1.8, capsize=4)
        else:
            axes.fill_between(x, low, high, color=look[label].color, alpha=0.16, linewidth=0)
        axes.plot(x, means, label=label, markevery=max(1, len(x) // 12), **look[label].line())
        ends.append((x[-1], means[-1], typeset(label), look[label].color))
    if level is not None:
        name, y = level
        axes.axhline(y, color=page.soft, linewidth=1.4, linestyle=(0, (5, 3)))
        ends.append((axes.get_xlim()[1], y, name, page.soft))
    if xscale == "log2":
        ticks = sorted({x for points in lines.values() for x, _ in points})
        axes.set_xticks(ticks, [f"{x:g}" for x in ticks])
        axes.minorticks_off()
    elif xscale == "log":
        known = [x for points in lines.values() for x, _ in points]
        if min(known) < max(known) < NARROW * min(known):
            from matplotlib.ticker import LogLocator

            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.minorticks_off()
        number_ticks(axes.xaxis)
    if len(ends) > MOST_LABELS:
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.08), ncols=2)
    elif len(ends) > 1:
        label_ends(axes, ends, height)


SMALLEST, LARGEST = 0.00005, 5_000_000  # numbers that a reader takes in without counting zeros


def number_ticks(axis):
    """Mark a logarithmic axis with numbers such as 0.001, 1 and 10,000; if one is huge or tiny, with powers of ten."""

    def text(value, _=None):
        low, high = axis.get_view_interval()
        shown = [tick for tick in axis.get_majorticklocs() if low <= tick <= high]
        return f"{value:,.12g}" if all(SMALLEST <= tick < LARGEST for tick in shown) else power_of_ten(value)

    axis.set_major_formatter(text)


def power_of_ten(value):
    """A positive number as a power of ten, or a small multiple of one, in mathtext."""
    exponent = int(numpy.floor(numpy.log10(value) + 1e-9))
    factor = value / 10.0**exponent
    power = f"10^{{{exponent}}}"
    return f"${power}$" if round(factor, 6) == 1 else rf"${factor:g} \cdot {power}$"

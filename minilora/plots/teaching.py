"""Pictures for the tutorials: small matrices with their numbers, verdicts, curves, attention, marked text."""

from itertools import cycle

import numpy

from minilora.plots.style import LINES, new_figure, styled

WIDEST = 12.5  # inches
CELL, SMALLEST_WITH_NUMBERS, GAP = 0.62, 0.44, 0.8  # inches
SHADES = {"blue": "#0072B2", "orange": "#F2B661", "white": "#FFFFFF", "grey": "#D9D9D9"}


@styled
def matrices(named, signs=(), *, own_scale=False):
    """Matrices next to each other, every entry a cell: orange above zero, purple below, white at zero, on one scale.

    Entries are written into their cells if these are large enough; if not, a negative one has a dash.

    Parameters
    ----------
    named : dict of str to ndarray of shape (rows, columns), or (columns,)
        By label, which may hold mathematics.
    signs : sequence of str, optional
        What to write between one and the next, such as "=" or "@".
    own_scale : bool
        Scale the colours of each matrix by its own largest entry.

    Returns
    -------
    Figure
    """
    arrays = {label: numpy.atleast_2d(array) for label, array in named.items()}
    largest = max(numpy.abs(array).max() for array in arrays.values())
    columns = sum(array.shape[1] for array in arrays.values())
    rows = max(array.shape[0] for array in arrays.values())
    cell = min(CELL, (WIDEST - GAP * len(arrays)) / columns)
    gap = GAP / cell  # in cells, as all that follows
    width, height = columns + gap * len(arrays), rows + 2.0 * CELL / cell  # with labels above and shapes below
    figure = new_figure(cell * width, cell * height)
    axes = figure.add_subplot(xlim=(0, width), ylim=(height / 2, -height / 2))
    axes.axis("off")
    x0 = gap / 2
    for i, (label, array) in enumerate(arrays.items()):
        n_rows, n_columns = array.shape
        scale = (numpy.abs(array).max() if own_scale else largest) or 1.0
        _cells(axes, array, x0, -n_rows / 2, scale, cell)
        middle = x0 + n_columns / 2
        axes.annotate(label, (middle, -n_rows / 2), (0, 8), textcoords="offset points", ha="center", size=17)
        shape = f"{n_rows} × {n_columns}"
        axes.annotate(shape, (middle, n_rows / 2), (0, -8), textcoords="offset points", ha="center", va="top", size=12)
        x0 += n_columns + gap
        if i < len(signs):
            axes.text(x0 - gap / 2, 0, signs[i], ha="center", va="center", size=20)
    return figure


def _cells(axes, array, x0, y0, scale, cell):
    n_rows, n_columns = array.shape
    x, y = x0 + numpy.arange(n_columns + 1), y0 + numpy.arange(n_rows + 1)
    edge = {"edgecolors": "0.75", "linewidth": 0.8 if cell > 0.2 else 0.2}
    axes.pcolormesh(x, y, -array / scale, cmap="PuOr", vmin=-1.6, vmax=1.6, **edge)
    for (i, j), value in numpy.ndenumerate(array):
        if cell >= SMALLEST_WITH_NUMBERS:
            axes.text(x[j] + 0.5, y[i] + 0.5, _short(value), ha="center", va="center", size=12)
        elif value < 0 and cell >= 0.15:
            axes.text(x[j] + 0.5, y[i] + 0.5, "–", ha="center", va="center", size=9)


def _short(value):
    """At most five characters of a number."""
    if value == 0 or (float(value).is_integer() and abs(value) < 1000):
        return f"{value:.0f}"
    if 0.005 <= abs(value) < 100:
        return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"


@styled
def word_grid(table, shades):
    """A table with a word in each cell, shaded by the word.

    Parameters
    ----------
    table : dict of str to dict of str to str
        By row, and by column; the columns are those of the first row.
    shades : dict of str to {"blue", "orange", "white", "grey"}
        By word; the words on blue are white.

    Returns
    -------
    Figure
    """
    columns = list(next(iter(table.values())))
    margin = 0.115 * max(len(row) for row in table)
    figure = new_figure(margin + max(1.15 * len(columns), 4.0) + 0.5, 0.52 * len(table) + 1.5)
    axes = figure.subplots()
    for i, row in enumerate(table.values()):
        for j, column in enumerate(columns):
            word, shade = row[column], shades[row[column]]
            axes.fill([j, j + 1, j + 1, j], [i, i, i + 1, i + 1], facecolor=SHADES[shade], edgecolor="0.6", linewidth=1)
            ink = "white" if shade == "blue" else "black"
            axes.text(j + 0.5, i + 0.5, word, ha="center", va="center", size=13, color=ink)
    axes.set(xlim=(0, len(columns)), ylim=(len(table), 0))
    axes.set_xticks(numpy.arange(len(columns)) + 0.5, columns)
    axes.set_yticks(numpy.arange(len(table)) + 0.5, table)
    axes.tick_params(length=0, labelsize=13)
    axes.xaxis.tick_top()
    axes.grid(False)
    axes.spines[:].set_visible(False)
    return figure


@styled
def curves(lines, *, x, y, log=""):
    """Curves over one axis, each with a colour, a dash and a marker of its own.

    Parameters
    ----------
    lines : dict of str to (xs, ys)
    x, y : str
        The labels of the axes.
    log : {"", "x", "y", "xy"}
        Which axes are logarithmic.

    Returns
    -------
    Figure
    """
    figure = new_figure(9.5, 5.0)
    axes = figure.subplots()
    for (label, (xs, ys)), line in zip(lines.items(), cycle(LINES)):
        every = max(1, len(xs) // 12)
        axes.plot(xs, ys, label=label, markevery=every, markeredgecolor="black", **line)
    axes.set(xlabel=x, ylabel=y, xscale="log" if "x" in log else "linear", yscale="log" if "y" in log else "linear")
    if len(lines) > 1:
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)  # above, where no curve can be
    return figure


@styled
def bars(values, *, x, form="{:,.0f}", log=False):
    """A bar for each value, with the value at its end, the first on top.

    Parameters
    ----------
    values : dict of str to float
    x : str
        The label of the axis.
    form : str
        How a value is written.
    log : bool

    Returns
    -------
    Figure
    """
    figure = new_figure(9.5, 0.58 * len(values) + 1.3)
    axes = figure.subplots()
    drawn = axes.barh(list(values), list(values.values()), color=SHADES["blue"], height=0.62)
    axes.bar_label(drawn, [form.format(value) for value in values.values()], padding=6, size=14)
    axes.set(xlabel=x, xscale="log" if log else "linear", ylim=(len(values) - 0.5, -0.5))
    axes.margins(x=0.14)
    if log:
        axes.set_xlim(left=min(values.values()) / 3)
    axes.grid(axis="y", visible=False)
    return figure


@styled
def timings(measured, *, x="milliseconds"):
    """A row for each thing that was timed: a dot for every time, a stroke at the smallest, with its value above.

    The smallest is what the code needs; anything above it is other programs using the core. Times of more than
    three times the largest of the smallest ones are cut off.

    Parameters
    ----------
    measured : dict of str to sequence of float
    x : str
        The unit.

    Returns
    -------
    Figure
    """
    figure = new_figure(9.5, 0.66 * len(measured) + 1.3)
    axes = figure.subplots()
    smallest = [min(times) for times in measured.values()]
    for place, times, least, line in zip(range(len(measured)), measured.values(), smallest, cycle(LINES)):
        dots = {"linestyle": "none", "marker": line["marker"], "color": line["color"], "alpha": 0.55}
        axes.plot(times, numpy.full(len(times), place), **dots)
        axes.plot(least, place, marker="|", markersize=26, markeredgewidth=3, color="black")
        axes.annotate(f"{least:.3g}", (least, place), (0, 16), textcoords="offset points", ha="center", size=13)
    axes.set(xlabel=x, yticks=range(len(measured)), ylim=(len(measured) - 0.4, -0.75))
    axes.set_yticklabels(measured)
    axes.set_xlim(0, min(1.05 * max(map(max, measured.values())), 3 * max(smallest)))
    return figure


def _visible(character):
    return "↵" if character == "\n" else character


@styled
def attention_map(probs, tokens):
    """Who looks at whom: a panel for each head, queries downwards, keys to the right, dark where probs is large.

    Parameters
    ----------
    probs : ndarray of shape (H, T, T)
    tokens : sequence of str, of length T

    Returns
    -------
    Figure
    """
    H, T, _ = probs.shape
    tokens = [_visible(token) for token in tokens]
    width = max(3.0, 0.21 * T)
    figure = new_figure(width * H + 1.6, width + 1.1)
    panels = figure.subplots(1, H, sharey=True, squeeze=False)[0]
    for h, axes in enumerate(panels):
        image = axes.imshow(probs[h], cmap="magma_r", vmin=0, vmax=1)
        axes.set(title=f"head {h}", xlabel="key (looked at)", xticks=range(T), yticks=range(T))
        axes.set_xticklabels(tokens, family="monospace", size=11)
        axes.set_yticklabels(tokens, family="monospace", size=11)
        axes.tick_params(length=0)
        axes.grid(False)
    panels[0].set_ylabel("query (looks)")
    figure.colorbar(image, ax=panels, label="probability", shrink=0.8)
    return figure


@styled
def marked_text(text, mask, *, marked, unmarked, width=60):
    """Text, character by character: on an orange ground where the mask is True, on grey elsewhere.

    Parameters
    ----------
    text : str
    mask : sequence of bool, of the length of the text
    marked, unmarked : str
        What the two kinds are, for the legend.
    width : int
        Characters per line.

    Returns
    -------
    Figure
    """
    n_lines = -(-len(text) // width)
    figure = new_figure(0.165 * width + 0.4, 0.34 * n_lines + 0.8)
    axes = figure.add_subplot(xlim=(-1, width + 1), ylim=(n_lines + 1.3, -0.3))
    axes.axis("off")
    for i, (character, counts) in enumerate(zip(text, mask, strict=True)):
        y, x = divmod(i, width)
        ground = {"facecolor": SHADES["orange" if counts else "grey"], "edgecolor": "white", "linewidth": 0.5}
        axes.fill([x, x + 1, x + 1, x], [y, y, y + 1, y + 1], **ground)
        axes.text(x + 0.5, y + 0.5, _visible(character), ha="center", va="center_baseline", family="monospace", size=13)
    for x, shade, label in (0, "orange", marked), (width / 2, "grey", unmarked):
        y = n_lines + 0.3
        axes.fill([x, x + 1, x + 1, x], [y, y, y + 0.8, y + 0.8], facecolor=SHADES[shade])
        axes.text(x + 1.6, y + 0.42, label, va="center", size=13)
    return figure

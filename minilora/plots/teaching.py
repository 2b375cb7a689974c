"""Pictures for the tutorials: verdicts, curves, bars, timings, attention, marked text."""

import numpy

from minilora.plots.labels import MOST_LABELS, caption, label_ends, typeset
from minilora.plots.seed_curves import number_ticks
from minilora.plots.style import SMALL, WIDTH, looks, method_of, new_figure, styled
from minilora.plots.theme import sequential, theme


def shade(name):
    """The ground of a word: "blue", "orange", "white" or "grey", and the ink on it."""
    page = theme()
    grounds = {"blue": page.hues["blue"], "orange": page.hues["pale"], "white": page.paper, "grey": page.sheet}
    return grounds[name], "#FFFFFF" if name == "blue" else page.ink


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
    figure = new_figure(WIDTH, 0.5 * len(table) + 1.0)
    axes = figure.subplots()
    for i, row in enumerate(table.values()):
        for j, column in enumerate(columns):
            word = row[column]
            ground, ink = shade(shades[word])
            corners = [j, j + 1, j + 1, j], [i, i, i + 1, i + 1]
            axes.fill(*corners, facecolor=ground, edgecolor=theme().soft, linewidth=1)
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
    figure = new_figure(WIDTH, 4.6)
    axes = figure.subplots()
    axes.set(xscale="log" if "x" in log else "linear", yscale="log" if "y" in log else "linear")
    look, ends = looks(lines), []
    for label, (xs, ys) in lines.items():
        axes.plot(xs, ys, label=label, markevery=max(1, len(xs) // 12), **look[label].line())
        ends.append((xs[-1], ys[-1], typeset(label), look[label].color))
    axes.set_title(typeset(y))
    axes.set_xlabel(x)
    if "x" in log:
        _ticks_at(axes, sorted({x for xs, _ in lines.values() for x in xs}))
    if len(lines) > MOST_LABELS:
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.06), ncols=2)
    elif len(lines) > 1:
        label_ends(axes, ends, 3.6)
    return figure


def _ticks_at(axes, xs):
    """Ticks of a logarithmic axis: at every power of two if all numbers are, as ranks are; at powers of ten else."""
    if len(xs) <= 12 and all(x == round(x) and int(x) & (int(x) - 1) == 0 for x in xs):
        axes.set_xscale("log", base=2)
        axes.set_xticks(xs, [f"{x:g}" for x in xs])
        axes.minorticks_off()
    else:
        number_ticks(axes.xaxis)


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
    figure = new_figure(WIDTH, 0.46 * len(values) + 1.1)
    axes = figure.subplots()
    look, page = looks(values), theme()
    colors = [look[label].color if method_of(label) else page.hues["grey"] for label in values]
    drawn = axes.barh(list(map(typeset, values)), list(values.values()), color=colors, height=0.62)
    axes.bar_label(drawn, [form.format(value) for value in values.values()], padding=6)
    axes.set(xlabel=x, xscale="log" if log else "linear", ylim=(len(values) - 0.5, -0.5))
    axes.margins(x=0.14)
    if log:
        axes.set_xlim(left=min(values.values()) / 3)
        number_ticks(axes.xaxis)
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
    figure = new_figure(WIDTH, 0.6 * len(measured) + 1.1)
    axes, page = figure.subplots(), theme()
    smallest = [min(times) for times in measured.values()]
    right = min(1.05 * max(map(max, measured.values())), 3 * max(smallest))
    for place, (times, least, look) in enumerate(zip(measured.values(), smallest, looks(measured).values())):
        axes.plot(times, numpy.full(len(times), place), linestyle="none", alpha=0.5, **look.marks())
        axes.plot(least, place, marker="|", markersize=22, markeredgewidth=3, color=page.ink)
    names = [f"{typeset(label)}   {least:.3g}" for label, least in zip(measured, smallest)]
    axes.set(xlabel=x, yticks=range(len(measured)), ylim=(len(measured) - 0.5, -0.5), xlim=(0, right))
    axes.set_yticklabels(names)
    cut = sum(time > right for times in measured.values() for time in times)
    total = sum(map(len, measured.values()))
    beyond = f" {cut} of the {total} times lie beyond the picture." if cut else ""
    return caption(figure, note="Stroke and number: the smallest time." + beyond)


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
    columns = min(H, 2)
    rows = -(-H // columns)
    side = (WIDTH - 1.6) / 2
    figure = new_figure(side * columns + 1.6, (side + 0.6) * rows)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels[H:]:
        axes.remove()
    size = min(SMALL, 60 * side / T)
    for h, axes in enumerate(panels[:H]):
        image = axes.imshow(probs[h], cmap=sequential(), vmin=0, vmax=1)
        axes.set(title=f"head {h}", xticks=range(T), yticks=range(T))
        if h + columns >= H:
            axes.set_xlabel("key (looked at)")
        if h % columns == 0:
            axes.set_ylabel("query (looks)")
        axes.set_xticklabels(tokens, family="monospace", size=size)
        axes.set_yticklabels(tokens, family="monospace", size=size)
        axes.tick_params(length=0)
        axes.grid(False)
    figure.colorbar(image, ax=panels[:H], label="probability", shrink=0.8, fraction=0.05)
    return figure


@styled
def marked_text(text, mask, *, marked, unmarked, width=50):
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
    figure = new_figure(0.165 * width + 0.3, 0.34 * n_lines + 0.8)
    axes = figure.add_subplot(xlim=(-1, width + 1), ylim=(n_lines + 1.3, -0.3))
    axes.axis("off")
    for i, (character, counts) in enumerate(zip(text, mask, strict=True)):
        y, x = divmod(i, width)
        ground = {"facecolor": shade("orange" if counts else "grey")[0], "edgecolor": theme().paper, "linewidth": 0.5}
        axes.fill([x, x + 1, x + 1, x], [y, y, y + 1, y + 1], **ground)
        axes.text(x + 0.5, y + 0.5, _visible(character), ha="center", va="center_baseline", family="monospace", size=13)
    for x, name, label in (0, "orange", marked), (width / 2, "grey", unmarked):
        y = n_lines + 0.3
        axes.fill([x, x + 1, x + 1, x], [y, y, y + 0.8, y + 0.8], facecolor=shade(name)[0])
        axes.text(x + 1.6, y + 0.42, label, va="center", size=13)
    return figure

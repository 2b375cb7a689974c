"""Small matrices with their numbers, and larger ones in colours."""

import numpy

from minilora.plots.labels import contrast, typeset
from minilora.plots.style import SMALL, WIDTH, new_figure, styled
from minilora.plots.theme import diverging, theme

CELL, SMALLEST_WITH_NUMBERS, GAP = 0.62, 0.44, 0.8  # inches


@styled
def matrices(named, signs=(), *, own_scale=False):
    """Matrices next to each other, every entry a cell: orange above zero, purple below, white at zero, on one scale.

    Entries are written into their cells if these are large enough.

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
    cell = min(CELL, (WIDTH - GAP * len(arrays)) / columns)
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
        axes.annotate(typeset(label), (middle, -n_rows / 2), (0, 8), textcoords="offset points", ha="center", size=17)
        shape = f"{n_rows} × {n_columns}"
        axes.annotate(
            shape, (middle, n_rows / 2), (0, -8), textcoords="offset points", ha="center", va="top", size=SMALL
        )
        x0 += n_columns + gap
        if i < len(signs):
            axes.text(x0 - gap / 2, 0, signs[i], ha="center", va="center", size=20)
    return figure


def _cells(axes, array, x0, y0, scale, cell):
    n_rows, n_columns = array.shape
    x, y = x0 + numpy.arange(n_columns + 1), y0 + numpy.arange(n_rows + 1)
    from matplotlib.colors import to_rgb

    page = theme()
    edge = {"edgecolors": page.grid, "linewidth": 0.8} if cell > 0.2 else {}
    mesh = axes.pcolormesh(x, y, array / scale, cmap=diverging(), vmin=-1.6, vmax=1.6, **edge)
    frame = [x[0], x[-1], x[-1], x[0], x[0]], [y[0], y[0], y[-1], y[-1], y[0]]
    axes.plot(*frame, color=page.soft, linewidth=1)
    if cell >= SMALLEST_WITH_NUMBERS:
        for (i, j), value in numpy.ndenumerate(array):
            ground = mesh.to_rgba(value / scale)[:3]
            ink = max(("#000000", "#FFFFFF"), key=lambda color: contrast(to_rgb(color), ground))
            axes.text(x[j] + 0.5, y[i] + 0.5, _short(value), ha="center", va="center", size=SMALL, color=ink)


def _short(value):
    """At most five characters of a number."""
    if value == 0 or (float(value).is_integer() and abs(value) < 1000):
        return f"{value:.0f}"
    if 0.005 <= abs(value) < 100:
        return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"

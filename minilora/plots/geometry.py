"""Matrices as geometry: rows as arrows, what a matrix does to a circle, large matrices as images."""

import numpy

from minilora.plots.style import LINES, new_figure, styled

ARROW = {"arrowstyle": "-|>,head_width=0.3,head_length=0.7", "linewidth": 2.6, "shrinkA": 0, "shrinkB": 0}


@styled
def arrows(vectors):
    """Vectors of the plane, each an arrow from the origin with its label beside the head.

    Those that are multiples of each other share a colour, a dash, and the line that is drawn through them.

    Parameters
    ----------
    vectors : dict of str to array_like of shape (2,)

    Returns
    -------
    Figure
    """
    heads = numpy.array(list(vectors.values()), dtype=float)  # (n, 2)
    margin = 0.3 * numpy.abs(heads).max()
    low, high = numpy.minimum(heads.min(axis=0), 0) - margin, numpy.maximum(heads.max(axis=0), 0) + margin
    width, height = high - low
    figure = new_figure(5.6 * width / height + 0.8, 5.6)
    axes = figure.subplots()
    lines = []  # a vector of each line that has been drawn
    for label, v in zip(vectors, heads):
        k = next((k for k, u in enumerate(lines) if numpy.isclose(u[0] * v[1], u[1] * v[0])), len(lines))
        color, dash = (LINES[k % len(LINES)][key] for key in ("color", "linestyle"))
        if k == len(lines):
            lines.append(v)
            axes.axline((0, 0), v, color=color, linestyle=dash, linewidth=1.4, alpha=0.6)
        side = numpy.array([v[1], -v[0]]) * (-1) ** k / numpy.linalg.norm(v)  # to the right, to the left, ...
        _arrow(axes, v, color, label, 34 * side)
    _plane(axes, (low[0], high[0]), (low[1], high[1]))
    return figure


@styled
def circle_and_image(M, U, S, Vt):
    """What a 2 x 2 matrix does to a circle: v1 and v2 become S1 u1 and S2 u2, the half-axes of an ellipse.

    Parameters
    ----------
    M : ndarray of shape (2, 2)
    U, S, Vt : ndarray
        Its singular value decomposition.

    Returns
    -------
    Figure
    """
    figure = new_figure(11, 5.4)
    left, right = figure.subplots(1, 2)
    angle = numpy.linspace(0, 2 * numpy.pi, 200)
    circle = numpy.stack((numpy.cos(angle), numpy.sin(angle)))  # (2, 200)
    reach = 1.35 * max(1.0, S[0])
    for axes, shape, title in ((left, circle, "$x$, of length 1"), (right, M @ circle, "$M x$")):
        axes.plot(*shape, color="0.35", linewidth=2)
        axes.set_title(title)
        _plane(axes, (-reach, reach), (-reach, reach))
    for i, line in zip(range(2), LINES):
        for axes, v, label in ((left, Vt[i], f"$v_{i + 1}$"), (right, S[i] * U[:, i], rf"$\sigma_{i + 1} u_{i + 1}$")):
            _arrow(axes, v, line["color"], label, 20 * v / numpy.linalg.norm(v))
    return figure


def _arrow(axes, v, color, label, offset):
    """An arrow from the origin to v, and its label so many points beside the head."""
    axes.annotate("", v, (0, 0), arrowprops={**ARROW, "color": color})
    axes.annotate(label, v, offset, textcoords="offset points", ha="center", va="center", size=17, color=color)


def _plane(axes, xlim, ylim):
    axes.set(xlim=xlim, ylim=ylim, aspect="equal")
    for line in (axes.axhline, axes.axvline):
        line(0, color="0.6", linewidth=1)


@styled
def images(named):
    """Large matrices side by side on one scale: orange above zero, purple below, white at zero.

    The scale ends at the size that one entry in a hundred of the last matrix exceeds: a few large ones would make all
    others white.

    Parameters
    ----------
    named : dict of str to ndarray of shape (rows, columns)
        By label, which may hold mathematics.

    Returns
    -------
    Figure
    """
    scale = numpy.percentile(numpy.abs(list(named.values())[-1]), 99) or 1.0
    figure = new_figure(4.2 * len(named), 4.9)
    for axes, (label, array) in zip(figure.subplots(1, len(named), squeeze=False)[0], named.items()):
        axes.imshow(-array, cmap="PuOr", vmin=-1.6 * scale, vmax=1.6 * scale)
        axes.set(title=label, xticks=[], yticks=[], xlabel=f"{array.shape[0]} × {array.shape[1]}")
        axes.grid(False)
        axes.spines[:].set_visible(False)
    return figure

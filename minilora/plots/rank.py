"""What rank is: rows as arrows, elimination, what a matrix does to a circle, and where a spectrum is cut."""

import numpy

from minilora.plots.labels import legible
from minilora.plots.style import WIDTH, new_figure, series, styled
from minilora.plots.theme import theme

ARROW = {"arrowstyle": "-|>,head_width=0.3,head_length=0.7", "linewidth": 2.6, "shrinkA": 0, "shrinkB": 0}
MOST_STEPS = 24  # of an elimination


@styled
def arrows(vectors, *, distinct=False):
    """Vectors in the plane, each an arrow from the origin with its label next to the head.

    Multiples of each other share a colour, a dash, and a line that is drawn through them.

    Parameters
    ----------
    vectors : dict of str to array_like of shape (2,)
    distinct : bool
        Give each arrow its own colour; of two on one line, the shorter is drawn over the longer.

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
    drawn = zip(vectors, heads)
    if distinct:
        drawn = sorted(drawn, key=lambda arrow: -numpy.linalg.norm(arrow[1]))
    for n, (label, v) in enumerate(drawn):
        k = next((k for k, u in enumerate(lines) if numpy.isclose(u[0] * v[1], u[1] * v[0])), len(lines))
        color, dash = series(k).color, series(k).dash
        if distinct:
            color = series(n).color
        if k == len(lines):
            lines.append(v)
            axes.axline((0, 0), v, color=color, linestyle=dash, linewidth=1.4, alpha=0.6)
        side = numpy.array([v[1], -v[0]]) * (-1) ** k / numpy.linalg.norm(v)  # to the right, to the left, ...
        _arrow(axes, v, color, label, 34 * side)
    _plane(axes, (low[0], high[0]), (low[1], high[1]))
    return figure


@styled
def elimination(result):
    """Elimination: the matrix after each step, in fractions, with a description of the step above it.

    Rows that a step has changed are orange; rows of zeros are crossed out; in the last matrix the pivots are framed.

    Parameters
    ----------
    result : Elimination
        From `matrix_rank_steps`, with up to 24 steps, counting the matrix itself.

    Returns
    -------
    Figure
    """
    n, matrices = len(result.steps), [step.matrix for step in result.steps]
    if n > MOST_STEPS:
        raise ValueError(f"the elimination had {n} steps, with the matrix itself; it must have at most {MOST_STEPS}")
    longest = max(len(str(entry)) for matrix in matrices for row in matrix for entry in row)
    width = max(2.8, 0.5 + (0.42 + 0.13 * longest) * len(matrices[0][0]))  # inches
    in_a_row = min(n, max(1, int(WIDTH / width)))
    rows = -(-n // in_a_row)
    figure = new_figure(in_a_row * width, rows * (0.62 * len(matrices[0]) + 0.9) + 0.5)
    all_axes = figure.subplots(rows, in_a_row, squeeze=False).ravel()
    for axes in all_axes:
        axes.axis("off")
    for axes in all_axes[n:]:
        axes.remove()
    for axes, step, before in zip(all_axes, result.steps, (matrices[0], *matrices)):
        axes.set_title(step.operation, size=13)
        _fractions(axes, step.matrix, before)
    for row, column in enumerate(result.pivots):
        left, right, top, bottom = column + 0.1, column + 0.9, row + 0.1, row + 0.9
        frame = [left, right, right, left, left], [top, top, bottom, bottom, top]
        all_axes[n - 1].plot(*frame, color=theme().hues["blue"], linewidth=3)
    rest = f"{result.rank} row is" if result.rank == 1 else f"{result.rank} rows are"
    figure.supxlabel(f"{rest} left, not zero, each with a pivot (framed): the rank is {result.rank}", size=14)
    return figure


def _fractions(axes, matrix, before):
    """A matrix in brackets; rows that have changed are orange, rows of zeros are crossed out."""
    m, n = len(matrix), len(matrix[0])
    axes.set(xlim=(-0.35, n + 0.35), ylim=(m + 0.15, -0.15))
    for tip, back in ((0, -0.25), (n, n + 0.25)):
        axes.plot([tip, back, back, tip], [0, 0, m, m], color=theme().ink, linewidth=2)
    for i, (row, old) in enumerate(zip(matrix, before)):
        if row != old:
            axes.fill([0, n, n, 0], [i + 0.06, i + 0.06, i + 0.94, i + 0.94], facecolor=theme().hues["pale"])
        if not any(row):
            axes.plot([0, n], [i + 0.5, i + 0.5], color=theme().soft, linewidth=2)
        for j, entry in enumerate(row):
            axes.text(j + 0.5, i + 0.5, str(entry), ha="center", va="center", size=18)


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
    figure = new_figure(WIDTH, 4.6)
    left, right = figure.subplots(1, 2)
    angle = numpy.linspace(0, 2 * numpy.pi, 200)
    circle = numpy.stack((numpy.cos(angle), numpy.sin(angle)))  # (2, 200)
    reach = 1.35 * max(1.0, S[0])
    for axes, shape, title in ((left, circle, "$x$, of length 1"), (right, M @ circle, "$M x$")):
        axes.plot(*shape, color=theme().soft, linewidth=2)
        axes.set_title(title)
        _plane(axes, (-reach, reach), (-reach, reach))
    for i, look in enumerate((series(0), series(2))):
        for axes, v, label in ((left, Vt[i], f"$v_{i + 1}$"), (right, S[i] * U[:, i], rf"$\sigma_{i + 1} u_{i + 1}$")):
            _arrow(axes, v, look.color, label, 20 * v / numpy.linalg.norm(v))
    return figure


def _arrow(axes, v, color, label, offset):
    """An arrow from the origin to v, with its label `offset` points from the head."""
    axes.annotate("", v, (0, 0), arrowprops={**ARROW, "color": color})
    axes.annotate(label, v, offset, textcoords="offset points", ha="center", va="center", size=17, color=legible(color))


def _plane(axes, xlim, ylim):
    axes.set(xlim=xlim, ylim=ylim, aspect="equal")
    for line in (axes.axhline, axes.axvline):
        line(0, color=theme().soft, linewidth=1)


@styled
def spectrum_cut(S, tolerance):
    """The numerical rank as a cut of the spectrum: how many singular values lie above a tolerance.

    Parameters
    ----------
    S : ndarray of shape (n,)
        Singular values, from large to small, the first above zero.
    tolerance : float
        Anything up to this may be rounding; above zero.

    Returns
    -------
    Figure
    """
    if not (S[0] > 0 and tolerance > 0):
        raise ValueError(f"S began with {S[0]}, and tolerance was {tolerance}; both must be numbers above 0")
    page = theme()
    figure = new_figure(WIDTH, 4.8)
    axes = figure.subplots()
    i, rank = numpy.arange(1, len(S) + 1), numpy.count_nonzero(S > tolerance)
    bottom = 0.1 * min(tolerance, *S[S > 0])
    drawn = numpy.maximum(S, 2 * bottom)  # a zero has its place, too
    kinds = (
        (slice(rank), page.hues["blue"], "o", f"above: the numerical rank is {rank}"),
        (slice(rank, None), page.hues["pale"], "s", "not above: can be rounding alone"),
    )
    for part, color, marker, label in kinds:
        axes.vlines(i[part], bottom, drawn[part], color=color, linewidth=6)
        axes.plot(i[part], drawn[part], marker, color=color, markeredgecolor=page.ink, markersize=11, label=label)
    axes.axhline(tolerance, color=page.ink, linestyle="--", linewidth=1.6, label=f"tolerance {tolerance:.0e}")
    axes.set(yscale="log", ylim=(bottom, 10 * S[0]), xlim=(0.3, len(S) + 0.7))
    axes.set(xlabel="index $i$ of the direction", ylabel=r"singular value $\sigma_i$")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(axis="x", visible=False)
    axes.legend(loc="upper right")
    return figure

"""What Llama's attention has that GPT-2's has not, in drawings: rotations, and heads in groups."""

import numpy

from minilora.plots.style import METHODS, WIDTH, new_figure, styled
from minilora.plots.theme import theme


@styled
def rotations(angles):
    """How far each plane has turned at each position: a dial for each, its hand at the angle, from the right upwards.

    Parameters
    ----------
    angles : ndarray of shape (T, planes)
        In radians; a column of dials for each position, a row for each plane.

    Returns
    -------
    Figure
    """
    angles = numpy.asarray(angles)
    T, n_planes = angles.shape
    cell = min(0.72, (WIDTH - 1.0) / T)  # inches of a dial
    figure = new_figure(cell * T + 1.0, cell * n_planes + 0.9)
    page, hand = theme(), METHODS["lora"].color
    axes = figure.add_subplot(xlim=(-0.6, T - 0.4), ylim=(n_planes - 0.4, -0.6), aspect="equal")
    turn = numpy.linspace(0, 2 * numpy.pi, 60)
    x, y = 0.4 * numpy.cos(turn), -0.4 * numpy.sin(turn)
    for (t, i), angle in numpy.ndenumerate(angles):
        axes.fill(t + x, i + y, facecolor=page.paper, edgecolor=page.soft)
        axes.plot((t, t + 0.38 * numpy.cos(angle)), (i, i - 0.38 * numpy.sin(angle)), color=hand, linewidth=2.4)
    axes.set(xticks=range(T), yticks=range(n_planes), xlabel="position", ylabel="plane")
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    return figure


@styled
def head_groups(H, G):
    """Which query head reads which key-value head: H boxes above, G below, and a line from each to the one it reads.

    Parameters
    ----------
    H, G : int
        G divides H.

    Returns
    -------
    Figure
    """
    page = theme()
    figure = new_figure(min(WIDTH, 0.95 * H + 1.2), 3.4)
    axes = figure.add_subplot(xlim=(-0.8, H - 0.2), ylim=(-0.2, 3.3), aspect="auto")
    axes.axis("off")
    J = H // G
    for g in range(G):
        middle = g * J + (J - 1) / 2
        for h in range(g * J, (g + 1) * J):
            axes.plot((h, middle), (2.1, 1.1), color=page.soft, linewidth=1.8)
            _box(axes, h, 2.1, f"$q_{{{h}}}$", page.paper, page.soft, 0.8)
        _box(axes, middle, 0.2, f"$k_{{{g}}}, v_{{{g}}}$", *page.frozen, max(1.4, 0.5 * J))
    return figure


def _box(axes, x, y, text, face, edge, width):
    left, right = x - width / 2, x + width / 2
    axes.fill([left, right, right, left], [y, y, y + 0.9, y + 0.9], facecolor=face, edgecolor=edge, linewidth=1.8)
    axes.text(x, y + 0.45, text, ha="center", va="center", size=19)

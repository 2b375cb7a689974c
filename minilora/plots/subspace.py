"""How phi is counted: the squared cosines between two sets of directions, and the block of them that phi(i, j) sums."""

import numpy

from minilora.plots.analysis import counts
from minilora.plots.labels import legible
from minilora.plots.style import WIDTH, new_figure, series, styled
from minilora.plots.theme import sequential, theme


@styled
def overlap(G, i, j, *, first="$A_1$", second="$A_2$"):
    """Squared cosines between two sets of directions, with a frame around those that phi(i, j) sums.

    Parameters
    ----------
    G : ndarray of shape (r1, r2)
        (v_a . v_b)^2 for each direction v_a of the first set and v_b of the second.
    i, j : int
        How many directions of each are compared.
    first, second : str
        Whose directions they are.

    Returns
    -------
    Figure
    """
    r1, r2 = G.shape
    phi = G[:i, :j].sum() / min(i, j)
    figure = new_figure(WIDTH, max(3.0, 1.9 + 0.3 * r1))
    axes = figure.subplots()
    image = axes.imshow(G, cmap=sequential(), vmin=0, vmax=1, aspect="auto", extent=(0.5, r2 + 0.5, r1 + 0.5, 0.5))
    frame = [0.5, j + 0.5, j + 0.5, 0.5, 0.5], [0.5, 0.5, i + 0.5, i + 0.5, 0.5]
    axes.plot(*frame, color=theme().hues["blue"], linewidth=4, clip_on=False, solid_joinstyle="miter")
    axes.set_title(rf"sum in the frame / min({i}, {j}) = $\varphi$({i}, {j}) = {phi:.2f}")
    axes.set(xlabel=f"direction of {second}", ylabel=f"direction of {first}")
    axes.set(xticks=counts(r2), yticks=counts(r1))
    axes.grid(False)
    figure.colorbar(image, ax=axes, label="squared cosine")
    return figure


@styled
def two_lines(angle):
    """Two lines through the origin at an angle, and the cosine between them as a projection.

    Parameters
    ----------
    angle : float
        In degrees, from 0 to 90.

    Returns
    -------
    Figure
    """
    cosine, sine = numpy.cos(numpy.radians(angle)), numpy.sin(numpy.radians(angle))
    figure = new_figure(6.6, 4.8)
    axes = figure.subplots()
    for head, label, line in (((1, 0), "$u$", series(0)), ((cosine, sine), "$v$", series(2))):
        axes.axline((0, 0), head, color=line.color, linestyle=line.dash, linewidth=1.4, alpha=0.6)
        arrow = {"arrowstyle": "-|>,head_width=0.3,head_length=0.7", "linewidth": 2.6, "color": line.color}
        axes.annotate("", head, (0, 0), arrowprops={**arrow, "shrinkA": 0, "shrinkB": 0})
        axes.annotate(label, head, (8, 10), textcoords="offset points", size=18, color=legible(line.color))
    axes.plot([cosine, cosine], [sine, 0], color=theme().soft, linestyle=":")
    axes.plot([0, cosine], [0, 0], color=theme().ink, linewidth=5)
    axes.set_title(rf"$u \cdot v$ = {cosine:.2f},   $\varphi = (u \cdot v)^2$ = {cosine**2:.2f}")
    axes.set(xlim=(-0.15, 1.35), ylim=(-0.15, 1.15), aspect="equal")
    return figure

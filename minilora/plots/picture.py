"""LoRA in one drawing."""

import functools

from minilora.plots.style import WIDTH, new_figure, styled
from minilora.plots.theme import theme


@styled
def lora_picture():
    """LoRA in one drawing: h = W0 x + (alpha / r) B A x, from x at the bottom to h at the top.

    Returns
    -------
    Figure
    """
    page = theme()
    (frozen, frozen_edge), (trained, trained_edge) = page.frozen, page.trained
    figure = new_figure(WIDTH, 6.1)
    axes = figure.add_subplot(xlim=(0.4, 13.8), ylim=(0.2, 9.6), aspect="equal")
    axes.axis("off")
    left, middle, right = 2.9, 5.6, 8.3  # the columns: W0; x and h; A and B
    wide, narrow = 4.2, 1.0  # I (= O) features; r of them
    write = functools.partial(axes.text, ha="center", va="center", linespacing=1.5)
    note = functools.partial(write, ha="left", size=16)

    # x, and its two ways up
    _vector(axes, middle, 0.4, wide, 12)
    note(middle + wide / 2 + 0.3, 0.6, "$x$", size=26)
    note(middle + wide / 2 + 0.85, 0.6, "$I$ features")
    _flow(axes, (middle, 0.8), (middle, 1.3), (left, 1.3), (left, 2.0))
    _flow(axes, (middle, 0.8), (middle, 1.3), (right, 1.3), (right, 2.0))

    # W0
    _block(axes, left, (2.0, wide), (6.0, wide), frozen, frozen_edge)
    write(left, 4.4, "$W_0$", size=36)
    write(left, 3.45, r"$O \times I$", size=17)
    write(left, 2.45, "frozen", size=18, color=frozen_edge, weight="bold")

    # A, the r features between, and B
    _block(axes, right, (2.0, wide), (3.6, narrow), trained, trained_edge)
    write(right, 3.02, "$A$", size=26)
    write(right, 2.3, r"$r \times I$", size=16)
    _vector(axes, right, 3.8, narrow, 3)
    note(right + 0.8, 4.0, "$r$ features")
    _block(axes, right, (4.4, narrow), (6.0, wide), trained, trained_edge)
    write(right, 4.98, "$B$", size=26)
    write(right, 5.7, r"$O \times r$", size=16)
    for y, start in (5.2, "$B = 0$ at the start"), (2.8, "random at the start"):
        note(right + 2.3, y + 0.2, "trained", size=18, color=trained_edge, weight="bold")
        note(right + 2.3, y - 0.3, start)

    # their sum, h
    _flow(axes, (left, 6.0), (left, 7.3), (middle - 0.42, 7.3))
    _flow(axes, (right, 6.0), (right, 7.3), (middle + 0.42, 7.3))
    _flow(axes, (middle, 7.7), (middle, 8.1))
    ring = {"boxstyle": "circle", "facecolor": page.paper, "edgecolor": page.soft, "linewidth": 2}
    write(middle, 7.3, "$+$", size=22, bbox=ring)
    write(right, 6.65, r"$\frac{\alpha}{r}$", size=22, bbox=ring)
    _vector(axes, middle, 8.1, wide, 12)
    note(middle + wide / 2 + 0.3, 8.3, "$h$", size=26)
    note(middle + wide / 2 + 0.85, 8.3, "$O$ features")
    write(middle, 9.2, r"$h \;=\; W_0\, x \;+\; \frac{\alpha}{r}\, B A\, x$", size=32)
    return figure


def _block(axes, x, below, above, face, edge):
    """A matrix: a box whose width at each end, given as (height, width), is the length of the vector there."""
    from matplotlib.patches import Polygon

    (y0, width0), (y1, width1) = below, above
    corners = [(x - width0 / 2, y0), (x + width0 / 2, y0), (x + width1 / 2, y1), (x - width1 / 2, y1)]
    axes.add_patch(Polygon(corners, facecolor=face, edgecolor=edge, linewidth=2))


def _vector(axes, x, y, width, n):
    """A vector: a row of n cells."""
    from matplotlib.patches import Rectangle

    for k in range(n):
        corner = (x - width / 2 + k * width / n, y)
        axes.add_patch(
            Rectangle(corner, width / n, 0.4, facecolor=theme().paper, edgecolor=theme().soft, linewidth=1.5)
        )


def _flow(axes, *corners):
    """A line through the corners, with an arrow's head at its end."""
    axes.plot(*zip(*corners[:-1]), color=theme().soft, linewidth=2, solid_joinstyle="miter")
    head = {"arrowstyle": "-|>,head_width=0.35,head_length=0.6", "color": theme().soft, "linewidth": 2}
    axes.annotate("", corners[-1], corners[-2], arrowprops={**head, "shrinkA": 0, "shrinkB": 0})

"""Pictures that can be read from the back of a classroom, in grey, and by the colour-blind.

Each function takes NumPy arrays and returns a Figure; `save` writes it. Figures are made without pyplot, so that
nothing has to be closed, no window opens, and a notebook (after ``%matplotlib inline``) shows each of them once.
"""

import functools
import os
from itertools import cycle
from pathlib import Path

import numpy

# One colour, one dash and one marker for each curve. The colours are Okabe and Ito's.
LINES = (
    {"color": "#D55E00", "linestyle": "-", "marker": "o"},
    {"color": "#0072B2", "linestyle": "--", "marker": "s"},
    {"color": "#009E73", "linestyle": "-.", "marker": "^"},
    {"color": "#CC79A7", "linestyle": ":", "marker": "D"},
    {"color": "#000000", "linestyle": (0, (5, 1, 1, 1, 1, 1)), "marker": "v"},
)
FROZEN, FROZEN_EDGE = "#D6E2EC", "#3F5E7A"
TRAINED, TRAINED_EDGE = "#EE9F2D", "#A85A00"

STYLE = {
    "font.size": 15,
    "axes.titlesize": 16,
    "axes.labelsize": 16,
    "legend.fontsize": 14,
    "mathtext.fontset": "cm",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "0.88",
    "axes.axisbelow": True,
    "lines.linewidth": 2.6,
    "lines.markersize": 8,
    "legend.frameon": False,
}
DPI = 150


def styled(draw):
    """Run a drawing function in this module's style, whatever the user's own settings are."""

    @functools.wraps(draw)
    def wrapper(*args, **kwargs):
        from matplotlib.style import context

        with context(("default", STYLE)):
            return draw(*args, **kwargs)

    return wrapper


def new_figure(width, height):
    """An empty Figure of so many inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save(figure, path):
    """Write a figure as PNG. A reader of `path` finds the old picture or the new one, never a part.

    Parameters
    ----------
    figure : Figure
    path : str or Path
        Folders that are missing are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        figure.savefig(temporary, format="png", dpi=DPI)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@styled
def loss_curves(runs):
    """How the loss fell: the training loss as a moving average, the validation loss as points.

    Parameters
    ----------
    runs : dict of str to (losses, validation)
        By label: the training loss of every step, and (step, loss) pairs; in bits a byte.

    Returns
    -------
    Figure
    """
    figure = new_figure(10, 5.6)
    axes = figure.subplots()
    n = max(1, min(len(losses) for losses, _ in runs.values()) // 25)
    for (label, (losses, validation)), line in zip(runs.items(), cycle(LINES)):
        means = numpy.convolve(losses, numpy.full(n, 1 / n), mode="valid")  # (steps,) -> (steps - n + 1,)
        steps = numpy.arange(len(means)) + (n + 1) / 2  # the middle of each window; the first step is 1
        axes.plot(steps, means, color=line["color"], linestyle=line["linestyle"], label=f"{label}, training")
        points = {"color": line["color"], "marker": line["marker"], "markeredgecolor": "black"}
        axes.plot(*zip(*validation), linestyle="none", markersize=11, label=f"{label}, validation", **points)
    axes.set_xlabel("training step")
    axes.set_ylabel("loss (bits a byte)")
    axes.legend(title=f"training: moving average of {n} steps" if n > 1 else None, alignment="left")
    return figure


@styled
def singular_values(spectra):
    """The singular values of delta_W, and what share of ||delta_W||_F^2 the first i of them carry.

    Parameters
    ----------
    spectra : dict of str to ndarray
        By label: singular values, from large to small. A spectrum that is shorter than the longest is that of a matrix
        of lower rank: the values that it lacks are zero, and are drawn so.

    Returns
    -------
    Figure
    """
    longest = max(len(S) for S in spectra.values())
    largest = max(S[0] for S in spectra.values())
    i = numpy.arange(1, longest + 1)
    powers_of_two = [int(n) - 1 for n in i if n & (n - 1) == 0]  # where the markers stand, as do the ticks
    figure = new_figure(13, 5.6)
    left, right = figure.subplots(1, 2)
    for (label, S), line in zip(spectra.items(), cycle(LINES)):
        if not S[0] > 0:
            raise ValueError(f"spectra[{label!r}] begins with {S[0]}; the largest singular value must be positive")
        S = numpy.pad(S, (0, longest - len(S)))
        share = 100 * numpy.cumsum(S**2) / numpy.sum(S**2)
        n = 1 + numpy.argmax(share >= 90)
        curve = {**line, "markevery": powers_of_two, "markeredgecolor": "black", "clip_on": False}
        left.plot(i, S, label=label, **curve)
        right.plot(i, share, label=f"{label}: 90 % in the first {n}", **curve)
    # logarithmic down to a thousandth of the largest, and linear below, so that zero has its place
    left.set_yscale("symlog", linthresh=10 ** numpy.ceil(numpy.log10(largest) - 3), linscale=0.4)
    left.set_ylim(bottom=0)
    left.set_ylabel(r"singular value $\sigma_i$ of $\Delta W$")
    right.set_ylim(0, 100)
    right.set_ylabel(r"share of $\|\Delta W\|_F^2$ in the first $i$ (%)")
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel("index $i$ of the direction")
        axes.legend()
    return figure


@styled
def similarity_heatmap(phi, control=None, *, first="$A_1$", second="$A_2$"):
    """phi(i, j) as in the paper's figure 3: i downwards, j to the right, light for no overlap, dark for the same.

    Parameters
    ----------
    phi : ndarray of shape (r1, r2)
        From `subspace_similarity`.
    control : ndarray of shape (r1, r2), optional
        What random subspaces give, from `random_control`; drawn beside it in the same colours.
    first, second : str
        Whose directions i and j count.

    Returns
    -------
    Figure
    """
    panels = {"measured": phi}
    if control is not None:
        panels["random subspaces (expected)"] = control
    figure = new_figure(1.8 + 5.2 * len(panels), 5.4)
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (title, grid) in zip(all_axes, panels.items()):
        r1, r2 = grid.shape
        edges = (0.5, r2 + 0.5, r1 + 0.5, 0.5)
        image = axes.imshow(grid, cmap="magma_r", vmin=0, vmax=1, aspect="auto", extent=edges)
        axes.set(title=title, xlabel=f"$j$: directions of {second}", xticks=_counts(r2), yticks=_counts(r1))
        axes.grid(False)
    all_axes[0].set_ylabel(f"$i$: directions of {first}")
    figure.colorbar(image, ax=all_axes, label=r"$\varphi(i, j)$   (0: orthogonal, 1: contained)")
    return figure


def _counts(n):
    """1 and about eight more round numbers up to n, for an axis that counts."""
    step = max(1, n // 8)
    return sorted({1, *range(step, n + 1, step)})


@styled
def scores(methods, levels):
    """A row for each method, best on top: a dot a seed and a stroke at their mean; a line for each baseline.

    Parameters
    ----------
    methods : dict of str to (n, values)
        By label: the trainable parameters, and the accuracy of each seed in percent.
    levels : dict of str to float
        By label: the accuracy of a baseline in percent.

    Returns
    -------
    Figure
    """
    rows = sorted(methods.items(), key=lambda row: numpy.mean(row[1][1]))
    figure = new_figure(12, 2.6 + 0.6 * len(rows))
    axes = figure.subplots()
    for (label, level), line in zip(levels.items(), cycle(LINES[1:])):
        axes.axvline(level, color=line["color"], linestyle=line["linestyle"], label=f"{label}: {level:.1f}")
    for y, (_, (_, values)) in enumerate(rows):
        axes.plot(numpy.mean(values), y, "|", markersize=26, markeredgewidth=3, color="black")
        axes.plot(values, numpy.full(len(values), y), "o", color=LINES[0]["color"], markeredgecolor="black")
    axes.set_yticks(range(len(rows)), [f"{label}  ({n:,})" for label, (n, _) in rows])
    axes.set(xlabel="test accuracy (%); beside each method, its trainable parameters", ylim=(-0.6, len(rows) - 0.4))
    figure.legend(loc="outside upper right", ncols=2)
    return figure


@styled
def lora_picture():
    """LoRA in one drawing: h = W0 x + (alpha / r) B A x, from x at the bottom to h at the top.

    Returns
    -------
    Figure
    """
    figure = new_figure(10.8, 7.6)
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
    _block(axes, left, (2.0, wide), (6.0, wide), FROZEN, FROZEN_EDGE)
    write(left, 4.4, "$W_0$", size=44)
    write(left, 3.45, r"$O \times I$", size=20)
    write(left, 2.45, "frozen", size=18, color=FROZEN_EDGE, weight="bold")

    # A, the r features between, and B
    _block(axes, right, (2.0, wide), (3.6, narrow), TRAINED, TRAINED_EDGE)
    write(right, 2.95, "$A$", size=34)
    write(right, 2.3, r"$r \times I$", size=20)
    _vector(axes, right, 3.8, narrow, 3)
    note(right + 0.8, 4.0, "$r$ features")
    _block(axes, right, (4.4, narrow), (6.0, wide), TRAINED, TRAINED_EDGE)
    write(right, 5.05, "$B$", size=34)
    write(right, 5.7, r"$O \times r$", size=20)
    for y, start in (5.2, "$B = 0$ at the start"), (2.8, "random at the start"):
        note(right + 2.3, y + 0.2, "trained", size=18, color=TRAINED_EDGE, weight="bold")
        note(right + 2.3, y - 0.3, start)

    # their sum, h
    _flow(axes, (left, 6.0), (left, 7.3), (middle - 0.42, 7.3))
    _flow(axes, (right, 6.0), (right, 7.3), (middle + 0.42, 7.3))
    _flow(axes, (middle, 7.7), (middle, 8.1))
    ring = {"boxstyle": "circle", "facecolor": "white", "edgecolor": "0.3", "linewidth": 2}
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
        axes.add_patch(Rectangle(corner, width / n, 0.4, facecolor="white", edgecolor="0.3", linewidth=1.5))


def _flow(axes, *corners):
    """A line through the corners, with an arrow's head at its end."""
    axes.plot(*zip(*corners[:-1]), color="0.3", linewidth=2, solid_joinstyle="miter")
    head = {"arrowstyle": "-|>,head_width=0.35,head_length=0.6", "color": "0.3", "linewidth": 2}
    axes.annotate("", corners[-1], corners[-2], arrowprops={**head, "shrinkA": 0, "shrinkB": 0})

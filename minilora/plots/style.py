"""What all figures share: the colours of the page, the colour and mark of each method, and how a figure is made.

A method looks the same in every figure: it has one colour and one mark, in `METHODS`. The colours are Okabe and Ito's,
and stand for families; the marks alone, filled or hollow, tell all methods apart in greyscale. What is no method, such
as W_q and W_v, has colours of its own (Tol's muted ones), so that nobody takes it for one.
"""

import functools
import os
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import NamedTuple

from minilora.plots.theme import DARK, LIGHT, current, theme

WIDTH = 8.6  # inches of a figure: on a telephone of 375 pixels its smallest letters are still 6 pixels high
SMALL = 12  # points of the smallest letters
DPI = 150


DASHES = ("-", (0, (5, 2)), (0, (1.2, 1.6)), (0, (6, 2, 1.2, 2)), (0, (3, 1, 1, 1, 1, 1)))
FILLS = ("full", "none", "left", "top", "right", "bottom")
MARKS = ("o", "s", "^", "D", "v", "P", "X", "p", "<", ">")
SERIES = ("indigo", "olive", "wine", "teal", "black")  # of what is no method


class Look(NamedTuple):
    """How a curve is drawn: the name of its hue, its mark, whether that is filled, and its dash."""

    hue: str
    marker: str
    fill: str = "full"
    dash: str | tuple = "-"

    @property
    def color(self):
        """The hue on the page of the moment."""
        return theme().hues[self.hue]

    def marks(self):
        """The settings of marks alone, for ``axes.plot``: an edge in ink, and paper where the mark is hollow."""
        page = theme()
        hollow = {"markerfacecolor": page.paper} if self.fill == "none" else {"markerfacecoloralt": page.paper}
        edge = self.color if self.fill == "none" else page.ink
        fill = {} if self.fill == "none" else {"fillstyle": self.fill}
        width = 2.0 if self.fill == "none" else 1.0
        return {
            "color": self.color,
            "marker": self.marker,
            "markeredgecolor": edge,
            "markeredgewidth": width,
            **hollow,
            **fill,
        }

    def line(self):
        """The settings of a line with marks."""
        return {**self.marks(), "linestyle": self.dash}


METHODS = {  # by name, as in minilora.methods.METHODS; a hue is a family's, and no two have the same mark and fill
    "lora": Look("vermilion", "o"),
    "lora+": Look("amber", "X", "none"),
    "rslora": Look("amber", "^", "none"),
    "dora": Look("amber", "D", "none"),
    "pissa": Look("amber", "p", "none"),
    "lora-fa": Look("amber", "v", "none"),
    "adalora": Look("amber", "*", "none"),
    "lora-ga": Look("amber", "h", "none"),
    "vera": Look("amber", "P", "none"),
    "full": Look("blue", "s"),
    "top-k": Look("blue", "s", "none"),
    "galore": Look("blue", "h"),
    "adapter-h": Look("green", "^"),
    "adapter-l": Look("green", "v"),
    "adapter-p": Look("green", "<"),
    "adapter-d": Look("green", ">"),
    "prefix-layer": Look("purple", "D"),
    "prefix-embedding": Look("purple", "d"),
    "prompt-tuning": Look("purple", "p"),
    "lora+prefix-layer": Look("purple", "<", "none"),
    "lora+prefix-embedding": Look("purple", "d", "none"),
    "bitfit": Look("sky", "P"),
    "ia3": Look("sky", "X"),
    "trainable-tokens": Look("sky", "*"),
    "random-subspace": Look("black", (4, 1, 0)),
    "head": Look("black", ">", "none"),
}
OTHER_NAMES = {  # of figures, in small letters: the name above
    "full fine-tuning": "full",
    "ft": "full",
    "adapter^h": "adapter-h",
    "adapter^l": "adapter-l",
    "adapter^p": "adapter-p",
    "adapter^d": "adapter-d",
    "prelayer": "prefix-layer",
    "preembed": "prefix-embedding",
    "prompt tuning": "prompt-tuning",
    "trainable tokens": "trainable-tokens",
    "tokens": "trainable-tokens",
    "random subspace": "random-subspace",
    "the head alone": "head",
}


def method_of(label):
    """The method that a label names, such as "lora" for "LoRA, r = 8"; None if it names none."""
    name = label.split(",")[0].strip().lower()
    if name.startswith("ft-top"):
        return "top-k"
    name = OTHER_NAMES.get(name, name)
    return name if name in METHODS else None


def looks(labels):
    """The look of each label: a method's is always its own; settings of one method differ in fill and dash.

    Parameters
    ----------
    labels : iterable of str

    Returns
    -------
    dict of str to Look
    """
    labels = list(labels)
    seen, found = {}, {}
    taken = {METHODS[method].marker for method in map(method_of, labels) if method}
    free = not set(MARKS) <= taken  # else the marks of others cannot be kept apart
    others = (look for look in map(series, count()) if not free or look.marker not in taken)
    for label in labels:
        method = method_of(label)
        if method is None:
            found[label] = next(others)
        else:
            n = seen[method] = seen.get(method, -1) + 1
            own = METHODS[method]
            if n:
                fills = [fill for fill in FILLS if fill != own.fill]
                own = own._replace(fill=fills[(n - 1) % len(fills)], dash=DASHES[n % len(DASHES)])
            found[label] = own
    return found


def series(n):
    """The look of the n-th curve of what is no method."""
    k = n // len(SERIES)
    return Look(SERIES[n % len(SERIES)], MARKS[n % len(MARKS)], FILLS[k % len(FILLS)], DASHES[n % len(DASHES)])


@contextmanager
def figure_style(*, dark=False):
    """What is drawn inside is for a white page, or for a dark one: ``with figure_style(dark=True): ...``.

    Every function of `minilora.plots` heeds it, and so does matplotlib itself inside.

    Parameters
    ----------
    dark : bool
    """
    from matplotlib.style import context

    token = current.set(DARK if dark else LIGHT)
    try:
        with context(("default", settings())):
            yield
    finally:
        current.reset(token)


def settings():
    """matplotlib's settings for the page of the moment."""
    page = theme()
    ink = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "hatch.color")
    return {
        "font.size": 13,
        "axes.titlesize": 14,
        "axes.labelsize": 14,
        "xtick.labelsize": 13,
        "ytick.labelsize": 13,
        "legend.fontsize": 13,
        "figure.titlesize": 15,
        "figure.labelsize": SMALL,
        "mathtext.fontset": "cm",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.titlelocation": "left",
        "lines.linewidth": 2.4,
        "lines.markersize": 8,
        "legend.frameon": False,
        "legend.handlelength": 2.6,
        "figure.facecolor": page.paper,
        "axes.facecolor": page.paper,
        "grid.color": page.grid,
        **dict.fromkeys(ink, page.ink),
    }


def styled(draw):
    """Run a drawing function in this module's style, whatever the user's own settings are."""

    @functools.wraps(draw)
    def wrapper(*args, **kwargs):
        from matplotlib.style import context

        with context(("default", settings())):
            return draw(*args, **kwargs)

    return wrapper


def new_figure(width, height):
    """An empty Figure, width x height in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save(figure, path):
    """Write a figure as PNG. A reader of `path` finds the old picture or the new one, never half of one.

    Parameters
    ----------
    figure : Figure
    path : str or Path
        Missing folders are created.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        figure.savefig(temporary, format="png", dpi=DPI)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)

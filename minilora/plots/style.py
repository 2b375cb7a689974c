"""What all figures share: colours, sizes, and how a figure is made and written."""

import functools
import os
from pathlib import Path

# One colour, one dash and one marker for each curve. The colours are Okabe and Ito's.
LINES = (
    {"color": "#D55E00", "linestyle": "-", "marker": "o"},
    {"color": "#0072B2", "linestyle": "--", "marker": "s"},
    {"color": "#009E73", "linestyle": "-.", "marker": "^"},
    {"color": "#CC79A7", "linestyle": ":", "marker": "D"},
    {"color": "#000000", "linestyle": (0, (5, 1, 1, 1, 1, 1)), "marker": "v"},
)
KEPT, LEFT_OUT = "#0072B2", "#E9B872"  # of a spectrum, above and below a cut

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

"""The colours of a page, light or dark."""

from contextvars import ContextVar
from typing import NamedTuple


class Theme(NamedTuple):
    """The colours of a page: its ground, ink for text and lines, two greys, and how each hue is mixed."""

    paper: str
    ink: str
    soft: str  # of what is said by the way
    grid: str
    sheet: str  # of a box that stands out a little
    hues: dict[str, str]
    frozen: tuple[str, str]  # the face and the edge of a matrix
    trained: tuple[str, str]


LIGHT = Theme(
    paper="#FFFFFF",
    ink="#000000",
    soft="#595959",
    grid="#E0E0E0",
    sheet="#D9D9D9",
    hues={
        "vermilion": "#D55E00",
        "amber": "#E69F00",
        "blue": "#0072B2",
        "green": "#009E73",
        "purple": "#CC79A7",
        "sky": "#56B4E9",
        "indigo": "#332288",
        "olive": "#8A8A1E",
        "wine": "#882255",
        "teal": "#44AA99",
        "black": "#000000",
        "pale": "#F2B661",
        "grey": "#B8B8B8",
    },
    frozen=("#D6E2EC", "#3F5E7A"),
    trained=("#EE9F2D", "#A85A00"),
)
DARK = Theme(
    paper="#131416",
    ink="#E8E8E8",
    soft="#A6A6A6",
    grid="#303236",
    sheet="#3C3F44",
    hues={
        "vermilion": "#F06A1F",
        "amber": "#FFD060",
        "blue": "#4A9FE0",
        "green": "#2FC095",
        "purple": "#E39BC4",
        "sky": "#9BDDFF",
        "indigo": "#A99DF0",
        "olive": "#CFCB62",
        "wine": "#E0709F",
        "teal": "#72D6C6",
        "black": "#E8E8E8",
        "pale": "#8A5A12",
        "grey": "#6E7278",
    },
    frozen=("#27384A", "#8FB2D1"),
    trained=("#8A5A12", "#F2B661"),
)
current = ContextVar("theme", default=LIGHT)


def theme():
    """The colours of the page of the moment; see `minilora.plots.figure_style`."""
    return current.get()


def sequential():
    """A colour map for what grows from nothing: from the page's own side to its opposite."""
    return "magma_r" if theme() is LIGHT else "magma"


def diverging():
    """A colour map with purple below zero, the page's own ground at zero, and orange above.

    In grey, too, they are told apart: on a white page what is below zero is darker than what is as far above.
    """
    from matplotlib.colors import LinearSegmentedColormap

    if theme() is LIGHT:
        colors = ("#1B0033", "#55308D", "#F7F7F7", "#F5A742", "#8A4B00")
    else:
        colors = ("#F0E6FF", "#B79CF0", "#191A1D", "#B5650F", "#FFC680")
    return LinearSegmentedColormap.from_list("diverging", colors)

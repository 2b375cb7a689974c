"""Words in a figure: typeset names, labels at the ends of lines, a title, and what is said in small print."""

import re
import textwrap

from minilora.plots.style import SMALL, styled
from minilora.plots.theme import theme

LINE_HEIGHT = 1.3 / 72  # inches a point, of a line of text
INSIDE = 0.8  # of the width: where a line ends before, its label stands inside
MOST_LABELS = 9  # at the ends of the lines of one panel


def typeset(text):
    """A label with its letters as mathematics: "W_q, r = 8" and "Adapter^H"; what is mathematics already stays.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
    """
    parts = text.split("$")
    for i in range(0, len(parts), 2):  # outside the dollars
        part = re.sub(r"\b([A-Za-z]+)\^([A-Z])\b", r"\1$^\\mathrm{\2}$", parts[i])
        part = re.sub(r"\bW_([a-z0-9])\b", r"$W_\1$", part)
        parts[i] = re.sub(r"\b([rk]) = (\d+)\b", r"$\1 = \2$", part)
    for i in range(1, len(parts), 2):  # in matplotlib, \top stands in a gap
        parts[i] = parts[i].replace(r"\top", r"\mathrm{T}")
    return "$".join(parts)


def label_ends(axes, ends, height):
    """Write each line's label at its end; at the right of the axes they are moved apart where they would touch.

    A line that ends well inside the axes has its label there. The limits of the axes stay what they are.

    Parameters
    ----------
    axes : Axes
    ends : list of (float, float, str, color)
        x and y of the end of each line, its label, and the colour of the line.
    height : float
        About how high the axes are, in inches.
    """
    if not ends:
        return
    for limits, keep in ((axes.get_xlim(), axes.set_xlim), (axes.get_ylim(), axes.set_ylim)):
        if limits[0] != limits[1]:
            keep(limits)  # what is written at the side must not move them
    to_axes = axes.transData + axes.transAxes.inverted()
    found = []
    for x, y, label, color in ends:
        across, up = to_axes.transform((x, y))
        if across < INSIDE:
            style = {"textcoords": "offset points", "va": "center", "color": legible(color), "clip_on": False}
            axes.annotate(label, (x, y), (9, 0), **style)
        else:
            found.append((float(up), label, color))
    found.sort()
    lines = [label.count("\n") + 1 for _, label, _ in found]
    step = 13 * LINE_HEIGHT / height
    places = spread([y for y, _, _ in found], [step * n for n in lines])
    for (y, label, color), place in zip(found, places):
        if abs(place - y) > 0.3 * step:
            style = {"color": theme().soft, "linewidth": 0.8, "clip_on": False, "transform": axes.transAxes}
            axes.plot((1.0, 1.035), (y, place), **style)
        axes.text(1.045, place, label, color=legible(color), va="center", transform=axes.transAxes, linespacing=1.1)


def spread(places, sizes):
    """Places from low to high, moved as little as can be so that none is nearer to the next than half of both sizes."""
    groups = []  # of (sum of wanted starts, number, size), each a block that stands together
    for place, size in zip(places, sizes):
        groups.append([place - size / 2, 1, size])
        while len(groups) > 1 and groups[-2][0] / groups[-2][1] + groups[-2][2] > groups[-1][0] / groups[-1][1]:
            wanted, n, more = groups.pop()
            groups[-1][0] += wanted - n * groups[-1][2]
            groups[-1][1] += n
            groups[-1][2] += more
    starts = [(wanted / n, n) for wanted, n, _ in groups]
    found, k = [], 0
    for start, n in starts:
        for size in sizes[k : k + n]:
            found.append(start + size / 2)
            start += size
        k += n
    return found


def legible(color):
    """A colour for letters on the page: a pale one is mixed with ink."""
    from matplotlib.colors import to_hex, to_rgb

    page = theme()
    own, ink = to_rgb(color), to_rgb(page.ink)
    for share in (0.0, 0.2, 0.35, 0.5, 0.65):
        mixed = tuple((1 - share) * a + share * b for a, b in zip(own, ink))
        if contrast(mixed, to_rgb(page.paper)) >= 4.5:
            break
    return to_hex(mixed)


def contrast(one, other):
    """The contrast of two colours, from 1 to 21, as the Web's guidelines (WCAG 2) count it."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(rgb):
    """The relative luminance of a colour, from 0 to 1."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@styled
def caption(figure, *, title=None, note=None):
    """Give a figure a title, and add to the small print below it.

    Parameters
    ----------
    figure : Figure
    title, note : str, optional
        A note is put before what the figure says already.

    Returns
    -------
    Figure
        The same.
    """
    width = figure.get_figwidth()
    if title is not None:
        text = wrapped(typeset(title), round(8.0 * width))
        _grow(figure, text, figure.get_suptitle(), 15)
        figure.suptitle(text, x=0.01, ha="left", color=theme().ink, linespacing=1.25)
    if note is not None:
        said = getattr(figure, "said", [])
        figure.said = [note, *said]
        text = wrapped(" ".join(figure.said), round(10.2 * width))
        _grow(figure, text, figure.get_supxlabel(), SMALL)
        figure.supxlabel(text, x=0.01, ha="left", color=theme().soft, size=SMALL, linespacing=1.3)
    return figure


def wrapped(text, width):
    """Text in lines of at most so many characters; mathematics stays whole."""
    kept = re.sub(r"\$[^$]*\$", lambda math: math[0].replace(" ", "\0"), text)
    return textwrap.fill(kept, width, break_long_words=False, break_on_hyphens=False).replace("\0", " ")


def _grow(figure, text, before, size):
    """Make room for text in place of what was there before: as many inches as it has more lines."""
    more = (text.count("\n") + bool(text)) - (before.count("\n") + bool(before))
    figure.set_figheight(figure.get_figheight() + more * size * LINE_HEIGHT)


def letters(label):
    """How many letters of a label are seen."""
    return len(re.sub(r"[$_^{}]|\\[a-z]+", "", label))


def whiskers(n, *, what="Whisker", of="seeds"):
    """What a whisker, or a band, is: the sentence for the small print; nothing where there is one value only."""
    return f"{what}: lowest to highest of {n} {of}." if n > 1 else ""

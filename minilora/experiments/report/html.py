"""The report's building blocks. An adapter's file can hold any names: whatever comes from it goes through `text`."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

from minilora.experiments.grid import in_order, places
from minilora.limits import one_line

LONGEST = 300  # characters of a text
LONGEST_NAME = 70  # of a matrix's name
MOST_BLOCKS, MOST_KINDS, MOST_ROWS = 128, 20, 200  # in a table


def text(value: Any, most: int = LONGEST) -> str:
    """Anything as one printable line of HTML."""
    return escape(one_line(str(value), most))


def number(value: float) -> str:
    """Three digits; a dash for what is not a number."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞"
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def percent(value: float) -> str:
    """A fraction in percent."""
    return f"{100 * value:.0f} %"


def heat_table(
    caption: str, values: Mapping[str, float], shown: Callable[[float], str] = number, largest: float | None = None
) -> str:
    """A row for each block and a column for each kind of matrix, the larger the darker; the others get a list.

    Parameters
    ----------
    caption : str
    values : dict of str to float
        By the name of the matrix.
    shown : callable
        What is written in a cell.
    largest : float, optional
        The value of the darkest cell; the largest of the values, if not given.
    """
    if largest is None:
        largest = max((value for value in values.values() if math.isfinite(value)), default=0.0)
    rows: dict[int, dict[str, float]] = {}
    others: dict[str, float] = {}
    for name, place in places(values).items():
        if place is None:
            others[name] = values[name]
        else:
            rows.setdefault(place.block, {})[place.kind] = values[name]
    kinds = in_order(kind for row in rows.values() for kind in row)
    made = []
    if rows:
        head = ["block", *(text(kind, LONGEST_NAME) for kind in kinds[:MOST_KINDS])]
        body = [
            (str(block), [_cell(row.get(kind), shown, largest) for kind in kinds[:MOST_KINDS]])
            for block, row in sorted(rows.items())[:MOST_BLOCKS]
        ]
        made.append(_table(caption, head, body, "heat"))
        made.append(_left_out(MOST_BLOCKS, len(rows), "blocks") + _left_out(MOST_KINDS, len(kinds), "kinds of matrix"))
    if others:
        first = list(others.items())[:MOST_ROWS]
        body = [(text(name, LONGEST_NAME), [_cell(value, shown, largest)]) for name, value in first]
        made.append(_table(f"{caption}: outside the blocks" if rows else caption, ["matrix", ""], body, "heat"))
        made.append(_left_out(MOST_ROWS, len(others), "such matrices"))
    return "".join(made)


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column names the row; head and cells are HTML."""
    body = [(first, [f"<td>{cell}</td>" for cell in cells]) for first, *cells in rows[:MOST_ROWS]]
    return _table(caption, head, body) + _left_out(MOST_ROWS, len(rows), "matrices")


def folded(title: str, inside: str) -> str:
    """What is shown when its title is clicked."""
    return f"<details><summary>{title}</summary>{inside}</details>"


def section(anchor: str, title: str, read: str, chance: str, inside: Iterable[str]) -> str:
    """A part of the page: how to read it, what random matrices would give, and the pictures and tables."""
    notes = f'<p>{read}</p><p class="random"><strong>By chance.</strong> {chance}</p>'
    return f'<section id="{anchor}"><h2>{title}</h2>{notes}{"".join(inside)}</section>'


def figures(pictures: Mapping[str, str], wide: bool = False) -> str:
    """SVGs next to each other, each with its caption: a dict of caption, as HTML, to SVG."""
    each = (f"<figure>{svg}<figcaption>{caption}</figcaption></figure>" for caption, svg in pictures.items())
    return f'<div class="{"wide" if wide else "figures"}">{"".join(each)}</div>'


def _cell(value: float | None, shown: Callable[[float], str], largest: float) -> str:
    if value is None:
        return "<td></td>"
    heat = min(1.0, max(0.0, value / largest)) if largest > 0 and math.isfinite(value) else 0.0
    return f'<td style="--h:{heat:.2f}">{shown(value)}</td>'


def _table(caption: str, head: Sequence[str], rows: Sequence[tuple[str, list[str]]], kind: str = "numbers") -> str:
    """A table that scrolls in its own box where it is wider than the screen; the keyboard reaches it, too."""
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(f'<tr><th scope="row">{first}</th>{"".join(cells)}</tr>' for first, cells in rows)
    whole = f'<table class="{kind}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'
    box = f'<div class="scroll" role="region" aria-label="{caption}" tabindex="0">{whole}</div>'
    return f'<p class="caption">{caption}</p>{box}'


def _left_out(most: int, n: int, what: str) -> str:
    return f'<p class="note">The first {most:,} of {n:,} {what}; --json has all.</p>' if n > most else ""

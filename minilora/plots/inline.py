"""Pictures as SVG inside a page: they take the page's colours, light or dark, and its width.

Each function takes host arrays and returns SVG as text. Colours are the page's CSS variables: --ink, --muted, --first
and --last (of a sequence), --heat, --chance. Every text that is given is escaped.
"""

from html import escape

import numpy

WIDTH, HEIGHT = 300, 170
LEFT, RIGHT, TOP, BOTTOM = 32, 10, 10, 34  # margins around the axes
MOST_LINES, MOST_POINTS, MOST_DOTS = 48, 64, 300


def spectra(lines, chance, *, alt):
    """Singular values as fractions of the first, a line for each block: the first block's colour to the last one's.

    Parameters
    ----------
    lines : sequence of ndarray of shape (r,)
        From large to small, in the order of the blocks; at most MOST_LINES of them are drawn, evenly chosen.
    chance : ndarray of shape (r,)
        What random matrices give, dashed.
    alt : str
        What is seen.

    Returns
    -------
    svg : str
    """
    longest = max(len(chance), *(len(S) for S in lines))
    shown = _evenly(list(lines), MOST_LINES)
    parts = [_axes("index of the direction", (1, longest), ("0", "1"))]
    for n, S in enumerate(shown):
        share = 100 * n // max(1, len(shown) - 1)
        color = f"stroke:color-mix(in oklab,var(--last) {share}%,var(--first))"
        parts.append(f'<polyline points="{_points(S, longest)}" style="{color}" class="line"/>')
    parts.append(f'<polyline points="{_points(chance, longest)}" class="chance"/>')
    return _svg(WIDTH, HEIGHT, alt, parts)


def similarity(grid, *, largest=1.0, alt):
    """phi(i, j): i downwards, j to the right; the stronger the colour, the larger.

    Parameters
    ----------
    grid : ndarray of shape (r1, r2)
    largest : float
        The phi of the full colour.
    alt : str
        What is seen.

    Returns
    -------
    svg : str
    """
    r1, r2 = grid.shape
    side, start = 150, 18
    w, h = side / r2, side / r1
    parts = [
        f'<rect x="{start + j * w:.2f}" y="{start + i * h:.2f}" width="{w:.2f}" height="{h:.2f}" class="cell" '
        f'fill-opacity="{min(1, grid[i, j] / largest):.3f}"/>'
        for i in range(r1)
        for j in range(r2)
    ]
    parts.append(f'<rect x="{start}" y="{start}" width="{side}" height="{side}" class="frame"/>')
    labels = (
        (start + 4, 13, "1"),
        (start + side - 4, 13, f"j = {r2}"),
        (9, start + 12, "1"),
        (9, start + side, f"{r1}"),
    )
    parts += [f'<text x="{x}" y="{y}" text-anchor="middle">{text}</text>' for x, y, text in labels]
    return _svg(side + 2 * start, side + start + 8, alt, parts)


def cosines(rows, *, threshold, chance, alt):
    """Dots from 0 to 1, a row for each kind of matrix, with a threshold and what a random direction gives.

    Parameters
    ----------
    rows : dict of str to ndarray of shape (n,)
        By label; at most MOST_DOTS of a row are drawn, evenly chosen.
    threshold, chance : float
    alt : str
        What is seen.

    Returns
    -------
    svg : str
    """
    width, step, left, top = 560, 30, 150, 38
    bottom = top + step * len(rows)

    def x(value):
        return left + (width - left - 20) * float(value)

    parts = [f'<line x1="{x(v):.1f}" y1="{top}" x2="{x(v):.1f}" y2="{bottom}" class="axis"/>' for v in (0, 1)]
    parts.append(f'<line x1="{x(threshold):.1f}" y1="{top}" x2="{x(threshold):.1f}" y2="{bottom}" class="mark"/>')
    parts.append(f'<line x1="{x(chance):.1f}" y1="{top}" x2="{x(chance):.1f}" y2="{bottom}" class="chance"/>')
    marks = (threshold, top - 22, f"threshold {threshold:g}"), (chance, top - 6, f"random {chance:.2f}")
    for value, y, text in marks:
        parts.append(f'<text x="{x(value):.1f}" y="{y}" text-anchor="middle">{text}</text>')
    for n, (label, values) in enumerate(rows.items()):
        y = top + step * (n + 0.5)
        parts.append(f'<text x="{left - 10}" y="{y + 4:.1f}" text-anchor="end">{escape(label)}</text>')
        dots = (f'<circle cx="{x(v):.1f}" cy="{y:.1f}" r="4"/>' for v in _evenly(numpy.sort(values), MOST_DOTS))
        parts.append(f'<g class="dots">{"".join(dots)}</g>')
    ends = ((0, "0", "start"), (1, "1", "end"), (0.5, "largest cosine with a direction of W", "middle"))
    parts += [f'<text x="{x(v):.1f}" y="{bottom + 18}" text-anchor="{side}">{text}</text>' for v, text, side in ends]
    return _svg(width, bottom + 26, alt, parts)


def _svg(width, height, alt, parts):
    inside = "".join(parts)
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(alt)}">{inside}</svg>'


def _axes(label, x_ends, y_ends):
    """The two axes, their ends, and what counts to the right."""
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    path = f'<path d="M{LEFT} {TOP}V{bottom}H{right}" class="axis"/>'
    texts = (
        (LEFT, bottom + 14, "middle", x_ends[0]),
        (right, bottom + 14, "end", x_ends[1]),
        ((LEFT + right) / 2, bottom + 28, "middle", label),
        (LEFT - 6, bottom + 4, "end", y_ends[0]),
        (LEFT - 6, TOP + 6, "end", y_ends[1]),
    )
    return path + "".join(f'<text x="{x}" y="{y}" text-anchor="{side}">{text}</text>' for x, y, side, text in texts)


def _points(S, longest):
    """A spectrum from 0 to its first value, 1, as the points of a line."""
    places = _evenly(range(len(S)), MOST_POINTS)
    largest = S[0] if len(S) and S[0] > 0 else 1.0
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    xy = ((LEFT + wide * i / max(1, longest - 1), TOP + high * (1 - S[i] / largest)) for i in places)
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in xy)


def _evenly(items, most):
    """At most so many of the items, evenly chosen, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[i] for i in numpy.linspace(0, len(items) - 1, most).round().astype(int)]

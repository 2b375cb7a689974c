"""Backpropagation in one drawing: a small graph, with a value and a gradient at each node."""

from typing import NamedTuple

from minilora.plots.labels import caption
from minilora.plots.style import METHODS, SMALL, WIDTH, new_figure, styled
from minilora.plots.theme import theme

WIDE, HIGH = 1.0, 0.86  # of a node: the value above, the gradient below
APART, BELOW = 1.9, 1.45  # from column to column, and from row to row


class Node(NamedTuple):
    """A number of a computation.

    Attributes
    ----------
    formula : str
        What it is, as mathematics without dollars: ``"p = w x"``.
    value : float
    gradient : float
    inputs : dict of str to float
        What it is made from, by name, with the derivative of this node with respect to that one; empty for a leaf.
    """

    formula: str
    value: float
    gradient: float
    inputs: dict[str, float]


@styled
def value_graph(nodes, steps=None):
    """Values flowing forward, to the right, and gradients flowing back: a box for each node, an arrow for each use.

    Parameters
    ----------
    nodes : dict of str to Node
        By name, each after its inputs; the last is the loss.
    steps : int, optional
        How far it has come: at 0 the leaves have their values, each step gives the next node its value, and once the
        loss is there, each step gives the next node to the left its gradient. All, if not given.

    Returns
    -------
    Figure
    """
    places = _places(nodes)
    made = [name for name, node in nodes.items() if node.inputs]
    steps = 2 * len(made) + 1 if steps is None else steps
    known = {name for name, node in nodes.items() if not node.inputs} | set(made[:steps])
    reached = _reached(nodes, made, steps - len(made))
    columns, rows = (max(place[k] for place in places.values()) for k in (0, 1))
    wide, high = APART * columns + WIDE + 0.5, BELOW * rows + HIGH + 0.9
    figure = new_figure(WIDTH, min(6.0, WIDTH * high / wide) + 0.6)
    axes = figure.add_subplot(
        xlim=(-WIDE / 2 - 0.25, wide - WIDE / 2 - 0.25), ylim=(high - 0.95, -0.95), aspect="equal"
    )
    axes.axis("off")
    for name, node in nodes.items():
        for source, slope in node.inputs.items():
            _edge(axes, places[source], places[name], slope, name in known, source in reached and name in reached)
    for name, node in nodes.items():
        _node(axes, places[name], node, name in known, name in reached)
    note = (
        "Upper half, and grey arrows: values, forward. Lower half, and dashed arrows: gradients, backward, each times "
    )
    return caption(figure, note=note + "the slope at its arrow; where two arrive, they are added.")


def _reached(nodes, made, steps):
    """The nodes whose gradient is known after so many steps backward: first the loss, then what each was made from."""
    if steps < 1:
        return set()
    done = {made[-1]}
    for name in reversed(made[max(0, len(made) - steps + 1) :]):
        done |= set(nodes[name].inputs)
    return done


def _places(nodes):
    """(column, row) of each node: a leaf just left of what is made from it, which is in the middle of its inputs."""
    column, row, leaves = {}, {}, 0
    for name, node in nodes.items():
        if node.inputs:
            column[name] = 1 + max(column.get(source, 0) for source in node.inputs)
            for source in node.inputs:
                if not nodes[source].inputs:
                    column[source] = column[name] - 1
                    if source not in row:
                        row[source], leaves = leaves, leaves + 1
            row[name] = sum(row[source] for source in node.inputs) / len(node.inputs)
    return {name: (column[name], row[name]) for name in nodes}


def _node(axes, place, node, known, reached):
    """A box of two halves, with the formula above."""
    page = theme()
    x, y = APART * place[0], BELOW * place[1]
    left, right = x - WIDE / 2, x + WIDE / 2
    corners = [left, right, right, left]
    for top, (face, edge), shown in ((y - HIGH / 2, page.frozen, known), (y, page.trained, reached)):
        half = [top, top, top + HIGH / 2, top + HIGH / 2]
        axes.fill(*(corners, half), facecolor=face if shown else page.paper, edgecolor=edge, linewidth=1.6)
    style = {"ha": "center", "va": "center"}
    axes.text(x, y - HIGH / 2 - 0.2, f"${node.formula}$", size=16, **style)
    axes.text(x, y - HIGH / 4, f"{node.value:g}" if known else "", size=15, **style)
    axes.text(x, y + HIGH / 4, f"{node.gradient:g}" if reached else "", size=15, **style)


def _edge(axes, start, end, slope, forward, backward):
    """An arrow to the right for the value, and one to the left for the gradient, with the slope."""
    page = theme()
    x0, x1 = APART * start[0] + WIDE / 2, APART * end[0] - WIDE / 2
    y0, y1 = BELOW * start[1], BELOW * end[1]
    head = {"arrowstyle": "-|>,head_width=0.22,head_length=0.45", "shrinkA": 2, "shrinkB": 2, "linewidth": 1.8}
    if forward:
        ends = (x1, y1 - HIGH / 4), (x0, y0 - HIGH / 4)
        axes.annotate("", *ends, arrowprops={**head, "color": page.soft})
    if backward:
        color = METHODS["lora"].color
        ends = (x0, y0 + HIGH / 4), (x1, y1 + HIGH / 4)
        axes.annotate("", *ends, arrowprops={**head, "color": color, "linestyle": (0, (4, 2))})
        number = f"{slope:g}" if slope >= 0 else f"({slope:g})"
        middle = ((x0 + x1) / 2, (y0 + y1) / 2 + HIGH / 4)
        ground = {"facecolor": page.paper, "edgecolor": "none", "pad": 1.0}
        axes.text(*middle, rf"$\times\,{number}$", ha="center", va="center", size=SMALL, bbox=ground)

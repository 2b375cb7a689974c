"""GPT in one drawing."""

from minilora.plots.style import WIDTH, new_figure, styled
from minilora.plots.theme import theme

WIDE, HIGH = 2.6, 0.62  # of a box


@styled
def gpt_picture():
    """GPT in one drawing: the stack to the left, one of its blocks to the right, from ids at the bottom to logits.

    Returns
    -------
    Figure
    """
    figure = new_figure(WIDTH, 7.1)
    axes = figure.add_subplot(xlim=(0, 14.2), ylim=(-0.9, 11.2), aspect="equal")
    axes.axis("off")
    _stack(axes, 2.6)
    _block(axes, 9.6)
    _text(axes, 2.6, -0.6, "the whole, of $L$ blocks", size=15)
    _text(axes, 9.6, -0.6, "a block: what is blue has weights", size=15)
    return figure


def _stack(axes, x):
    """From ids to logits."""
    _text(axes, x, 0.2, "ids")
    _box(axes, x, 1.5, "wte + wpe", weights=True)
    for i, y in enumerate((3.3, 4.4, 6.2)):
        _box(axes, x, y, ("block 0", "block 1", "block $L - 1$")[i], weights=True)
    _text(axes, x, 5.6, "⋮")
    _box(axes, x, 7.6, "ln_f", weights=True)
    _box(axes, x, 8.7, "head (= wte)", weights=True)
    _text(axes, x, 10.1, "logits")
    for low, high in ((0.45, 1.5), (2.12, 3.3), (3.92, 4.4), (6.82, 7.6), (8.22, 8.7), (9.32, 9.85)):
        _arrow(axes, x, low, high)
    for y, shape in ((0.2, "N, T"), (2.7, "N, T, C"), (7.2, "N, T, C"), (10.1, "N, T, V")):
        _shape(axes, x + 0.7, y, shape)


def _block(axes, x):
    """From x to x: attention, then the MLP, each after a LayerNorm and with a residual path around both."""
    _text(axes, x, 0.2, "$x$")
    _box(axes, x, 1.2, "ln_1", weights=True)
    for offset, name in (-2.1, "q_proj"), (0.0, "k_proj"), (2.1, "v_proj"):
        _box(axes, x + offset, 2.4, name, weights=True, width=1.8)
        axes.plot((x, x + offset, x + offset), (2.1, 2.1, 2.4), color=theme().soft, linewidth=1.6)
        _arrow(axes, x + offset, 3.02, 3.5)
    axes.plot((x, x), (1.82, 2.1), color=theme().soft, linewidth=1.6)
    _box(axes, x, 3.5, r"softmax$(q k^\mathrm{T} / \sqrt{K})\, v$", weights=False, width=6.0)
    _box(axes, x, 4.6, "o_proj", weights=True)
    _arrow(axes, x, 4.12, 4.6)
    _sum(axes, x, 5.95)
    _arrow(axes, x, 5.22, 5.7)
    for y, name in ((6.75, "ln_2"), (7.65, "fc_in"), (8.55, "GELU"), (9.45, "fc_out")):
        _box(axes, x, y, name, weights=name != "GELU", width=2.0, height=0.5)
    for low, high in ((6.2, 6.75), (7.25, 7.65), (8.15, 8.55), (9.05, 9.45), (9.95, 10.4)):
        _arrow(axes, x, low, high)
    _arrow(axes, x, 0.45, 1.2)
    for y, shape in ((3.26, "N, H, T, K"), (8.35, "N, T, F")):
        _shape(axes, x + (2.25 if "H" in shape else 0.3), y, shape)
    _way_around(axes, x, 0.8, 5.95, 3.6)
    _way_around(axes, x, 6.38, 10.65, 3.6)
    _sum(axes, x, 10.65)


def _way_around(axes, x, low, high, reach):
    axes.plot((x, x - reach, x - reach, x - 0.27), (low, low, high, high), color=theme().soft, linewidth=1.6)


def _box(axes, x, y, name, *, weights, width=WIDE, height=HIGH):
    face, edge = theme().frozen if weights else (theme().paper, theme().soft)
    corners = [x - width / 2, x + width / 2, x + width / 2, x - width / 2], [y, y, y + height, y + height]
    axes.fill(*corners, facecolor=face, edgecolor=edge, linewidth=1.8)
    _text(axes, x, y + height / 2, name, size=15)


def _sum(axes, x, y):
    ring = {"boxstyle": "circle,pad=0.18", "facecolor": theme().paper, "edgecolor": theme().soft, "linewidth": 1.6}
    _text(axes, x, y, "+", size=15, bbox=ring)


def _text(axes, x, y, text, *, size=17, **settings):
    axes.text(x, y, text, ha="center", va="center", size=size, **settings)


def _shape(axes, x, y, shape):
    axes.text(x, y, f"({shape})", ha="left", va="center", size=13, color=theme().soft)


def _arrow(axes, x, low, high):
    head = {"arrowstyle": "-|>,head_width=0.22,head_length=0.4", "color": theme().soft, "linewidth": 1.6}
    axes.annotate("", (x, high), (x, low), arrowprops={**head, "shrinkA": 0, "shrinkB": 0})

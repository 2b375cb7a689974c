"""What was learned: the spectrum of delta W, and how far two subspaces agree."""

import numpy

from minilora.plots.labels import caption, label_ends, typeset
from minilora.plots.style import METHODS, WIDTH, looks, new_figure, styled
from minilora.plots.theme import sequential, theme

PANELS = "measured", "random subspaces (expected)"


@styled
def singular_values(spectra, *, of=r"\Delta W"):
    """The singular values of delta_W, and the fraction of ||delta_W||_F^2 that the first i of them carry.

    Parameters
    ----------
    spectra : dict of str to ndarray
        By label: singular values, from large to small. A spectrum that is shorter than the longest belongs to a matrix
        of lower rank: its missing values are zero, and are drawn as zero.
    of : str
        What the axes call the matrix.

    Returns
    -------
    Figure
    """
    longest = max(len(S) for S in spectra.values())
    largest = max(S[0] for S in spectra.values())
    i = numpy.arange(1, longest + 1)
    powers_of_two = [int(n) - 1 for n in i if n & (n - 1) == 0]  # where markers and ticks go
    figure = new_figure(WIDTH, 8.4)
    above, below = figure.subplots(2, 1)
    look, ends, shares = looks(spectra), [], []
    for label, S in spectra.items():
        if not S[0] > 0:
            raise ValueError(f"spectra[{label!r}] begins with {S[0]}; the largest singular value must be positive")
        S = numpy.pad(S, (0, longest - len(S)))
        share = 100 * numpy.cumsum(S**2) / numpy.sum(S**2)
        n = 1 + numpy.argmax(share >= 90)
        curve = {**look[label].line(), "markevery": powers_of_two, "clip_on": False}
        above.plot(i, S, label=label, **curve)
        below.plot(i, share, label=label, **curve)
        ends.append((longest, S[-1], typeset(label), look[label].color))
        shares.append((longest, share[-1], f"{typeset(label)}:\n90 % in the first {n}", look[label].color))
    # logarithmic down to a thousandth of the largest, and linear below, so that zero has its place
    smallest = 10 ** numpy.ceil(numpy.log10(largest) - 3)
    above.set_yscale("symlog", linthresh=smallest, linscale=0.4)
    above.set_ylim(bottom=0)
    above.axhspan(0, smallest, color=theme().sheet, alpha=0.4, linewidth=0)
    above.set_title(rf"singular value $\sigma_i$ of ${of}$")
    below.set_ylim(0, 100)
    below.set_title(rf"share of $\|{of}\|_F^2$ in the first $i$ (%)")
    for axes, labels in ((above, ends), (below, shares)):
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlim(1, max(longest, 2))
        label_ends(axes, labels, 3.2)
    below.set_xlabel("index $i$ of the direction")
    return caption(figure, note="Grey: linear down to zero.")


@styled
def similarity_heatmap(phi, control=None, *, first="$A_1$", second="$A_2$", titles=PANELS):
    """phi(i, j) as in the paper's figure 3: i downwards, j to the right, light for no overlap, dark for the same.

    Parameters
    ----------
    phi : ndarray of shape (r1, r2)
        From `subspace_similarity`.
    control : ndarray of shape (r1, r2), optional
        Drawn next to phi in the same colours: what random subspaces give, from `random_control`, or another phi.
    first, second : str
        Whose directions i and j count.
    titles : pair of str
        The titles of the two panels.

    Returns
    -------
    Figure
    """
    grids = [phi] if control is None else [phi, control]
    return similarity_grid(dict(zip(titles, grids)), first=first, second=second)


@styled
def similarity_grid(panels, *, first="$A_1$", second="$A_2$", columns=4, largest=1.0, z=None):
    """Several grids of phi(i, j) next to each other, in the same colours, as in the paper's figures 3, 4 and 8.

    Parameters
    ----------
    panels : dict of str to ndarray of shape (r1, r2)
        By title; include a random control to compare with.
    first, second : str
        Whose directions i and j count.
    columns : int
        Panels per row.
    largest : float
        The phi of the darkest colour, above 0 and at most 1; below 1 where all values are small, as in figure 8.
    z : dict of str to float, optional
        By the same titles, the z-score of phi(r1, r2), from `z_of_whole`, which is added to the title.

    Returns
    -------
    Figure
    """
    if not 0 < largest <= 1:
        raise ValueError(f"largest was {largest}; it must be a number above 0, up to 1")
    columns = min(columns, len(panels), 3)
    if len(panels) == 4:
        columns = 2
    rows = -(-len(panels) // columns)
    side = (WIDTH - 1.5) / max(columns, 2)  # inches of a panel
    figure = new_figure(side * columns + 1.5, 0.5 + (side + 0.3) * rows + (1.0 if rows == 1 else 0))
    all_axes = figure.subplots(rows, columns, squeeze=False)
    shown, (*left_over,) = list(all_axes.flat[: len(panels)]), all_axes.flat[len(panels) :]
    for n, (axes, (title, grid)) in enumerate(zip(shown, panels.items())):
        r1, r2 = grid.shape
        if z is not None:
            title = f"{title}\n$z$({r1}, {r2}) = {z[title]:.1f}"
        edges = (0.5, r2 + 0.5, r1 + 0.5, 0.5)
        image = axes.imshow(grid, cmap=sequential(), vmin=0, vmax=largest, aspect="auto", extent=edges)
        axes.set(title=title, xticks=counts(r2), yticks=counts(r1))
        if n + columns >= len(panels):  # the lowest of its column
            axes.set_xlabel("$j$")
        if n % columns == 0:
            axes.set_ylabel("$i$")
        axes.grid(False)
    meaning = "0: orthogonal, 1: contained" if largest == 1 else f"0: orthogonal; the scale ends at {largest:.2g}"
    if left_over:  # the scale takes an empty cell
        for axes in left_over:
            axes.axis("off")
        scale = left_over[0].inset_axes((0.0, 0.62, 1.0, 0.1))
        figure.colorbar(image, cax=scale, orientation="horizontal")
        scale.set_title(r"$\varphi(i, j)$")
        scale.set_xlabel(meaning.replace(", ", ",\n").replace("; ", ";\n"))
    else:
        place = {"location": "bottom", "shrink": 0.6} if rows == 1 else {"pad": 0.02, "fraction": 0.05}
        figure.colorbar(image, ax=shown, label=rf"$\varphi(i, j)$   ({meaning})", **place)
    note = f"$i$ counts directions of {first}, downwards; $j$ those of {second}, to the right."
    return caption(figure, note=note + ("" if z is None else " $z$: standard deviations above random."))


@styled
def amplification_bars(tables, factors=None):
    """Table 7 as bars: how much of W lies in the directions of delta_W, in its own, and in random ones; and how large
    delta_W is there.

    Parameters
    ----------
    tables : dict of str to Amplification
        By label, from `amplification_table`.
    factors : dict of str to float, optional
        The amplification to print below each, such as the mean of several seeds; that of the table, if not given.

    Returns
    -------
    Figure
    """
    factors = factors or {label: table.factor for label, table in tables.items()}
    page, lora = theme(), METHODS["lora"].color
    kinds = {
        r"$W$ in its own directions": ("weight", page.sheet, ""),
        r"$W$ in those of $\Delta W$": ("delta", page.hues["sky"], "//"),
        r"$W$ in random ones": ("random_expected", page.paper, ".."),
        r"$\Delta W$": ("norm_delta", lora, ""),
    }
    figure = new_figure(WIDTH, 5.6)
    axes = figure.subplots()
    places = numpy.arange(len(tables))
    for k, (kind, (field, color, hatch)) in enumerate(kinds.items()):
        values = [getattr(table, field) for table in tables.values()]
        place = places + 0.21 * (k - 1.5)
        bars = axes.bar(place, values, 0.2, color=color, hatch=hatch, edgecolor=page.ink, label=kind)
        axes.bar_label(bars, fmt="%.3g", padding=3, size=13)
    titles = [f"{typeset(label)}\namplification {factors[label]:.3g}" for label in tables]
    axes.set(yscale="log", title="Frobenius norm", xticks=places, xticklabels=titles)
    axes.margins(y=0.12)
    axes.grid(axis="x", visible=False)
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.06), ncols=2)
    return figure


def counts(n):
    """1 and about six more round numbers up to n, for an axis that counts."""
    step = max(1, n // 6)
    return [1, *(k for k in range(step, n + 1, step) if k - 1 >= 0.75 * step and k > 1)]

"""What was learned: the spectrum of delta W, and how far two subspaces agree."""

from itertools import cycle

import numpy

from minilora.plots.style import LINES, new_figure, styled

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
    left.set_ylabel(rf"singular value $\sigma_i$ of ${of}$")
    right.set_ylim(0, 100)
    right.set_ylabel(rf"share of $\|{of}\|_F^2$ in the first $i$ (%)")
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel("index $i$ of the direction")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))  # above, where no curve can be
    return figure


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
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(1.8 + (5.2 if columns < 3 else 4.0) * columns, 0.6 + 4.8 * rows)
    all_axes = figure.subplots(rows, columns, squeeze=False)
    for axes in all_axes.flat[len(panels) :]:
        axes.axis("off")
    for n, (axes, (title, grid)) in enumerate(zip(all_axes.flat, panels.items())):
        r1, r2 = grid.shape
        if z is not None:
            title = f"{title}\n$z$({r1}, {r2}) = {z[title]:.1f}"
        edges = (0.5, r2 + 0.5, r1 + 0.5, 0.5)
        image = axes.imshow(grid, cmap="magma_r", vmin=0, vmax=largest, aspect="auto", extent=edges)
        axes.set(title=title, xticks=_counts(r2), yticks=_counts(r1))
        if n + columns >= len(panels):  # the lowest of its column
            axes.set_xlabel(f"$j$: directions of {second}")
        if n % columns == 0:
            axes.set_ylabel(f"$i$: directions of {first}")
        axes.grid(False)
    meaning = "0: orthogonal, 1: contained" if largest == 1 else "0: orthogonal"
    figure.colorbar(image, ax=all_axes, pad=0.02, label=rf"$\varphi(i, j)$   ({meaning})")
    return figure


@styled
def amplification_bars(tables):
    """Table 7 as bars: how much of W lies in the directions of delta_W, in its own, and in random ones; and how large
    delta_W is there.

    Parameters
    ----------
    tables : dict of str to Amplification
        By label, from `amplification_table`.

    Returns
    -------
    Figure
    """
    kinds = {
        r"$W$ in its own directions": ("weight", "0.8", ""),
        r"$W$ in those of $\Delta W$": ("delta", LINES[1]["color"], "//"),
        r"$W$ in random ones": ("random_expected", "white", ".."),
        r"$\Delta W$": ("norm_delta", LINES[0]["color"], ""),
    }
    figure = new_figure(max(9.0, 2.4 + 3.2 * len(tables)), 6.2)
    axes = figure.subplots()
    places = numpy.arange(len(tables))
    for k, (kind, (field, color, hatch)) in enumerate(kinds.items()):
        values = [getattr(table, field) for table in tables.values()]
        bars = axes.bar(places + 0.21 * (k - 1.5), values, 0.2, color=color, hatch=hatch, edgecolor="black", label=kind)
        axes.bar_label(bars, fmt="%.3g", padding=3, size=13)
    titles = [f"{label}\namplification {table.factor:.3g}" for label, table in tables.items()]
    axes.set(yscale="log", ylabel="Frobenius norm", xticks=places, xticklabels=titles)
    axes.margins(y=0.12)
    axes.grid(axis="x", visible=False)
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def _counts(n):
    """1 and about eight more round numbers up to n, for an axis that counts."""
    step = max(1, n // 8)
    return sorted({1, *range(step, n + 1, step)})

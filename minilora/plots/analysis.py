"""What was learned: the spectrum of delta W, and how far two subspaces agree."""

from itertools import cycle

import numpy

from minilora.plots.style import LINES, new_figure, styled

PANELS = "measured", "random subspaces (expected)"


@styled
def singular_values(spectra, *, of=r"\Delta W"):
    """The singular values of delta_W, and what share of ||delta_W||_F^2 the first i of them carry.

    Parameters
    ----------
    spectra : dict of str to ndarray
        By label: singular values, from large to small. A spectrum that is shorter than the longest is that of a matrix
        of lower rank: the values that it lacks are zero, and are drawn so.
    of : str
        What the axes call the matrix.

    Returns
    -------
    Figure
    """
    longest = max(len(S) for S in spectra.values())
    largest = max(S[0] for S in spectra.values())
    i = numpy.arange(1, longest + 1)
    powers_of_two = [int(n) - 1 for n in i if n & (n - 1) == 0]  # where the markers stand, as do the ticks
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
        Drawn beside it in the same colours: what random subspaces give, from `random_control`, or another phi.
    first, second : str
        Whose directions i and j count.
    titles : pair of str
        What stands above the two.

    Returns
    -------
    Figure
    """
    panels = [phi] if control is None else [phi, control]
    figure = new_figure(1.8 + 5.2 * len(panels), 5.4)
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, title, grid in zip(all_axes, titles, panels):
        r1, r2 = grid.shape
        edges = (0.5, r2 + 0.5, r1 + 0.5, 0.5)
        image = axes.imshow(grid, cmap="magma_r", vmin=0, vmax=1, aspect="auto", extent=edges)
        axes.set(title=title, xlabel=f"$j$: directions of {second}", xticks=_counts(r2), yticks=_counts(r1))
        axes.grid(False)
    all_axes[0].set_ylabel(f"$i$: directions of {first}")
    figure.colorbar(image, ax=all_axes, label=r"$\varphi(i, j)$   (0: orthogonal, 1: contained)")
    return figure


def _counts(n):
    """1 and about eight more round numbers up to n, for an axis that counts."""
    step = max(1, n // 8)
    return sorted({1, *range(step, n + 1, step)})

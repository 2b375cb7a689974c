"""A matrix and the best one of a lower rank; and how many directions matrices have."""

import numpy

from minilora.plots.labels import caption, typeset
from minilora.plots.style import WIDTH, looks, new_figure, styled
from minilora.plots.theme import diverging, theme


@styled
def low_rank(M, low, errors):
    """A matrix, the best one of a lower rank, and what that leaves out: as images, in the spectrum, and by its cost.

    In the images orange is above zero, purple below, white zero, on one scale; it ends at the size that one entry of M
    in a hundred exceeds, because a few large ones would make all others white.

    Parameters
    ----------
    M : ndarray of shape (O, I)
    low : LowRank
        From `low_rank_approximation`.
    errors : LowRankErrors
        From `low_rank_errors`.

    Returns
    -------
    Figure
    """
    r, norm = low.A.shape[0], errors.frobenius[0]
    images = {
        f"$M$: {M.size:,}\nnumbers": M,
        f"$BA$, rank {r}:\n{low.parameters:,} numbers": low.product,
        f"$M - BA$: {100 * low.frobenius_error / norm:.0f} %\n" + r"of $\|M\|_F$": M - low.product,
    }
    page = theme()
    kept = page.hues["blue"]
    height = 2.7 * min(max(M.shape[0] / M.shape[1], 0.3), 1.4)  # inches
    figure = new_figure(WIDTH, height + 8.6)
    above, below = figure.subfigures(2, 1, height_ratios=(height + 1.0, 7.6))
    scale = numpy.percentile(numpy.abs(M), 99) or 1.0
    for axes, (title, array) in zip(above.subplots(1, 3), images.items()):
        axes.imshow(
            array, cmap=diverging(), vmin=-1.6 * scale, vmax=1.6 * scale, aspect="auto", interpolation="nearest"
        )
        axes.set(title=title, xticks=[], yticks=[])
        axes.grid(False)
    left, right = below.subplots(2, 1)
    _cut(left, errors.spectral[:-1], low)
    percent = 100 * errors.parameters / M.size, 100 * errors.frobenius / norm
    right.plot(*percent, color=kept)
    right.plot(percent[0][r], percent[1][r], "o", color=page.paper, markeredgecolor=page.ink, markersize=12)
    right.annotate(f"rank {r}", (percent[0][r], percent[1][r]), (12, 6), textcoords="offset points")
    right.axvline(100, color=page.ink, linewidth=1.6, linestyle="--")
    right.annotate("as many as $M$ has", (100, 103), (4, 0), textcoords="offset points", rotation=90, va="top")
    right.set(xlabel="numbers in $B$ and $A$, % of those of $M$", ylabel=r"$\|M - BA\|_F$, % of $\|M\|_F$")
    right.set(xlim=(0, None), ylim=(0, 105))
    return figure


def _cut(axes, S, low):
    """Singular values, cut after the r that are kept, with both errors of Eckart and Young."""
    i, r, page = numpy.arange(1, len(S) + 1), low.A.shape[0], theme()
    kept = rf"kept: {100 * numpy.sum(S[:r] ** 2) / numpy.sum(S**2):.0f} % of $\|M\|_F^2$"
    rest = rf"left out: $\sqrt{{\sum\, \sigma_i^2}}$ = {low.frobenius_error:.3g} = $\|M - BA\|_F$"
    axes.bar(i[:r], S[:r], 1.0, color=page.hues["blue"], label=kept)
    axes.bar(i[r:], S[r:], 1.0, color=page.hues["pale"], hatch="//", edgecolor=page.soft, linewidth=0, label=rest)
    largest = rf"$\sigma_{{{r + 1}}}$ = {low.spectral_error:.3g} = $\|M - BA\|_2$"
    axes.axhline(low.spectral_error, color=page.ink, linestyle="--", linewidth=1.6, label=largest)
    axes.axvline(r + 0.5, color=page.ink, linewidth=2)
    axes.set(xlabel="index $i$ of the direction", ylabel=r"singular value $\sigma_i$", xlim=(0.5, len(S) + 0.5))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(axis="x", visible=False)
    axes.legend(loc="upper right")


@styled
def ranks(measured, *, share=0.9):
    """How many directions matrices have, in three senses: a row for each matrix, and a mark for each label.

    Parameters
    ----------
    measured : dict of str to dict of str to RankMeasures, or to list of RankMeasures
        By label, such as a method, and by matrix: from `rank_measures`. For a list, the mark is at the mean, and a bar
        spans the smallest to the largest.
    share : float
        The fraction of ||M||_F^2 for which the directions were counted.

    Returns
    -------
    Figure
    """
    names = list(dict.fromkeys(name for rows in measured.values() for name in rows))
    senses = {
        "directions": rf"directions for {100 * share:g} % of $\|M\|_F^2$, where $M$ is the matrix of the row",
        "stable_rank": r"stable rank of $M$",
        "effective_rank": r"effective rank of $M$",
    }
    figure = new_figure(WIDTH, 3 * (0.6 + 0.3 * max(4, len(names))) + 0.9)
    all_axes = figure.subplots(3, 1, sharex=True, sharey=True)
    look, spanned = looks(measured), False
    for axes, (name, title) in zip(all_axes, senses.items()):
        for k, (label, rows) in enumerate(measured.items()):
            places = numpy.array([names.index(name) for name in rows]) + 0.16 * (k - (len(measured) - 1) / 2)
            values = [numpy.array([getattr(m, name) for m in _several(seeds)]) for seeds in rows.values()]
            means = numpy.array([v.mean() for v in values])
            spans = numpy.maximum([(m - v.min(), v.max() - m) for m, v in zip(means, values)], 0).T
            spanned = spanned or bool((spans > 0).any())
            axes.errorbar(means, places, xerr=spans, fmt="none", ecolor=look[label].color, elinewidth=1.6)
            axes.plot(means, places, linestyle="none", label=typeset(label), **look[label].marks())
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_title(title)
    all_axes[0].set_yticks(range(len(names)), list(map(typeset, names)))
    all_axes[0].set_ylim(len(names) - 0.5, -0.5)
    all_axes[0].legend(loc="lower left", bbox_to_anchor=(0.0, 1.0 + 0.9 / (0.3 * len(names) + 0.6) / 2.2), ncols=2)
    return caption(figure, note="Mark: the mean. Bar: lowest to highest." if spanned else None)


def _several(measures):
    """One measure, or those of several seeds, as a list."""
    return measures if isinstance(measures, list) else [measures]


@styled
def word_image(word="LoRA", shape=(48, 120)):
    """A word as a matrix, 1 where there is ink and 0 elsewhere: something to approximate that needs no file.

    Parameters
    ----------
    word : str
    shape : tuple of int
        (O, I)

    Returns
    -------
    M : ndarray of shape (O, I)
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import PathPatch
    from matplotlib.textpath import TextPath
    from matplotlib.transforms import Bbox, BboxTransform

    path = TextPath((0, 0), word, size=1)
    figure = Figure(figsize=(shape[1] / 100, shape[0] / 100), dpi=100)
    margins = Bbox.from_extents(0.06 * shape[1], 0.15 * shape[0], 0.94 * shape[1], 0.85 * shape[0])
    figure.add_artist(PathPatch(path, color="black", transform=BboxTransform(path.get_extents(), margins)))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return 1.0 - numpy.asarray(canvas.buffer_rgba())[:, :, 0] / 255.0

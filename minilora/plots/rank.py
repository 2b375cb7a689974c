"""What rank is, and what a lower one leaves out."""

from itertools import cycle

import numpy

from minilora.plots.style import LINES, new_figure, styled

KEPT, LEFT_OUT = "#0072B2", "#E9B872"


@styled
def rank_picture(B, A):
    """B A has rank r at most: each of its rows is a mixture of A's r rows, each of its columns one of B's r columns.

    Above, the product; below, the same as a sum of r matrices b_k a_k, column k of B times row k of A, each of which
    has one row only, taken several times. Dark is negative, light positive; product and terms share one scale. The
    entries are written into the cells if they are integers, and show it best if they are small.

    Parameters
    ----------
    B : ndarray of shape (O, r)
    A : ndarray of shape (r, I)
        An r of 1 to 3, with up to ten rows and columns, can be read.

    Returns
    -------
    Figure
    """
    (O, r), I = B.shape, A.shape[1]
    if not 1 <= r <= 3:
        raise ValueError(f"r was {r}; from 1 to 3 terms can be drawn")
    whole = numpy.issubdtype(numpy.result_type(B, A), numpy.integer)
    terms = [numpy.outer(B[:, k], A[k]) for k in range(r)]  # each (O, I)
    common = max(numpy.abs(M).max() for M in (B @ A, *terms))
    above = [(f"$B$\n${O} \\times {r}$", B, numpy.abs(B).max()),
             ("$\\cdot$", None, None), (f"$A$\n${r} \\times {I}$", A, numpy.abs(A).max()),
             ("=", None, None), (f"$BA$: rank {r} at most\n${O} \\times {I}$", B @ A, common)]  # fmt: skip
    below = []
    for k, term in enumerate(terms, start=1):
        below += [("+" if k > 1 else "=", None, None), (f"$b_{k}\\,a_{k}$: rank 1", term, common)]
    figure = new_figure(13, 8.6)
    for part, panels in zip(figure.subfigures(2, 1), (above, below)):
        widths = [0.3 if M is None else M.shape[1] / I + 0.15 for _, M, _ in panels]
        for axes, (title, M, largest) in zip(part.subplots(1, len(panels), width_ratios=widths), panels):
            axes.grid(False)
            if M is None:
                axes.axis("off")
                axes.text(0.5, 0.5, title, size=34, ha="center", va="center")
                continue
            axes.imshow(M, cmap="cividis", vmin=-largest, vmax=largest)
            for (row, column), entry in numpy.ndenumerate(M) if whole else ():
                color = "black" if entry > 0 else "white"
                axes.text(column, row, entry, size=11 if r == 3 else 15, ha="center", va="center", color=color)
            axes.set(title=title, xticks=[], yticks=[])
    part.suptitle("in each of these, all rows are multiples of one row, and all columns of one column")
    return figure


@styled
def spectrum_cut(S, r):
    """Singular values as bars, cut behind the first r: what an approximation of rank r keeps, and what it leaves out.

    Parameters
    ----------
    S : ndarray of shape (n,)
        Singular values, from large to small.
    r : int
        From 1 to n - 1.

    Returns
    -------
    Figure
    """
    if not 1 <= r < len(S):
        raise ValueError(f"r was {r}; it may be an integer from 1 to {len(S) - 1}")
    figure = new_figure(11, 6)
    axes = figure.subplots()
    i = numpy.arange(1, len(S) + 1)
    energy = 100 * numpy.sum(S[:r] ** 2) / numpy.sum(S**2)
    frobenius = numpy.linalg.norm(S[r:])
    axes.bar(i[:r], S[:r], color=KEPT, edgecolor="black", label=f"kept, rank {r}: {energy:.1f} % of the energy")
    axes.bar(i[r:], S[r:], color=LEFT_OUT, edgecolor="black", hatch="//", label="left out: "
             rf"$\sqrt{{\sum\, \sigma_i^2}}$ = {frobenius:.3g} = $\|M - BA\|_F$")  # fmt: skip
    axes.axhline(S[r], color="black", linestyle="--", linewidth=1.6, label=rf"$\sigma_{{{r + 1}}}$ = {S[r]:.3g} = "
                 r"$\|M - BA\|_2$")  # fmt: skip
    axes.axvline(r + 0.5, color="black", linewidth=2)
    axes.set(xlabel="index $i$ of the direction", ylabel=r"singular value $\sigma_i$", xlim=(0.3, len(S) + 0.7))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(axis="x", visible=False)
    axes.legend(loc="upper right")
    return figure


@styled
def low_rank_images(M, approximations):
    """A matrix as a picture in grey, beside its approximations of growing rank, with what each costs and leaves out.

    Parameters
    ----------
    M : ndarray of shape (O, I)
    approximations : list of LowRank
        From `low_rank_approximation`.

    Returns
    -------
    Figure
    """
    norm = numpy.linalg.norm(M)
    panels = [
        (f"rank {low.A.shape[0]}\n{low.parameters:,} numbers\n{100 * low.frobenius_error / norm:.0f} % left out",
         low.product)
        for low in approximations
    ]  # fmt: skip
    panels.append((f"the matrix\n{M.size:,} numbers\n", M))
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    height = 4.2 * M.shape[0] / M.shape[1] + 1.3
    figure = new_figure(4.4 * columns, rows * height)
    all_axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in all_axes:
        axes.axis("off")
    for axes, (title, image) in zip(all_axes, panels):
        axes.imshow(image, cmap="gray", vmin=M.min(), vmax=M.max())
        axes.set_title(title)
    return figure


@styled
def word_image(word="LoRA", shape=(60, 150)):
    """A word as a matrix, 0 for black and 1 for white: something to approximate that needs no file.

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
    return numpy.asarray(canvas.buffer_rgba())[:, :, 0] / 255.0


@styled
def error_against_parameters(errors, entries):
    """What is left out of ||M||_F, as the rank grows and with it the number of parameters of B and A.

    Parameters
    ----------
    errors : dict of str to LowRankErrors
        By label, from `low_rank_errors`; matrices of one shape.
    entries : int
        O I, how many numbers such a matrix holds.

    Returns
    -------
    Figure
    """
    figure = new_figure(11, 6)
    axes = figure.subplots()
    for (label, e), line in zip(errors.items(), cycle(LINES)):
        marked = [r for r in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024) if r < len(e.parameters)]
        curve = {**line, "markevery": marked, "markeredgecolor": "black", "clip_on": False}
        axes.plot(100 * e.parameters / entries, 100 * e.frobenius / e.frobenius[0], label=label, **curve)
    axes.axvline(100, color="black", linewidth=1.6, linestyle="--")
    axes.annotate("as many as the matrix itself", (100, 98), (8, 0), textcoords="offset points", size=13, va="top")
    axes.set(xlabel=r"parameters of $B$ and $A$, % of $O \cdot I$   (markers: rank 1, 2, 4, 8, ...)",
             ylabel=r"$\|M - BA\|_F$, % of $\|M\|_F$", ylim=(0, 100), xlim=(0, None))  # fmt: skip
    axes.legend(loc="center right")
    return figure


@styled
def directions_bars(counts, share=0.9):
    """How many singular directions carry a share of ||delta_W||_F^2, for each layer.

    Parameters
    ----------
    counts : dict of str to dict of str to int
        By label (a method), and by layer: from `rank_measures` or `directions_for`.
    share : float
        Of the energy.

    Returns
    -------
    Figure
    """
    layers = list(dict.fromkeys(layer for row in counts.values() for layer in row))
    height = 0.8 / len(counts)
    figure = new_figure(11, 1.8 + 0.42 * len(layers) * max(1, 0.6 * len(counts)))
    axes = figure.subplots()
    styles = cycle(zip([line["color"] for line in LINES], ("", "//", "..", "xx", "--")))
    for k, ((label, row), (color, hatch)) in enumerate(zip(counts.items(), styles)):
        places = [layers.index(layer) - 0.4 + height * (k + 0.5) for layer in row]
        bars = axes.barh(places, row.values(), height, color=color, hatch=hatch, edgecolor="black", label=label)
        axes.bar_label(bars, padding=4, size=13)
    axes.set_yticks(range(len(layers)), layers)
    axes.tick_params(axis="y", labelsize=13)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel(rf"directions that carry {100 * share:g} % of $\|\Delta W\|_F^2$")
    axes.grid(axis="y", visible=False)
    figure.legend(loc="outside upper right", ncols=len(counts))
    return figure

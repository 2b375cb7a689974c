"""Many small panels of two curves each, which the eye compares at one glance."""

from textwrap import fill

from minilora.plots.style import WIDTH, looks, new_figure, styled

TITLE = 24  # letters in a line of a panel's title


@styled
def small_multiples(panels, *, xlabel, ylabel, columns=3):
    """A panel for each comparison, all with the same axes.

    Parameters
    ----------
    panels : dict of str to dict of str to (x, y)
        By the panel's title and the curve's label; the labels are the same in all panels. A y that is not finite is
        not drawn.
    xlabel, ylabel : str
    columns : int
        Panels per row.

    Returns
    -------
    Figure
    """
    rows = -(-len(panels) // columns)
    figure = new_figure(WIDTH, 2.7 * rows + 0.6)
    look = looks(next(iter(panels.values())))
    all_axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes in all_axes[len(panels) :]:
        axes.axis("off")
    for n, (axes, (title, lines)) in enumerate(zip(all_axes, panels.items())):
        axes.set_title(fill(title, TITLE))
        for label, (x, y) in lines.items():
            axes.plot(x, y, label=label, color=look[label].color, linestyle=look[label].dash)
        axes.tick_params(labelbottom=True, labelleft=True)
        if n + columns >= len(panels):
            axes.set_xlabel(xlabel)
        if n % columns == 0:
            axes.set_ylabel(ylabel)
    handles, labels = all_axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure

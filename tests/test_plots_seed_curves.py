"""Curves of a score against a number, and bars of what is slower than the base."""

import pytest

from minilora import plots


def test_a_curve_goes_through_the_means_and_leaves_out_what_diverged():
    lines = {"one": [(1, [1.0, 3.0]), (2, [5.0, None]), (4, [None, None])], "two": [(1, [2.0, 2.0])]}
    axes, other = plots.seed_curves({"loss": lines, "score": lines}, xlabel="rank", xscale="log2").axes
    curve = axes.containers[0].lines[0]
    assert curve.get_xydata().tolist() == [[1, 2], [2, 5]]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "2", "4"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["one", "two"]
    assert (axes.get_ylabel(), other.get_ylabel(), axes.get_xlabel()) == ("loss", "score", "rank")


def test_equal_scores_have_a_bar_of_no_length():
    plots.seed_curves({"loss": {"one": [(1, [0.1] * 3), (2, [2.7 + 1e-16, 2.7, 2.7])]}}, xlabel="rank")


def test_a_single_curve_needs_no_legend():
    (axes,) = plots.seed_curves({"loss": {"one": [(0.1, [1.0])]}}, xlabel="lr", xscale="log").axes
    assert axes.get_legend() is None and axes.get_xscale() == "log"


def test_panels_stand_in_rows_and_each_curve_is_explained_once():
    def lines(*labels):
        return {label: [(1, [0.0, 1.0])] for label in labels}

    panels = {"a": lines("q", "v"), "b": lines("q", "v"), "c": lines("q", "k"), "d": lines("v", "q"), "e": lines("x")}
    figure = plots.seed_curves(panels, xlabel="x", columns=2)
    assert [axes.get_subplotspec().rowspan.start for axes in figure.axes] == [0, 0, 1, 1, 2, 2]
    legends = [axes.get_legend() for axes in figure.axes]
    explained = [legend and [text.get_text() for text in legend.get_texts()] for legend in legends]
    assert explained == [["q", "v"], None, ["k"], ["v", "q"], None, None], "v and q look otherwise in d"
    assert not figure.axes[5].axison


def test_overheads_have_a_panel_for_each_shape():
    bars = {"a": (1.0, 2.0, 3.0), "b": (-1.0, 0.0, 1.0)}
    figure = plots.overheads({"32 x 256": bars, "1 x 64": bars}, ylabel="slower (%)")
    assert [axes.get_title() for axes in figure.axes] == ["32 x 256", "1 x 64"]
    heights = [patch.get_height() for patch in figure.axes[0].patches]
    assert heights == pytest.approx([2.0, 0.0])

"""Curves of a score against a number, and bars of what is slower than the base."""

import pytest

from minilora import plots
from minilora.plots.seed_curves import power_of_ten
from plotted import title_of


def curve(axes, label):
    """A curve's points."""
    (line,) = (line for line in axes.get_lines() if line.get_label() == label)
    return line.get_xydata()


def words(axes):
    return [text.get_text() for text in axes.texts]


@pytest.mark.parametrize("xscale", ["log2", "log", None])
def test_a_curve_goes_through_the_means_and_leaves_out_what_diverged(xscale):
    lines = {"one": [(1, [1.0, 3.0]), (2, [5.0, None]), (4, [None, None])], "two": [(1, [2.0, 2.0])]}
    axes, other = plots.seed_curves({"loss": lines, "score": lines}, xlabel="rank", xscale=xscale).axes
    assert curve(axes, "one")[:, 1].tolist() == [2, 5]
    assert [title_of(axes) for axes in (axes, other)] == ["loss", "score"]
    assert other.get_xlabel() == "rank" and set(words(axes)) == {"one", "two"}
    if xscale == "log2":
        assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "2"]
        one, two = curve(axes, "one"), curve(axes, "two")
        assert one[0, 0] < 1 < two[0, 0] < one[1, 0], "whiskers stand next to each other, between the ranks' middles"
    else:
        assert curve(axes, "one")[:, 0].tolist() == [1, 2]
        (band,) = [c for c in axes.collections if len(c.get_paths()) and len(c.get_paths()[0].vertices) > 4]
        assert band.get_paths()[0].get_extents().extents.tolist() == [1, 1, 2, 5], "from the lowest to the highest"


@pytest.mark.parametrize(
    ("sizes", "marked"),
    [
        ((8_000, 1_900_000), ["10,000", "100,000", "1,000,000"]),
        ((190_000, 134_000_000), ["$10^{6}$", "$10^{7}$", "$10^{8}$"]),
        ((2e-6, 0.5), ["$10^{-5}$", "$10^{-4}$", "$10^{-3}$", "$10^{-2}$", "$10^{-1}$"]),
    ],
)
def test_an_axis_has_plain_numbers_or_powers_and_never_both(sizes, marked):
    figure = plots.parameters_against_score({"LoRA": [(n, [1.0, 2.0]) for n in sizes]}, ylabel="BLEU")
    (axes,) = figure.axes
    figure.canvas.draw()
    low, high = axes.get_xlim()
    ticks = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    assert [label.get_text() for x, label in ticks if low <= x <= high] == marked


def test_a_number_between_powers_of_ten_is_a_multiple_of_one():
    assert [power_of_ten(x) for x in (1e8, 2e7, 5e-6)] == ["$10^{8}$", r"$2 \cdot 10^{7}$", r"$5 \cdot 10^{-6}$"]


@pytest.mark.parametrize(("highest", "marked"), [(1024, ["200", "500", "1,000"]), (99_000, ["1,000", "10,000"])])
def test_a_short_logarithmic_axis_is_marked_at_2_and_5_as_well(highest, marked):
    lines = {"one": [(128, [1.0]), (512, [1.0]), (highest, [1.0])]}
    figure = plots.seed_curves({"loss": lines}, xlabel="windows read", xscale="log")
    figure.canvas.draw()
    axis = figure.axes[0].xaxis
    shown = {minor: [mark.get_text() for mark in axis.get_ticklabels(minor=minor)] for minor in (False, True)}
    assert [text for text in shown[False] if 128 <= float(text.replace(",", "")) < highest] == marked
    assert not any(shown[True])


def test_a_method_that_was_not_run_is_left_out():
    (axes,) = plots.seed_curves({"loss": {"LoRA": [(1, [1.0])], "BitFit": []}}, xlabel="rank").axes
    assert [line.get_label() for line in axes.get_lines() if line.get_label()[0] != "_"] == ["LoRA"]


def test_equal_scores_have_a_bar_of_no_length():
    plots.seed_curves({"loss": {"one": [(1, [0.1] * 3), (2, [2.7 + 1e-16, 2.7, 2.7])]}}, xlabel="rank")


def test_a_single_curve_needs_no_label():
    (axes,) = plots.seed_curves({"loss": {"one": [(0.1, [1.0])]}}, xlabel="lr", xscale="log").axes
    assert axes.get_legend() is None and not axes.texts and axes.get_xscale() == "log"


def test_panels_stand_in_rows_and_each_curve_has_its_label():
    def lines(*labels):
        return {label: [(1, [0.0, 1.0])] for label in labels}

    panels = {"a": lines("q", "v"), "b": lines("q", "v"), "c": lines("q", "k"), "d": lines("v", "q"), "e": lines("x")}
    figure = plots.seed_curves(panels, xlabel="x")
    assert [axes.get_subplotspec().rowspan.start for axes in figure.axes] == [0, 0, 1, 1, 2], "no empty cell"
    assert [set(words(axes)) for axes in figure.axes[:4]] == [set("qv"), set("qv"), set("qk"), set("qv")]
    labelled = [[line for line in axes.get_lines() if not line.get_label().startswith("_")] for axes in figure.axes]
    colors = [{line.get_label(): line.get_color() for line in lines_of} for lines_of in labelled]
    assert colors[0] == colors[1] == colors[3] and colors[2]["q"] == colors[0]["q"], "one colour in all panels"


def test_overheads_have_a_panel_for_each_shape():
    bars = {"a": (1.0, 2.0, 3.0), "b": (-1.0, 0.0, 1.0)}
    figure = plots.overheads({"32 x 256": bars, "1 x 64": bars}, ylabel="slower (%)")
    assert [title_of(axes) for axes in figure.axes] == ["32 x 256", "1 x 64"]
    lengths = [patch.get_width() for patch in figure.axes[0].patches]
    assert lengths == pytest.approx([2.0, 0.0])

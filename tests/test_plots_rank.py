"""The pictures of rank: what is drawn is what was calculated."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from minilora import plots
from minilora.analysis import (
    RankMeasures,
    low_rank_approximation,
    low_rank_errors,
    matrix_rank_steps,
    rank_measures,
)
from plotted import WORD, title_of

TEXTBOOK = [[1, 2], [2, 5], [2, 4]]
GAUSSIAN = np.random.default_rng(0).standard_normal((12, 9))


def arrows_of(axes):
    """Where each arrow ends, and its colour."""
    drawn = [text for text in axes.texts if getattr(text, "arrow_patch", None)]
    return [(tuple(text.xy), to_hex(text.arrow_patch.get_edgecolor())) for text in drawn]


def test_multiples_of_each_other_share_a_colour_and_a_line():
    axes = plots.arrows({"row 1": (1, 2), "row 2": (2, 5), "row 3": (2, 4), "row 4": (-1, -2)}).axes[0]
    heads, colors = zip(*arrows_of(axes))
    assert heads == ((1, 2), (2, 5), (2, 4), (-1, -2))
    assert colors[0] == colors[2] == colors[3] != colors[1]
    assert len([line for line in axes.lines if to_hex(line.get_color()) in colors]) == 2


def test_arrows_on_one_line_are_told_apart_if_asked_for():
    (axes,) = plots.arrows({"V": (1, 2), "W": (-1, 1), "longer": (2, 4)}, distinct=True).axes
    heads, colors = zip(*arrows_of(axes))
    assert len(set(colors)) == 3 and heads.index((2, 4)) < heads.index((1, 2)), "the shorter is on top"


def test_the_ellipse_is_the_image_of_the_circle_and_its_half_axes_are_drawn():
    M = np.array([[1.0, 2.0], [0.5, -0.6]])
    U, S, Vt = np.linalg.svd(M)
    U, Vt = U * [1, -1], Vt * [[1], [-1]]  # as good, and U is not its own transpose
    left, right = plots.circle_and_image(M, U, S, Vt).axes
    circle, ellipse = (np.array(axes.lines[0].get_data()) for axes in (left, right))
    assert np.allclose(np.linalg.norm(circle, axis=0), 1)
    assert np.allclose(ellipse, M @ circle)
    assert [head for head, _ in arrows_of(left)] == [tuple(v) for v in Vt]
    assert np.allclose([head for head, _ in arrows_of(right)], (M @ Vt.T).T)
    assert np.linalg.norm(ellipse, axis=0).max() == pytest.approx(S[0], rel=1e-3)


def drawn(axes, n_rows, n_columns):
    """The entries in their cells."""
    entries = {(t.get_position()[1] - 0.5, t.get_position()[0] - 0.5): t.get_text() for t in axes.texts}
    return [[entries[i, j] for j in range(n_columns)] for i in range(n_rows)]


def boxes(axes, color):
    """The first corner, as column and row, of what is framed or filled with a colour."""
    lines = [line.get_xydata()[0] for line in axes.lines if to_hex(line.get_color()) == color and len(line.get_xdata())]
    filled = [patch.get_xy()[0] for patch in axes.patches if to_hex(patch.get_facecolor()) == color]
    return [tuple(corner.astype(int)) for corner in (*lines, *filled)]


def test_elimination_is_drawn_step_by_step():
    figure = plots.elimination(matrix_rank_steps(TEXTBOOK))
    assert [title_of(axes) for axes in figure.axes] == [
        "the matrix",
        "row 2 minus 2 times row 1",
        "row 3 minus 2 times row 1",
    ]
    assert [drawn(axes, 3, 2) for axes in figure.axes] == [
        [["1", "2"], ["2", "5"], ["2", "4"]],
        [["1", "2"], ["0", "1"], ["2", "4"]],
        [["1", "2"], ["0", "1"], ["0", "0"]],
    ]
    assert figure.get_supxlabel() == "2 rows are left, not zero, each with a pivot (framed): the rank is 2"


def test_what_a_step_has_changed_is_orange_and_the_pivots_are_framed():
    *before, last = plots.elimination(matrix_rank_steps([[0, 0, 3], [0, 2, 1], [0, 4, 5]])).axes
    assert title_of(before[0]) == "the matrix" and not boxes(before[0], "#f2b661")
    assert title_of(before[1]) == "swap row 1 and row 2" and boxes(before[1], "#f2b661") == [(0, 0), (0, 1)]
    assert [boxes(axes, "#0072b2") for axes in before] == [[]] * len(before)
    assert boxes(last, "#0072b2") == [(1, 0), (2, 1)]


def test_a_row_of_zeros_is_crossed_out_and_no_other():
    last = plots.elimination(matrix_rank_steps(TEXTBOOK)).axes[-1]
    assert boxes(last, "#595959") == [(0, 2)], "not row 2, which begins with a zero"


def test_a_row_is_orange_once_when_it_changes():
    *_, second, third = plots.elimination(matrix_rank_steps(TEXTBOOK)).axes
    assert boxes(second, "#f2b661") == [(0, 1)] and boxes(third, "#f2b661") == [(0, 2)]


def test_fractions_are_fractions():
    last = plots.elimination(matrix_rank_steps([[1, "1/3"], [3, 2]])).axes[-1]
    assert drawn(last, 2, 2) == [["1", "1/3"], ["0", "1"]]


def test_steps_are_in_rows_that_fit():
    figure = plots.elimination(matrix_rank_steps(np.tri(4, dtype=int)))
    assert [bool(title_of(axes)) for axes in figure.axes] == [True] * 7, "no empty cell"
    with pytest.raises(
        ValueError, match="the elimination had 29 steps, with the matrix itself; it must have at most 24"
    ):
        plots.elimination(matrix_rank_steps(np.tri(8, dtype=int)))


def test_the_numerical_rank_is_what_lies_above_the_tolerance():
    S = np.array([4.0, 1.0, 1e-3, 1e-9, 0.0])
    (axes,) = plots.spectrum_cut(S, 1e-3).axes
    above, below, tolerance = axes.get_lines()
    assert above.get_xydata().tolist() == [[1, 4], [2, 1]] and above.get_label().endswith("the numerical rank is 2")
    assert below.get_xdata().tolist() == [3, 4, 5] and below.get_ydata()[:2].tolist() == [1e-3, 1e-9]
    assert axes.get_ylim()[0] < below.get_ydata()[2] < 1e-9, "zero has its place, below all others"
    assert set(tolerance.get_ydata()) == {1e-3} and axes.get_yscale() == "log"
    for S, tolerance in (([0.0], 1.0), ([1.0], 0.0)):
        with pytest.raises(ValueError, match=rf"S began with {S[0]}, and tolerance was {tolerance}"):
            plots.spectrum_cut(np.array(S), tolerance)


@pytest.mark.parametrize("r", [1, 4, 9])
def test_a_lower_rank_is_shown_with_its_image_its_error_and_its_cost(r):
    low, errors = low_rank_approximation(GAUSSIAN, r), low_rank_errors(GAUSSIAN)
    *images, cut, cost = plots.low_rank(GAUSSIAN, low, errors).axes
    arrays = [axes.get_images()[0].get_array() for axes in images]
    for array, expected in zip(arrays, (GAUSSIAN, low.product, GAUSSIAN - low.product), strict=True):
        np.testing.assert_allclose(array, expected)
    assert len({axes.get_images()[0].get_clim() for axes in images}) == 1
    norm = np.linalg.norm(GAUSSIAN)
    percent = 100 * np.linalg.norm(GAUSSIAN - low.product) / norm
    said = [title_of(axes).replace("\n", " ") for axes in images]
    assert "108 numbers" in said[0] and f"{r * 21} numbers" in said[1] and f" {percent:.0f} % of" in said[2]

    S = np.linalg.svd(GAUSSIAN, compute_uv=False)
    kept, left_out = cut.containers
    assert [bar.get_height() for bar in kept] == pytest.approx(S[:r])
    assert [bar.get_height() for bar in left_out] == pytest.approx(S[r:])
    labels = [text.get_text() for text in cut.get_legend().get_texts()]
    assert any(f"= {low.frobenius_error:.3g} =" in label for label in labels)
    assert any(f"= {low.spectral_error:.3g} =" in label for label in labels)

    curve, point, _ = cost.get_lines()
    assert point.get_xydata().tolist() == [[pytest.approx(100 * 21 * r / 108), pytest.approx(percent, abs=1e-9)]]
    assert curve.get_ydata()[0] == 100 and curve.get_xydata()[r].tolist() == point.get_xydata()[0].tolist()


def test_a_few_large_entries_do_not_make_the_others_white():
    M = np.linspace(-1, 1, 400).reshape(20, 20).copy()
    M[0, 0] = 1e6
    axes = plots.low_rank(M, low_rank_approximation(M, 1), low_rank_errors(M)).axes[0]
    assert axes.get_images()[0].get_clim() == pytest.approx((-1.6, 1.6), rel=0.02)


def test_a_word_is_a_matrix_of_ink():
    assert WORD.shape == (20, 30) and WORD.min() == 0 and WORD.max() == 1
    assert WORD[0].max() == 0 and WORD[:, 0].max() == 0
    assert not np.array_equal(WORD, plots.word_image("AB", (20, 30)))


def test_every_matrix_has_a_row_and_every_sense_of_rank_a_panel():
    of_W = rank_measures({"q": GAUSSIAN, "v": GAUSSIAN[:, :4]}, 0.5)
    seeds = [RankMeasures(9, 2.0 + seed, 4.0, 3 + seed, 1.0) for seed in (0, 1, 3)]
    figure = plots.ranks({"W": of_W, "delta": {"v": seeds, "head": seeds}}, share=0.5)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["q", "v", "head"]
    assert figure.axes[0].yaxis_inverted() and "50 %" in title_of(figure.axes[0])
    for axes, name in zip(figure.axes, ("directions", "stable_rank", "effective_rank"), strict=True):
        points = [line.get_xydata() for line in axes.get_lines() if line.get_label() in ("W", "delta")]
        values = [getattr(m, name) for m in seeds]
        assert points[0][:, 0].tolist() == [getattr(of_W[row], name) for row in "qv"]
        assert points[1][:, 0].tolist() == [np.mean(values)] * 2
        assert [np.round(y).tolist() for y in (points[0][:, 1], points[1][:, 1])] == [[0, 1], [1, 2]]
        assert points[0][1, 1] < points[1][0, 1], "in the same row, one below the other"
        (bars,) = axes.containers[1].lines[2]
        ends = [[min(values), max(values)]] * 2
        assert [segment[:, 0].tolist() for segment in bars.get_segments()] == ends
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["W", "delta"]

"""The tutorials' pictures: what is drawn is what was given."""

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex

from minilora import plots
from minilora.plots.style import METHODS
from plotted import title_of


def cells(figure):
    """The meshes of `matrices`: one per matrix."""
    return figure.axes[0].collections


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_every_entry_of_a_matrix_is_a_cell_with_its_number_in_it():
    figure = plots.matrices({"$W$": np.array([[1.5, 0.0], [-12.34, 1e-4], [250.0, 0.126]])})
    (mesh,) = cells(figure)
    assert mesh.get_array().shape == (3, 2)
    assert texts(figure) == ["1.50", "0", "-12.3", "1e-4", "250", "0.13", "$W$", "3 × 2"]


def test_a_vector_is_a_row_and_signs_stand_between():
    figure = plots.matrices({"$y$": np.ones((2, 3)), "bias": np.ones(3)}, ("+",))
    assert [mesh.get_array().shape for mesh in cells(figure)] == [(2, 3), (1, 3)]
    assert [text for text in texts(figure) if text != "1"] == ["$y$", "2 × 3", "+", "bias", "1 × 3"]


def test_matrices_share_one_scale_unless_told_otherwise():
    small, large = {"a": np.full((2, 2), 1.0), "b": np.full((2, 2), 4.0)}.items()
    a, b = (mesh.get_array()[0, 0] for mesh in cells(plots.matrices(dict((small, large)))))
    assert a == pytest.approx(b / 4)
    a, b = (mesh.get_array()[0, 0] for mesh in cells(plots.matrices(dict((small, large)), own_scale=True)))
    assert a == b


def test_above_zero_is_orange_and_below_is_purple_and_zero_neither():
    (mesh,) = cells(plots.matrices({"a": np.array([[-1.0, 0.0, 1.0]])}))
    (below, zero, above) = mesh.cmap(mesh.norm(mesh.get_array()))[0]
    assert below[2] > below[0] and above[0] > above[2]
    assert zero[:3] == pytest.approx([0.97] * 3, abs=0.02)


def test_a_matrix_of_zeros_is_drawn():
    assert texts(plots.matrices({"$dA$": np.zeros((1, 2))}))[:2] == ["0", "0"]


def test_what_is_negative_can_be_seen_in_grey_where_there_is_no_room_for_numbers():
    figure = plots.matrices({"a": np.ones((19, 30))})
    assert texts(figure) == ["a", "19 × 30"], "nothing is written into small cells"
    (mesh,) = cells(figure)
    below, zero, above = mesh.cmap(mesh.norm(np.array([-1.0, 0.0, 1.0])))[:, :3] @ (0.2126, 0.7152, 0.0722)
    assert below + 0.2 < above < zero - 0.1


def test_a_word_is_shaded_by_what_it_says():
    figure = plots.word_grid({"zeros": {"bad": "passes", "good": "caught"}}, {"passes": "white", "caught": "blue"})
    axes = figure.axes[0]
    assert texts(figure) == ["passes", "caught"]
    assert [to_hex(patch.get_facecolor()) for patch in axes.patches] == ["#ffffff", "#0072b2"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["bad", "good"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["zeros"]


@pytest.mark.parametrize(("log", "scales"), [("", 2 * ("linear",)), ("y", ("linear", "log")), ("xy", 2 * ("log",))])
def test_curves_are_what_was_given_on_the_axes_that_were_asked_for(log, scales):
    axes = plots.curves({"a": ([1, 2, 4], [3, 5, 7])}, x="rank", y="loss", log=log).axes[0]
    assert axes.get_lines()[0].get_xydata().tolist() == [[1, 3], [2, 5], [4, 7]]
    assert (axes.get_xscale(), axes.get_yscale()) == scales
    assert (axes.get_xlabel(), title_of(axes)) == ("rank", "loss")
    assert axes.get_legend() is None


def test_bars_have_their_values_beside_them_and_the_first_on_top():
    figure = plots.bars({"LoRA": 1536, "full": 589_824}, x="numbers", log=True)
    axes = figure.axes[0]
    assert [bar.get_width() for bar in axes.patches] == [1536, 589_824]
    assert texts(figure) == ["1,536", "589,824"]
    assert axes.yaxis_inverted() and axes.get_xscale() == "log"


def test_a_method_that_is_timed_has_its_own_colour():
    axes = plots.timings({"base": [3.0], "full fine-tuning": [4.0], "LoRA, last block": [1.0]}).axes[0]
    _, full, lora = (line for line in axes.lines if line.get_marker() != "|")
    assert (full.get_color(), lora.get_color()) == (METHODS["full"].color, METHODS["lora"].color)


def test_timings_are_dots_with_a_stroke_at_the_smallest():
    figure = plots.timings({"base": [3.0, 4.0, 8.0], "adapters": [5.0, 6.0, 90.0]})
    axes = figure.axes[0]
    dots = [line.get_xydata().tolist() for line in axes.get_lines() if line.get_marker() != "|"]
    assert dots == [[[3, 0], [4, 0], [8, 0]], [[5, 1], [6, 1], [90, 1]]]
    assert [line.get_xdata()[0] for line in axes.get_lines() if line.get_marker() == "|"] == [3, 5]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["base   3", "adapters   5"]
    assert axes.get_xlim() == (0, 15)


def test_attention_has_a_panel_for_each_head_and_a_character_for_each_position():
    probs = np.random.default_rng(0).random((2, 3, 3))
    *panels, bar = plots.attention_map(probs, "a\nb").axes
    for axes, grid in zip(panels, probs):
        (image,) = axes.get_images()
        assert image.get_array().tolist() == grid.tolist()
        assert image.get_clim() == (0, 1)
        assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "↵", "b"]
    assert bar.get_ylabel() == "probability"


def test_marked_text_marks_what_counts():
    figure = plots.marked_text("x\nyes", [False, False, True, True, True], marked="counts", unmarked="context", width=4)
    assert texts(figure) == ["x", "↵", "y", "e", "s", "counts", "context"]
    shades = [to_hex(patch.get_facecolor()) for patch in figure.axes[0].patches]
    assert shades == 2 * ["#d9d9d9"] + 3 * ["#f2b661"] + ["#f2b661", "#d9d9d9"]
    with pytest.raises(ValueError, match="zip"):
        plots.marked_text("xyz", [True], marked="", unmarked="")


def test_teaching_figures_do_not_depend_on_the_users_settings():
    with matplotlib.rc_context({"font.size": 5, "axes.labelsize": 5}):
        assert plots.bars({"a": 1.0}, x="x").axes[0].xaxis.label.get_size() == 14

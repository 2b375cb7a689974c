"""What the pictures of rank and of subspaces show."""

import numpy as np
import pytest

from minilora import plots
from minilora.analysis import Amplification, low_rank_approximation, low_rank_errors
from test_plots import COUNTS, PHI, TABLE_7, WORD, A, B


def images(figure):
    return {axes.get_title(): axes.get_images()[0] for axes in figure.axes if axes.get_images()}


def test_a_product_is_the_sum_of_its_terms():
    drawn = {title.split("\n")[0]: image for title, image in images(plots.rank_picture(B, A)).items()}
    assert list(drawn) == ["$B$", "$A$", "$BA$: rank 2 at most", r"$b_1\,a_1$: rank 1", r"$b_2\,a_2$: rank 1"]
    product, *terms = (image.get_array() for image in list(drawn.values())[2:])
    np.testing.assert_allclose(product, B @ A)
    np.testing.assert_allclose(terms[0] + terms[1], product)
    assert all(np.linalg.matrix_rank(term) == 1 for term in terms)
    scales = {image.get_clim() for image in list(drawn.values())[2:]}
    assert len(scales) == 1 and sum(*scales) == 0
    with pytest.raises(ValueError, match="r was 4; from 1 to 3 terms"):
        plots.rank_picture(np.ones((6, 4)), np.ones((4, 6)))


def test_integers_are_written_into_their_cells():
    figure = plots.rank_picture(np.array([[1], [-2]]), np.array([[3, 0, 7]]))
    written = [[text.get_text() for text in axes.texts] for axes in figure.axes if axes.get_images()]
    product = ["3", "0", "7", "-6", "0", "-14"]
    assert written == [["1", "-2"], ["3", "0", "7"], product, product]
    assert not any(axes.texts for axes in plots.rank_picture(B, A).axes if axes.get_images())


def test_the_cut_says_what_is_left_out():
    S = np.array([4.0, 2.0, 2.0, 1.0])
    (axes,) = plots.spectrum_cut(S, 2).axes
    assert [bar.get_height() for bar in axes.patches] == S.tolist()
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert any("rank 2: 80.0 % of the energy" in label for label in labels)
    assert any(r"\sigma_{3}" in label and "= 2 =" in label for label in labels)
    assert any("2.24" in label for label in labels)  # the root of 5
    for r in (0, 4):
        with pytest.raises(ValueError, match=f"r was {r}; it may be an integer from 1 to 3"):
            plots.spectrum_cut(S, r)


def test_images_say_what_they_cost_and_lack():
    drawn = images(plots.low_rank_images(WORD, [low_rank_approximation(WORD, r) for r in (1, 8)]))
    assert [title.split("\n")[:2] for title in drawn] == [
        ["rank 1", "50 numbers"],
        ["rank 8", "400 numbers"],
        ["the matrix", "600 numbers"],
    ]
    np.testing.assert_array_equal(list(drawn.values())[-1].get_array(), WORD)
    assert {image.get_clim() for image in drawn.values()} == {(WORD.min(), WORD.max())}


def test_a_word_is_a_matrix_from_black_to_white():
    assert WORD.shape == (20, 30) and WORD.min() == 0 and WORD.max() == 1
    assert WORD[0].min() == 1 and WORD[:, 0].min() == 1
    assert not np.array_equal(WORD, plots.word_image("AB", (20, 30)))


def test_errors_fall_from_100_percent_at_rank_0():
    errors = low_rank_errors(WORD)
    (axes,) = plots.error_against_parameters({"word": errors}, WORD.size).axes
    x, y = axes.get_lines()[0].get_data()
    assert (x[0], y[0]) == (0, 100) and y[-1] == 0
    assert x[4] == pytest.approx(100 * 4 * 50 / 600)
    assert y[4] == pytest.approx(100 * low_rank_approximation(WORD, 4).frobenius_error / np.linalg.norm(WORD))


def test_every_layer_has_its_bars():
    (axes,) = plots.directions_bars(COUNTS, share=0.5).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["blocks.0", "blocks.1", "head"]
    assert [bar.get_width() for bar in axes.patches] == [2, 3, 60, 71, 9]
    middles = [bar.get_y() + bar.get_height() / 2 for bar in axes.patches]
    np.testing.assert_allclose(middles, [-0.2, 0.8, 0.2, 1.2, 2.2])
    assert axes.yaxis_inverted() and "50 %" in axes.get_xlabel()


def test_a_grid_has_one_scale_and_labels_at_its_edges():
    figure = plots.similarity_grid({"one": PHI, "two": PHI, "random": PHI}, columns=2, largest=0.5, first="f")
    *panels, bar = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title() for axes in panels] == ["one", "two", "random"]
    assert {axes.get_images()[0].get_clim() for axes in panels} == {(0, 0.5)} == {bar.get_ylim()}
    assert [bool(axes.get_xlabel()) for axes in panels] == [False, True, True]
    assert [axes.get_ylabel() for axes in panels] == ["$i$: directions of f", "", "$i$: directions of f"]
    for largest in (0, 2):
        with pytest.raises(ValueError, match=f"largest was {largest}"):
            plots.similarity_grid({"one": PHI}, largest=largest)


def test_amplification_is_named_below_its_bars():
    tables = TABLE_7 | {"r = 64": Amplification(64, 1.9, 37.71, 0.33, 0.3227, 61.95, 3.57)}
    (axes,) = plots.amplification_bars(tables).axes
    assert [bar.get_height() for bar in axes.patches] == [21.67, 37.71, 0.32, 1.9, 0.0202, 0.3227, 6.91, 3.57]
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == ["r = 4\namplification 21.6", "r = 64\namplification 1.88"]
    assert axes.get_yscale() == "log"

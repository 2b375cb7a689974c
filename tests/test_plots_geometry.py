"""Matrices as geometry, subspaces, and seeds side by side: what is drawn is what was given."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from minilora import plots
from minilora.analysis import similarity_of_bases


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


def test_images_share_the_scale_of_the_last():
    W = np.linspace(-1, 1, 600).reshape(20, 30)
    panels = plots.images({"small": 0.1 * W, "$W$": W}).axes
    small, large = (axes.images[0] for axes in panels)
    assert small.get_clim() == large.get_clim() == pytest.approx((-1.6, 1.6), rel=0.02)
    assert [axes.get_xlabel() for axes in panels] == ["20 × 30"] * 2


def test_a_matrix_of_zeros_is_an_image_too():
    assert plots.images({"$W$": np.zeros((3, 4))}).axes[0].images[0].get_clim() == (-1.6, 1.6)


def test_the_frame_s_title_is_phi():
    rng = np.random.default_rng(0)
    V1, V2 = (np.linalg.qr(rng.standard_normal((9, r)))[0].T for r in (3, 5))
    phi = similarity_of_bases(V1, V2)
    for i, j in ((1, 1), (2, 4), (3, 5)):
        axes = plots.overlap((V1 @ V2.T) ** 2, i, j).axes[0]
        assert axes.get_title().endswith(f"= {phi[i - 1, j - 1]:.2f}")
        assert np.array_equal(axes.lines[0].get_xydata()[1], (j + 0.5, i + 0.5))


def test_two_lines_say_the_cosine_and_its_square():
    axes = plots.two_lines(60).axes[0]
    assert "= 0.50" in axes.get_title() and "= 0.25" in axes.get_title()
    (_, _), (end, _) = axes.lines[-1].get_xydata()
    assert end == pytest.approx(0.5)


def test_a_spectrum_says_of_which_matrix_it_is():
    left, right = plots.singular_values({"a": np.array([2.0, 1.0])}, of="W").axes
    assert left.get_ylabel().endswith("of $W$")
    assert r"\|W\|_F^2" in right.get_ylabel()


def test_a_second_phi_may_stand_where_chance_stands():
    phi = np.full((2, 3), 0.5)
    panels = plots.similarity_heatmap(phi, phi, titles=("$W_q$", "$W_v$")).axes[:2]
    assert [axes.get_title() for axes in panels] == ["$W_q$", "$W_v$"]


@pytest.mark.parametrize(("joined", "dashes"), [(False, {"None"}), (True, {"-", "--"})])
def test_each_seed_has_its_mark_in_each_row_and_the_mean_is_between(joined, dashes):
    measured = {"W_q": [2.0, 3.0], "W_v": [1.0, 1.5], "all": [0.0, 1.0]}
    axes = plots.by_seed(measured, x="loss", joined=joined).axes[0]
    *seeds, mean = axes.lines
    assert [line.get_xdata().tolist() for line in seeds] == [[2.0, 1.0, 0.0], [3.0, 1.5, 1.0]]
    assert mean.get_xdata().tolist() == [2.5, 1.25, 0.5]
    assert {line.get_linestyle() for line in seeds} == dashes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["W_q", "W_v", "all"]
    assert axes.get_ylim() == (2.5, -0.5)  # the first on top

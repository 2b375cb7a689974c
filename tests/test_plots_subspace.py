"""Subspaces, spectra and seeds side by side: what is drawn is what was given."""

import numpy as np
import pytest

from minilora import plots
from minilora.analysis import Amplification, similarity_of_bases
from plotted import PHI, TABLE_7, title_of


def test_the_frame_s_title_is_phi():
    rng = np.random.default_rng(0)
    V1, V2 = (np.linalg.qr(rng.standard_normal((9, r)))[0].T for r in (3, 5))
    phi = similarity_of_bases(V1, V2)
    for i, j in ((1, 1), (2, 4), (3, 5)):
        axes = plots.overlap((V1 @ V2.T) ** 2, i, j).axes[0]
        assert title_of(axes).endswith(f"= {phi[i - 1, j - 1]:.2f}")
        assert np.array_equal(axes.lines[0].get_xydata()[2], (j + 0.5, i + 0.5))


def test_two_lines_say_the_cosine_and_its_square():
    axes = plots.two_lines(60).axes[0]
    assert "= 0.50" in title_of(axes) and "= 0.25" in title_of(axes)
    (_, _), (end, _) = axes.lines[-1].get_xydata()
    assert end == pytest.approx(0.5)


def test_a_spectrum_says_of_which_matrix_it_is():
    left, right = plots.singular_values({"a": np.array([2.0, 1.0])}, of="W").axes
    assert title_of(left).endswith("of $W$")
    assert r"\|W\|_F^2" in title_of(right)


def test_a_second_phi_may_stand_where_chance_stands():
    phi = np.full((2, 3), 0.5)
    panels = plots.similarity_heatmap(phi, phi, titles=("$W_q$", "$W_v$")).axes[:2]
    assert [title_of(axes) for axes in panels] == ["$W_q$", "$W_v$"]


@pytest.mark.parametrize(("joined", "dashes"), [(False, {"None"}), (True, {"-", "--"})])
def test_each_seed_has_its_mark_in_each_row_and_the_mean_is_between(joined, dashes):
    measured = {"W_q": [2.0, 3.0], "W_v": [1.0, 1.5], "all": [0.0, 1.0]}
    axes = plots.by_seed(measured, x="loss", joined=joined).axes[0]
    *seeds, mean = axes.lines
    assert [line.get_xdata().tolist() for line in seeds] == [[2.0, 1.0, 0.0], [3.0, 1.5, 1.0]]
    assert mean.get_xdata().tolist() == [2.5, 1.25, 0.5]
    assert {line.get_linestyle() for line in seeds} == dashes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["$W_q$", "$W_v$", "all"]
    assert axes.get_ylim() == (2.5, -0.5)  # the first on top


def test_a_grid_has_one_scale_and_labels_at_its_edges():
    figure = plots.similarity_grid({"one": PHI, "two": PHI, "random": PHI}, columns=2, largest=0.5, first="f")
    *panels, cell = figure.axes
    (bar,) = cell.child_axes  # in the cell that would be empty
    assert [title_of(axes) for axes in panels] == ["one", "two", "random"]
    assert {axes.get_images()[0].get_clim() for axes in panels} == {(0, 0.5)} == {bar.get_xlim()}
    assert [axes.get_xlabel() for axes in panels] == ["", "$j$", "$j$"]
    assert [axes.get_ylabel() for axes in panels] == ["$i$", "", "$i$"]
    assert not cell.axison
    for largest in (0, 2):
        with pytest.raises(ValueError, match=f"largest was {largest}"):
            plots.similarity_grid({"one": PHI}, largest=largest)


def test_amplification_is_named_below_its_bars():
    tables = TABLE_7 | {"r = 64": Amplification(64, 1.9, 37.71, 0.33, 0.3227, 61.95, 3.57)}
    (axes,) = plots.amplification_bars(tables).axes
    assert [bar.get_height() for bar in axes.patches] == [21.67, 37.71, 0.32, 1.9, 0.0202, 0.3227, 6.91, 3.57]
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == ["$r = 4$\namplification 21.6", "$r = 64$\namplification 1.88"]
    assert axes.get_yscale() == "log"
    (axes,) = plots.amplification_bars(tables, dict.fromkeys(tables, 3.0)).axes
    assert all(label.get_text().endswith("amplification 3") for label in axes.get_xticklabels())

from itertools import combinations

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from minilora import GPT, GPTConfig, plots
from minilora.analysis import (
    low_rank_approximation,
    low_rank_errors,
    matrix_rank_steps,
    random_control,
    rank_measures,
    z_of_whole,
    z_scores,
)
from minilora.plots.style import WIDTH
from plotted import NODES, PHI, TABLE_7, WORD, title_of

RUNS = {
    "LoRA": (list(np.linspace(4, 2, 100)), [(50, 3.1), (100, 2.2)]),
    "full fine-tuning": (list(np.linspace(4, 1, 100)), [(50, 2.9), (100, 1.5)]),
}
SPECTRA = {"LoRA, rank 2": np.array([3.0, 1.0]), "full fine-tuning": 2.0 ** -np.arange(8)}
SCORES = {"LoRA": (7680, [93.5, 94.0, 95.0]), "full fine-tuning": (1_900_000, [94.5, 95.0, 97.0])}
RATIOS = {"training": {"S1": (1.6, 1.5, 1.8), "S2": (1.4, 0.9, 14.0)}, "generating": {"S1": (2.9, 2.5, 3.0)}}
MEMORY = {"S1": {"ours": (40e6, 50e6, 90e6), "theirs": (360e6, 370e6, 490e6)}}
GROWTH = {"L": ([2, 4, 8], [0.1, 0.2, 0.4], [1e9, 2e9, 4e9], [3e7, 6e7, 12e7], [3e7, 6e7, 12e7])}
RUNGS = {"S1": {"plain": (1.0, 1.0, 1.0), "better": (2.0, 1.8, 2.3)}, "S2": {"plain": (1, 1, 1), "better": (3, 2, 4)}}
SIZES = {"LoRA": [(100, [70.0, 72.0]), (400, [75.0, 77.0])], "full": [(10_000, [74.0])], "BitFit": [(50, [60.0, 61.0])]}
SMALL = {"$y$": np.array([[-1.0, 0.5]]), "$x$": np.arange(3), "$W$": np.array([[1e-4, 250, 0.126], [0, -12.34, 2]])}
VERDICTS = {"softmax: zeros": {"bad": "passes", "good": "caught"}, "linear": {"bad": "caught", "good": "caught"}}
TURN = np.array([[1.0, 2.0], [0.5, -0.6]])
TIMES = {"base": [3.0, 4.0, 5.0], "adapters": [5.0, 6.0, 90.0]}
PARTS = {"r = 8": {"LoRA": {"weights": 3.4, "gradients": 0.1}, "full": {"weights": 3.4, "gradients": 3.4}}}
COURSES = {  # close to each other at the end
    "loss": {"LoRA": [(1, [3.0, 3.1]), (64, [1.0, 1.2])], "full": [(1, [3.0]), (64, [1.01, 1.1])], "x": [(1, [2.0])]},
    "score of W_q": {"LoRA": [(1, [0.1, 0.3]), (64, [0.9, 1.0])], "full": [(2, [0.5])]},
}
LEVELS = {"majority class": 39.4, "naive Bayes, words": 90.9}

RANKS = {"W": rank_measures({"blocks.0.attn.q_proj": WORD, "wte": np.eye(9)}), "I": rank_measures({"wte": np.eye(5)})}

FIGURES = {
    "loss curves": lambda: plots.loss_curves(RUNS),
    "singular values": lambda: plots.singular_values(SPECTRA),
    "similarity": lambda: plots.similarity_heatmap(PHI, 0.5 * PHI),
    "scores": lambda: plots.scores({"names": (SCORES, LEVELS)}, xlabel="accuracy (%)"),
    "scores of two": lambda: plots.scores({"names": (SCORES, LEVELS), "pairs": (SCORES, {})}, xlabel="accuracy (%)"),
    "seed curves": lambda: plots.seed_curves(COURSES, xlabel="rank", xscale="log2", levels={"loss": ("chance", 1.05)}),
    "courses": lambda: plots.seed_curves(COURSES, xlabel="step", xscale="log", note="A note."),
    "overheads": lambda: plots.overheads({"1 x 64": {"LoRA, beside W": (1, 2, 3), "base": (-1, 0, 1)}}, ylabel="%"),
    "sizes": lambda: plots.parameters_against_score(SIZES, ylabel="accuracy (%)", levels=LEVELS),
    "picture": plots.lora_picture,
    "GPT": plots.gpt_picture,
    "ratios": lambda: plots.bench_ratios(RATIOS),
    "memory": lambda: plots.bench_memory(MEMORY),
    "growth": lambda: plots.bench_scaling(GROWTH),
    "ladder": lambda: plots.ladder(RUNGS),
    "row": lambda: plots.similarity_grid(dict.fromkeys("abc", PHI), largest=0.2),
    "captioned": lambda: plots.caption(
        plots.bars({"LoRA": 1.0}, x="x"), title=20 * "Many words, ", note=40 * "more words, "
    ),
    "grid": lambda: plots.similarity_grid({"one": PHI, "two": PHI, "random": 0.2 * PHI}, columns=2),
    "amplification": lambda: plots.amplification_bars(TABLE_7),
    "elimination": lambda: plots.elimination(matrix_rank_steps([[0, 1, "2/3"], [2, "-5/7", 4], [2, 4, 1], [0, 1, 1]])),
    "cut": lambda: plots.spectrum_cut(SPECTRA["full fine-tuning"], 0.1),
    "low rank": lambda: plots.low_rank(WORD, low_rank_approximation(WORD, 3), low_rank_errors(WORD)),
    "ranks": lambda: plots.ranks(RANKS),
    "matrices": lambda: plots.matrices(SMALL, ("=", "@")),
    "words": lambda: plots.word_grid(VERDICTS, {"passes": "orange", "caught": "blue"}),
    "curves": lambda: plots.curves({"r": ([1, 2], [3, 4]), "q": ([1, 2], [4, 3])}, x="rank", y="loss", log="xy"),
    "multiples": lambda: plots.small_multiples(
        {name: {"wrong": ([1, 2], [3, 4]), "right": ([1, 2], [3, 2])} for name in ("a", "b", "a long name of a panel")},
        xlabel="step",
        ylabel="loss",
        columns=2,
    ),
    "rotations": lambda: plots.rotations(np.outer(np.arange(5), (1.0, 0.3))),
    "groups": lambda: plots.head_groups(6, 2),
    "arrows": lambda: plots.arrows({"row 1": (1, 2), "row 2": (2, 5), "row 3": (2, 4), "row 4": (-1, 0)}),
    "circle": lambda: plots.circle_and_image(TURN, *np.linalg.svd(TURN)),
    "overlap": lambda: plots.overlap(PHI, 2, 3),
    "two lines": lambda: plots.two_lines(35),
    "by seed": lambda: plots.by_seed({"r = 1": [2.4, 2.5], "r = 4": [2.3, 2.45]}, x="loss", joined=True),
    "values": lambda: plots.value_graph(NODES),
    "stacked": lambda: plots.stacked(PARTS, x="MB"),
    "bars": lambda: plots.bars({"LoRA": 1536, "full": 589_824}, x="numbers", log=True),
    "timings": lambda: plots.timings(TIMES),
    "attention": lambda: plots.attention_map(np.tril(np.full((2, 12, 12), 0.1)), "Hello, world"),
    "marked text": lambda: plots.marked_text(9 * "x\nanswer", 9 * (2 * [False] + 6 * [True]), marked="y", unmarked="x"),
}
every_figure = pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)


def figure_note(axes):
    """The small print, on one line."""
    return axes.figure.get_supxlabel().replace("\n", " ")


def lines(axes):
    return {line.get_label(): line for line in axes.get_lines()}


@every_figure
def test_saved_as_a_png_small_enough_for_a_repository(draw, tmp_path):
    path = tmp_path / "new" / "folder" / "figure.png"
    plots.save(draw(), path)
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert 10_000 < len(content) < 200_000
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_save_leaves_the_old_picture(tmp_path):
    class Broken:
        def savefig(self, path, **_):
            path.write_bytes(b"\x89PN")
            raise OSError("no space left")

    path = tmp_path / "figure.png"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="no space left"):
        plots.save(Broken(), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@every_figure
def test_every_text_lies_inside_and_touches_no_other(draw, dark):
    with plots.figure_style(dark=dark):
        figure = draw()
        FigureCanvasAgg(figure).draw()
    assert figure.get_figwidth() <= WIDTH
    found = texts_of(figure)
    width, height = figure.bbox.size
    for text, box in found:
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
        assert inside, text
    for (text, box), (other, its) in combinations(found, 2):
        wide, high = min(box.x1, its.x1) - max(box.x0, its.x0), min(box.y1, its.y1) - max(box.y0, its.y0)
        assert wide <= 2 or high <= 0.35 * min(box.height, its.height), (text, other)


def texts_of(figure):
    """Every text that is seen, with its box: titles, labels, those of ticks, and what is written into the axes."""
    ticks = {t for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for t in axis.findobj(matplotlib.text.Text)}
    seen = set(figure.findobj(matplotlib.text.Text)) - ticks
    for axes in figure.axes:
        if axes.axison:
            for axis in (axes.xaxis, axes.yaxis):
                seen |= {tick.label1 for tick in axis._update_ticks()} | {axis.label}
    shown = [text for text in seen if text.get_visible() and text.get_text().strip()]
    return [(text.get_text(), text.get_window_extent()) for text in shown]


def test_the_picture_says_what_lora_is():
    texts = [text.get_text() for text in plots.lora_picture().axes[0].texts]
    for word in ("frozen", "trained", "$B = 0$ at the start", r"$O \times I$", r"$r \times I$", r"$O \times r$"):
        assert word in texts


def test_the_picture_of_gpt_has_every_layer_of_the_model():
    texts = [text.get_text() for text in plots.gpt_picture().axes[0].texts]
    model = GPT(GPTConfig(vocab_size=3, n_positions=2, n_layer=1, d_model=2, n_head=1), np.random.default_rng(0))
    layers = {path.rsplit(".", 1)[-1] for path, _ in model.named_modules()} - {"0", "attn", "mlp", "activation"}
    layers -= {"wte", "wpe"}
    assert layers == {"ln_1", "q_proj", "k_proj", "v_proj", "o_proj", "ln_2", "fc_in", "fc_out", "ln_f"}
    assert {*layers, "wte + wpe", "ids", "logits", "(N, T, C)", "(N, H, T, K)"} <= set(texts)


def test_loss_curves_are_moving_means_with_points_for_validation():
    figure = plots.loss_curves(RUNS)
    (axes,) = figure.axes
    assert axes.get_xlabel() == "training step"
    assert title_of(axes) == "loss (bits per byte)"
    drawn = lines(axes)
    steps, means = drawn["LoRA, training"].get_data()
    assert figure_note(axes) == "Line: training loss, mean of 4 steps. Marks: validation."
    assert steps[0] == 2.5
    assert means[0] == pytest.approx(np.mean(RUNS["LoRA"][0][:4]))
    assert steps[-1] == 98.5
    assert means[-1] == pytest.approx(np.mean(RUNS["LoRA"][0][-4:]))
    assert drawn["full fine-tuning, validation"].get_xydata().tolist() == [[50, 2.9], [100, 1.5]]


def test_curves_differ_in_more_than_colour():
    drawn = lines(plots.loss_curves(RUNS).axes[0])
    one, other = drawn["LoRA, training"], drawn["full fine-tuning, training"]
    assert one.get_color() != other.get_color()
    assert drawn["LoRA, validation"].get_marker() != drawn["full fine-tuning, validation"].get_marker()


def test_no_curve_is_left_out():
    runs = {f"run {n}": RUNS["LoRA"] for n in range(7)}
    drawn = lines(plots.loss_curves(runs).axes[0])
    assert {f"{label}, {what}" for label in runs for what in ("training", "validation")} <= set(drawn)
    drawn = lines(plots.singular_values({label: np.ones(2) for label in runs}).axes[0])
    assert set(runs) <= set(drawn)


def test_a_short_run_is_drawn_as_it_is():
    figure = plots.loss_curves({"LoRA": ([3.0, 2.0, 1.0], [(3, 1.5)])})
    assert lines(figure.axes[0])["LoRA, training"].get_xydata().tolist() == [[1, 3], [2, 2], [3, 1]]


def test_singular_values_end_in_zeros_that_can_be_seen():
    left, right = plots.singular_values(SPECTRA).axes
    for axes in (left, right):
        assert title_of(axes)
    assert right.get_xlabel() == "index $i$ of the direction"
    S = lines(left)["LoRA, rank 2"].get_ydata()
    assert S.tolist() == [3, 1, 0, 0, 0, 0, 0, 0]
    height = left.transData.transform([(1, 0), (1, SPECTRA["full fine-tuning"][-1]), (1, 3)])[:, 1]
    assert np.isfinite(height).all()  # zero has a place,
    assert height[1] - height[0] > 0.1 * (height[2] - height[0])  # and a small value is not on it


def test_the_share_of_the_frobenius_norm():
    right = plots.singular_values(SPECTRA).axes[1]
    drawn = lines(right)
    said = [text.get_text() for text in right.texts]
    assert drawn["LoRA, rank 2"].get_ydata() == pytest.approx([90] + 7 * [100])
    assert {"LoRA, rank 2:\n90 % in the first 1", "full fine-tuning:\n90 % in the first 2"} == set(said)
    share = drawn["full fine-tuning"].get_ydata()
    assert share[1] == pytest.approx(100 * (1 + 1 / 4) / np.sum(SPECTRA["full fine-tuning"] ** 2))


def test_a_spectrum_of_zeros_has_no_shares():
    with pytest.raises(ValueError, match=r"spectra\['LoRA'\] begins with 0.0"):
        plots.singular_values({"LoRA": np.zeros(4), "full": np.ones(4)})


def test_heat_maps_share_one_scale_from_0_to_1():
    figure = plots.similarity_heatmap(PHI, 0.5 * PHI, first="one", second="other")
    measured, control, bar = figure.axes
    for axes, grid in ((measured, PHI), (control, 0.5 * PHI)):
        (image,) = axes.get_images()
        assert image.get_clim() == (0, 1)
        assert image.get_array().tolist() == grid.tolist()
        assert axes.get_xlabel() == "$j$"
    assert measured.get_ylabel() == "$i$"
    assert figure.get_supxlabel().startswith(
        "$i$ counts directions of one, downwards; $j$ those of other, to the right."
    )
    assert (title_of(measured), title_of(control)) == (
        "measured",
        "random subspaces (expected)",
    )
    assert bar.get_xlim() == (0, 1)
    assert r"\varphi(i, j)" in bar.get_xlabel()


def test_a_z_score_stands_below_the_title_of_its_heat_map():
    panels = {"one": PHI, "random": random_control(3, 5, 16)}
    axes = plots.similarity_grid(panels, z=z_of_whole(panels, 16)).axes
    z = z_scores(PHI, 16)[-1, -1]
    assert [title_of(a) for a in axes[:2]] == [f"one\n$z$(3, 5) = {z:.1f}", "random\n$z$(3, 5) = 0.0"]


def test_heat_maps_have_i_downwards_and_j_to_the_right_and_get_darker():
    axes = plots.similarity_heatmap(PHI).axes[0]
    (image,) = axes.get_images()
    assert axes.get_ylim() == (3.5, 0.5)
    assert axes.get_xlim() == (0.5, 5.5)
    assert image.get_extent() == [0.5, 5.5, 3.5, 0.5]
    assert image.origin == "upper"
    assert axes.get_yticks().tolist() == [1, 2, 3]
    grey = image.get_cmap()(np.linspace(0, 1, 50))[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(grey) < 0).all()


def test_scores_are_dots_of_seeds_above_baselines():
    figure = FIGURES["scores"]()
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["LoRA  (7,680)", "full fine-tuning  (1,900,000)"]
    dots = [line.get_xydata().tolist() for line in axes.get_lines() if line.get_marker() in "os"]
    assert dots == [[[93.5, 0], [94, 0], [95, 0]], [[94.5, 1], [95, 1], [97, 1]]]
    means = [line.get_xydata().tolist() for line in axes.get_lines() if line.get_marker() == "|"]
    assert means == [[[pytest.approx(94.1667, abs=1e-3), 0]], [[95.5, 1]]]
    upright = {line.get_label(): line.get_xdata()[0] for line in axes.get_lines() if line.get_linestyle() != "None"}
    assert upright == LEVELS
    assert "accuracy (%)" in axes.get_xlabel() and set(LEVELS) <= {text.get_text() for text in axes.texts}


def test_a_methods_sizes_are_joined_and_the_seeds_are_spanned():
    (axes,) = plots.parameters_against_score(SIZES, ylabel="accuracy (%)", levels=LEVELS).axes
    for bars, (label, sizes) in zip(axes.containers, SIZES.items(), strict=True):
        points, _, (stems,) = bars.lines
        n, values = zip(*sizes, strict=True)
        np.testing.assert_allclose(points.get_xydata(), [(x, np.mean(v)) for x, v in zip(n, values, strict=True)])
        spans = [segment[:, 1] for segment in stems.get_segments()]
        np.testing.assert_allclose(spans, [(min(v), max(v)) for v in values])
        assert bars.get_label() == label
    assert axes.get_xscale() == "log" and title_of(axes) == "accuracy (%)"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["LoRA", "full", "BitFit"], "from high to low"
    assert "Outside the picture: majority class 39.4" in figure_note(axes)


def test_no_baselines_line_goes_through_the_name_of_another():
    levels = {"the head alone": 65.0, "naive Bayes, words": 76.0, "naive Bayes, bytes": 76.5}
    figure = plots.parameters_against_score(SIZES, ylabel="accuracy (%)", levels=levels)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert {text.get_text() for text in axes.texts} == set(levels)
    for text in axes.texts:
        box = text.get_window_extent().transformed(axes.transData.inverted())
        assert not [y for y in levels.values() if box.y0 < y < box.y1], text.get_text()


def test_a_panel_for_each_task_has_the_methods_in_the_same_rows():
    worse = {"LoRA": (7680, [50.0, 60.0]), "full fine-tuning": (1_900_000, [1.0, 2.0])}
    left, right = plots.scores({"names": (SCORES, LEVELS), "pairs": (worse, {"majority class": 49})}, xlabel="%").axes
    assert [title_of(axes) for axes in (left, right)] == ["names", "pairs"]
    dots = [line.get_xydata().tolist() for line in right.get_lines() if line.get_marker() in "os"]
    assert dots == [[[50, 0], [60, 0]], [[1, 1], [2, 1]]], "LoRA below, as it is on the left"
    named = [{text.get_text() for text in axes.texts} for axes in (left, right)]
    assert named == [set(LEVELS), {"majority class"}], "a line has its name at its end"


def test_the_users_own_settings_do_not_matter():
    with matplotlib.rc_context({"font.size": 5, "axes.labelsize": 5, "figure.facecolor": "black"}):
        figure = plots.loss_curves(RUNS)
        assert matplotlib.rcParams["font.size"] == 5
    assert figure.axes[0].xaxis.label.get_size() == 14
    assert figure.get_facecolor() == (1, 1, 1, 1)


def test_a_ratio_is_a_bar_and_a_round_far_off_does_not_flatten_the_others():
    training, generating = plots.bench_ratios(RATIOS).axes
    assert [bar.get_width() for bar in training.patches] == [1.6, 1.4]
    assert training.get_xlim() == generating.get_xlim() and 2.9 < training.get_xlim()[1] < 6.0
    assert [label.get_text() for label in training.get_yticklabels()] == ["S1   1.60", "S2   1.40"]
    assert [line.get_marker() for line in training.lines].count(">") == 1 and generating.get_title(
        loc="left"
    ) == "generating"


def test_memory_is_stacked_stage_on_stage():
    (axes,) = plots.bench_memory(MEMORY).axes
    ours = [bar for bar in axes.patches if bar.get_y() < 0.5]
    assert [(bar.get_x(), bar.get_width()) for bar in ours] == [(0, 40), (40, 10), (50, 40)]
    assert [text.get_text() for text in axes.texts] == ["90", "490"]


def test_the_formulas_time_meets_the_measured_one_in_the_middle():
    time, _ = plots.bench_scaling(GROWTH).axes
    drawn = lines(time)
    assert np.allclose(drawn["formula"].get_ydata(), [100, 200, 400]) and drawn["measured"].get_ydata()[1] == 200


def test_the_ladder_begins_at_the_top():
    first, _ = plots.ladder(RUNGS).axes
    assert first.yaxis_inverted() and [bar.get_width() for bar in first.patches] == [1.0, 2.0]

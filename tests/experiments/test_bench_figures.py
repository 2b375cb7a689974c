"""Figures of the benchmarks are drawn from their results, and say what was measured."""

import json
import shutil
from pathlib import Path

from matplotlib.colors import to_rgba

from minilora.cli import main
from minilora.experiments.bench import figures
from minilora.plots.style import METHODS

FIGURES = Path(__file__).resolve().parents[2] / "figures" / "bench"


def text_of(figure):
    """All that is written on a figure."""
    found = [figure.get_suptitle(), figure.get_supxlabel()]
    for axes in figure.axes:
        found += [axes.get_title(loc="left"), axes.get_xlabel(), *(t.get_text() for t in axes.get_yticklabels())]
    return "\n".join(found)


def test_figures_are_drawn_from_results_and_say_what_was_measured(tmp_path, capsys):
    shutil.copy(FIGURES / "bench.json", tmp_path)
    assert main(["bench", "--from-results", "--out", str(tmp_path)]) == 0
    assert "S3, full fine-tuning" in capsys.readouterr().out
    assert {path.name for path in tmp_path.glob("*.png")} == {"ratios.png", "memory.png", "scaling.png"}
    results = figures.read(tmp_path)
    machine = "{processor}, {machine}; {date}".format(**results["provenance"])
    for make in figures.figures_of(results).values():
        said = " ".join(text_of(make()).split())
        assert machine in said and "4 layers, 256 channels, 8 texts of 128" in said
    first, second, third = figures.ratios(results).axes
    colors = [bars.patches[0].get_facecolor() for bars in (first, second, third)]
    assert colors[0] == colors[2] == to_rgba(METHODS["lora"].color) and colors[1] == to_rgba(METHODS["full"].color)
    growth = figures.scaling(results).axes
    assert [axes.get_xlabel() for axes in growth[::2]] == [
        "$L$: layers",
        "$C$: channels",
        "$T$: positions",
        "$N$: texts in a batch",
        "$r$: rank of LoRA",
    ]


def test_without_results_nothing_is_drawn(tmp_path, capsys):
    (tmp_path / "bench.json").write_text('{"command": 1}')
    for arguments, message in (
        (("--out", str(tmp_path)), "bench.json is not a result of `minilora bench`, or it is damaged"),
        (("--rounds", "2"), "--rounds was given, but --from-results measures nothing"),
    ):
        assert main(["bench", "--from-results", *arguments]) == 2
        assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["bench.json"]


def test_the_ladder_s_rungs_have_names_that_need_no_code():
    record = json.loads((FIGURES / "ladder.json").read_text())
    figure = figures.ladder(record)
    said = text_of(figure)
    assert "6 layers, 384 channels, 4 texts of 256" in " ".join(said.split())
    times = record["rungs"]["S1"]["GELU without powers"]["times_the_first"]["median"]
    assert f"GELU without powers   {times:.2f}" in said
    for axes in figure.axes:
        right = axes.get_xlim()[1]
        assert all(x <= right for line in axes.collections for path in line.get_segments() for x, _ in path)

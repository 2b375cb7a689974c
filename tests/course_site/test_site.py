"""site/: the course as web pages, without solutions, which load nothing from elsewhere and fit a phone."""

import html
import importlib
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from course_site import browser, links
from exercises.answers import solution_lines
from minilora import plots
from minilora.exercises.sources import exercises

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / "build" / "site" / "html"
MODULES = ("pages", "docstrings", "formulas", "png", "drawn", "figure_pages", "make_site")
nbformat = pytest.importorskip("nbformat")


@pytest.fixture(scope="module")
def site():
    """The modules of the folder site/."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "site"))
        yield {name: importlib.import_module(name) for name in MODULES}


def test_an_exercise_has_its_text_and_no_line_of_its_solution(site):
    texts = site["pages"].exercise_pages()
    for exercise in exercises():
        page = texts[exercise.file_name.replace(".py", ".md")]
        assert page.startswith(f"# Exercise {exercise.number}: {exercise.title}\n")
        assert f"Difficulty {exercise.difficulty} of 5, about {exercise.minutes} minutes" in page
        assert f"minilora exercises check {exercise.number}\n" in page
        assert ("NotImplementedError" in page) is not exercise.mends and "**Goal.**" in page
        lines = {line.strip() for line in page.splitlines()}
        assert not lines & set(solution_lines(exercise))
        assert not any(hint in page for hint in exercise.hints)


def test_the_list_of_exercises_has_all_of_them(site):
    index = site["pages"].exercise_pages()["index.md"]
    for e in exercises():
        assert f"| [{e.number}. {e.title}]({e.file_name[:-3]}.md) | {e.difficulty} | {e.minutes} |" in index


def test_every_public_name_is_in_the_reference_once(site):
    pages = site["pages"]
    for module in pages.API:
        page = pages.api_page(module)
        for name in pages.public(module):
            assert page.count(f":: {name}\n") == 1, f"{module}.{name}"


def test_no_function_is_in_the_reference_twice(site):
    pages = site["pages"]
    found = [value for module in pages.API for value in pages.public(module).values() if inspect.isfunction(value)]
    assert [value.__name__ for value in found if found.count(value) > 1] == []


def test_every_name_of_the_package_itself_is_documented_somewhere(site):
    index = site["pages"].api_pages()["index.rst"]
    for name in ("GPT", "apply_lora", "generate", "merge_lora"):
        assert f"* :py:obj:`{name} <{site['pages'].documented_as(name)}>`: " in index


def prepared(site, text, what="function", obj=None):
    lines = text.split("\n")
    site["docstrings"].prepare(None, what, "name", obj, None, lines)
    return "\n".join(lines)


def test_an_indented_block_of_a_docstring_is_shown_as_it_stands(site):
    text = "With s = 1:\n\n    dx = s * dy\n\n    dy = |x|*\n\nAnd *so* on."
    assert prepared(site, text) == "With s = 1:\n\n::\n\n    dx = s * dy\n\n    dy = |x|*\n\nAnd \\*so\\* on."


def test_a_parameters_description_is_no_formula(site):
    text = "Parameters\n----------\nx : ndarray\n    The input.\nrng : Generator"
    assert prepared(site, text) == text


def test_signs_of_a_docstring_mean_themselves_outside_of_code(site):
    assert prepared(site, "||A|| and *args, x_ of `*args`, W_q") == "\\|\\|A\\|\\| and \\*args, x\\_ of `*args`, W_q"


def test_a_description_of_one_letter_is_no_list(site):
    assert prepared(site, "n_layer : int\n    L.\nV. is V") == "n_layer : int\n    L\\.\nV\\. is V"
    assert prepared(site, "See fig. 1.") == "See fig. 1."


def test_the_docstring_that_python_makes_of_a_signature_is_left_out(site):
    assert prepared(site, "int(x)", "class", int) == ""
    assert prepared(site, "A number.", "class", int) == "A number."


def in_a_notebook(*sources):
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])


def test_sliders_begin_where_the_static_picture_is_which_is_then_left_out(site):
    sources = [
        "M = 1\nplots.sliders(frame, i=(1, 8), j=(1, 32))",
        "frame(3, j=6)",
        "plots.sliders(draw, r=(1, 8))",
        "other(2)",
    ]
    first, *cells = site["make_site"].with_pictures(in_a_notebook(*sources), "folder", "url").cells
    assert "drawn.begin('folder', 'url', [{'i': 3, 'j': 6}, {}])" in first.source
    assert first.metadata["tags"] == ["remove-cell"]
    assert [cell.metadata.get("tags") for cell in cells] == [None, ["remove-cell"], None, None]
    assert [cell.source for cell in cells] == sources


@pytest.mark.parametrize("ends, start, most, values", [
    ((1, 5), None, 10, [1, 2, 3, 4, 5]),
    ((0.0, 0.3, 0.1), None, 10, [0.0, 0.1, 0.2, 0.3]),
    ((0, 90), None, 4, [0, 30, 60, 90]),
    ((0, 90), 35, 4, [0, 35, 60, 90]),
    ((1, 256), None, 9, [1, 2, 4, 8, 16, 32, 64, 128, 256]),
])  # fmt: skip
def test_a_slider_has_as_many_positions_as_can_be_drawn(site, ends, start, most, values):
    assert site["drawn"].positions(ends, start, most) == values


def drawn_in(site, folder, draw, **ranges):
    """The HTML that sliders of `draw` show."""
    pictures, shown = site["drawn"].Pictures(folder, "url", [{}]), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("IPython.display.display", lambda shows: shown.append(shows.data))
        pictures.sliders(site["drawn"].with_twin(draw), **ranges)
    return shown[0]


def test_each_position_of_a_slider_is_drawn_twice_and_says_what_it_shows(site, tmp_path):
    def draw(r=2):
        return plots.curves({"loss": ([1, 2, 3], [3.0, 2.0, 1.0 / r])}, x="step", y="loss")

    shown = drawn_in(site, tmp_path, draw, r=(1, 3))
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png")}
    assert files == {f"01/{i}{end}.png" for i in range(3) for end in ("", "-dark")}
    assert shown.count("<input") == 1 and 'max="2" value="1"' in shown and 'data-values="[1, 2, 3]"' in shown
    assert 'class="only-light" src="url/01/1.png"' in shown and 'class="only-dark" src="url/01/1-dark.png"' in shown
    assert 'alt="loss against step; loss falls from 3 to 0.5"' in shown
    assert "falls from 3 to 0.333" in html.unescape(shown)
    light, dark = ((tmp_path / "01" / name).read_bytes() for name in ("1.png", "1-dark.png"))
    assert light != dark


def test_sliders_with_large_pictures_have_few_positions(site, tmp_path, monkeypatch):
    def draw(r=16):
        return plots.bars({"r": float(r)}, x="rank", form="{:.0f}")

    def bytes_of(folder):
        return sum(path.stat().st_size for path in folder.rglob("*.png"))

    drawn_in(site, tmp_path / "one", draw, r=(16, 16))
    one = bytes_of(tmp_path / "one")
    monkeypatch.setattr(site["drawn"], "BYTES", 6 * one)
    shown = drawn_in(site, tmp_path / "few", draw, r=(1, 192))
    assert html.unescape(shown).count('data-values="[1, 3, 8, 16, 67, 192]"') == 1
    assert len(list((tmp_path / "few").rglob("*.png"))) == 12 and bytes_of(tmp_path / "few") < 7 * one


def test_sliders_of_the_largest_pictures_have_both_ends_and_the_start(site, tmp_path, monkeypatch):
    monkeypatch.setattr(site["drawn"], "BYTES", 1)
    shown = drawn_in(site, tmp_path, lambda r=16: plots.bars({"r": float(r)}, x="rank"), r=(1, 192))
    assert 'data-values="[1, 16, 192]"' in html.unescape(shown)


@pytest.mark.parametrize("dark", [False, True])
def test_a_picture_of_few_colours_has_the_pages_own_ground(site, tmp_path, dark):
    from PIL import Image

    noise = np.random.default_rng(0).standard_normal((40, 60))
    with plots.figure_style(dark=dark):
        figure = plots.matrices({"noise": noise}, ())
        ground = plots.theme.theme().paper
    figure.savefig(tmp_path / "many.png", dpi=site["png"].DPI)
    n = site["png"].write_png(figure, tmp_path / "few.png")
    few, many = (Image.open(tmp_path / name).convert("RGB") for name in ("few.png", "many.png"))
    assert "#{:02X}{:02X}{:02X}".format(*few.getpixel((0, 0))) == ground and few.size == many.size
    assert n == (tmp_path / "few.png").stat().st_size < 0.6 * (tmp_path / "many.png").stat().st_size
    assert np.abs(np.asarray(few, dtype=int) - np.asarray(many)).mean() < 2


def test_the_text_of_a_picture_says_what_is_to_be_seen(site):
    described = site["drawn"].described
    said = described(plots.bars({"LoRA": 3.0, "full": 12.5}, x="numbers"))
    assert "LoRA 3" in said and "full 12.5" in said and "numbers" in said
    said = described(plots.matrices({"$B$": np.ones((4, 2)), "$A$": np.ones((2, 3))}, ("@",)))
    assert "B" in said and "A" in said and "$" not in said
    said = described(plots.curves({"a": ([1, 2], [1.0, 4.0]), "b": ([1, 2], [2.0, 2.0])}, x="$r$", y="y"))
    assert said == "y against r; a rises from 1 to 4; b at 2"


@pytest.mark.parametrize("lines, tex", [
    (["dA = dh^T x         (r, I)"], [r"dA &= dh^\top \, x \qquad (r, I) \\"]),
    (["dq      = dscores k / sqrt(K)"], [r"dq &= \mathrm{dscores}\, k / \sqrt{K} \\"]),
    (["D_i = sum_j dprobs_ij probs_ij"], [r"D_{i} &= \sum_{j}\, \mathrm{dprobs}_{ij}\, \mathrm{probs}_{ij} \\"]),
    (["dup = dy * silu(gate)"], [r"\mathrm{dup} &= dy \odot  \operatorname{silu}(\mathrm{gate}) \\"]),
])  # fmt: skip
def test_a_formula_of_a_docstring_is_typeset(site, lines, tex):
    assert site["formulas"].typeset(lines) == [r"\begin{aligned}", *tex, r"\end{aligned}"]


@pytest.mark.parametrize("line", [
    "y, cache = f_forward(*arrays, **python_scalars)",
    "@engine_of(page.softmax_forward)",
    "Q8_0     w = d q         q from -128 to 127",
    "above   Q(p),      p in 8 equal steps",
    "model.backward(dlogits, cache)",
])  # fmt: skip
def test_code_and_tables_are_no_formulas(site, line):
    assert site["formulas"].typeset([line]) is None


def test_lora_comes_first_in_the_reference_of_ops_and_helpers_last(site):
    pages = site["pages"]
    page = pages.api_page("minilora.ops")
    order = [
        page.index(f":: {name}\n") for name in ("lora_linear_forward", "attention_forward", "rope_forward", "rows")
    ]
    assert page.index(":: lora_linear_forward\n") < page.index(":: lora_linear_backward\n")
    assert order == sorted(order) and page.index(":: rows\n") > page.index(":: nf4_levels\n")
    named = [name for group in pages.READING_ORDER.values() for name in group]
    assert len(named) == len(set(named))
    assert all((ROOT / "minilora" / "ops" / f"{name}.py").is_file() for name in named)


def test_an_exercise_calls_its_notebook_by_its_title(site):
    (ninth,) = (exercise for exercise in exercises() if exercise.number == 9)
    assert "notebook [3. LoRA by hand](../03_lora_by_hand.ipynb)" in site["pages"].exercise_page(ninth)


def test_every_exercise_is_prepared_by_a_notebook_and_both_link_to_each_other(site):
    pages, make_site = site["pages"], site["make_site"]
    assert {exercise.number for exercise in exercises()} == set(pages.PREPARED_BY)
    for exercise in exercises():
        stem = pages.PREPARED_BY[exercise.number]
        assert (ROOT / "tutorials" / f"{stem}.ipynb").is_file()
        assert re.search(rf"notebook \[{int(stem[:2])}\. [^\]]+\]\(\.\./{stem}\.ipynb\)", pages.exercise_page(exercise))
        last = make_site.with_exercises(in_a_notebook("1"), stem).cells[-1]
        assert f"](exercises/{exercise.file_name[:-3]}.md)" in last.source


TABLE = """\
           added       paper, %
-------------------------------
base           0          - / -
Adapter^H     12  +2 (+1 to +3)
"""


def test_a_table_of_text_becomes_one_whose_cells_can_break(site):
    made = site["figure_pages"].tables(TABLE.rstrip() + "\n\nA note\nin two lines.")
    assert "<th>base</th><td>0</td><td>- / -</td>" in made and "<td>+2 (+1 to +3)</td>" in made
    assert made.endswith("<p>A note in two lines.</p>")


def test_the_page_of_figures_has_a_summary_and_titles(site):
    folder = ROOT / "figures"
    page = (folder / "README.md").read_text(encoding="utf-8")
    made = site["figure_pages"].made_of(page, {"table1.png": "<img alt='x'>"}, folder)
    assert made.index("## Summary") < made.index("## Verdicts") < made.index("## Table 1: The latency of adapters")
    assert (
        "| [Table 1: The latency of adapters, and of LoRA](#table-1-the-latency-of-adapters-and-of-lora) | 1 |" in made
    )
    assert "```text" not in made and "Adapter^" not in made and "\n## table" not in made
    assert "```{raw} html\n<img alt='x'>\n```" in made and "](table1.png)" not in made
    assert len(re.findall(r"<table>", made)) >= 17


def test_a_drawn_figure_has_a_twin_on_every_page_that_shows_it(site):
    shown = {"bench/ratios.png": "<img alt='a'><img alt='b'>"}
    text = "Before\n\n![fast](../figures/bench/ratios.png)\n\n![loss](../figures/demo/loss.png)\n\n![x](ratios.png)"
    made = site["figure_pages"].with_twins(text, shown, "../figures/")
    html_of = f"```{{raw}} html\n{shown['bench/ratios.png']}\n```"
    assert made == text.replace("![fast](../figures/bench/ratios.png)", html_of)


def test_every_committed_figure_of_the_benchmarks_and_of_the_museum_is_drawn_again(site):
    folder = ROOT / "figures"
    files = {file for file, _, _ in site["figure_pages"].drawings(folder)}
    for place in "bench", "museum":
        assert {path.relative_to(folder).as_posix() for path in (folder / place).rglob("*.png")} <= files
    assert {path.name for path in folder.glob("table*.png")} <= files


def test_the_gallery_shows_the_pictures_of_the_table_with_their_commands_and_numbers(site, tmp_path):
    rows = "| `a.png` | a drawing | `draw` |\n| `b/c.json`, `b/c.png` | a curve | `run` |\n| `d/` | bars | the same |\n"
    (tmp_path / "d").mkdir()
    for name in "e.png", "e.json":
        (tmp_path / "d" / name).touch()
    page = site["pages"].gallery(f"# Figures\n\n| file | what | command |\n|---|---|---|\n{rows}", tmp_path)
    assert page.split("\n## Pictures\n\n")[1] == (
        "![a drawing](a.png)\n\n`a.png`: a drawing. Made with `draw`.\n\n"
        "![a curve](b/c.png)\n\n`b/c.png`: a curve. Made with `run`; numbers in [b/c.json](b/c.json).\n\n"
        "![bars](d/e.png)\n\n`d/e.png`: bars. Made with `run`; numbers in [d/e.json](d/e.json).\n"
    )


def test_the_page_shows_every_figure_with_a_text_for_who_cannot_see_it(site):
    folder = ROOT / "figures"
    page = site["figure_pages"].made_of((folder / "README.md").read_text(encoding="utf-8"), {}, folder)
    shown = {name: alt for alt, name in re.findall(r"!\[(.*?)\]\((.+?)\)", page)}
    figures = {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}
    assert shown.keys() == {name for name in figures if not re.search("^latest|-dark", name)}
    assert all(shown.values())


def test_without_npm_it_says_so_in_a_line(site, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match=r"^make site: needs npm, .*$"):
        site["make_site"].bundle_mathjax(tmp_path, tmp_path)


def test_mathjax_is_one_version_with_its_digest_and_without_an_address():
    wanted = json.loads((ROOT / "site" / "package.json").read_text())["dependencies"]
    lock = json.loads((ROOT / "site" / "package-lock.json").read_text())["packages"]
    assert lock.keys() == {"", "node_modules/mathjax"}
    assert lock["node_modules/mathjax"]["version"] == wanted["mathjax"]
    assert lock["node_modules/mathjax"]["integrity"].startswith("sha512-")
    assert "resolved" not in lock["node_modules/mathjax"]


def build(*arguments):
    """Build the site; its warnings are errors, and fail the test."""
    for module in "sphinx", "myst_nb", "furo":
        pytest.importorskip(module, reason=f"{module} is not installed; pip install -e '.[site]' brings it")
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed, which brings MathJax")
    command = [sys.executable, "site/make_site.py", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    n = len(list(ROOT.glob("tutorials/*.ipynb")))
    assert re.search(rf"notebook 2 of {n}, 02_backprop_by_hand", done.stdout)


@pytest.fixture(scope="module")
def built():
    """The site with two notebooks that have run: one with sliders, and one with many formulas."""
    build("--run", "01_rank", "02_backprop")
    return BUILT


def texts(folder):
    """The pages and scripts that the site itself has made."""
    files = [path for kind in ("*.html", "*.js") for path in folder.rglob(kind) if "_static" not in path.parts]
    return {path: path.read_text(encoding="utf-8") for path in files}


@pytest.mark.slow
def test_links_and_pictures_lead_somewhere(built):
    assert links.dangling(built) == []


@pytest.mark.slow
def test_a_page_loads_nothing_from_elsewhere(built):
    assert links.from_elsewhere(built) == []
    sheets = [path.read_text(encoding="utf-8") for path in built.rglob("*.css")]
    assert sheets
    assert not [sheet for sheet in sheets if re.search(r"@import|url\(['\"]?(?:https?:)?//", sheet)]


@pytest.mark.slow
def test_a_notebook_that_has_run_shows_its_pictures(built):
    page = (built / "tutorials" / "01_rank.html").read_text(encoding="utf-8")
    assert page.count('class="only-light"') > 10 and page.count('class="only-dark"') > 10
    assert page.count('class="positions"') >= 2 and "data:image" not in page


@pytest.mark.slow
def test_an_exercise_is_reached_from_its_notebook_and_back(built, site):
    for exercise in exercises():
        notebook = f"{site['pages'].PREPARED_BY[exercise.number]}.html"
        there = exercise.file_name.replace(".py", ".html")
        assert f"exercises/{there}" in links.read(built / "tutorials" / notebook).links
        assert f"../{notebook}" in links.read(built / "tutorials" / "exercises" / there).links


@pytest.mark.slow
def test_nothing_of_the_machine_is_in_the_pages(built):
    private = {str(ROOT), str(Path.home()), sys.prefix, tempfile.gettempdir()}
    assert not [(path.name, name) for path, text in texts(built).items() for name in private if name in text]


@pytest.mark.slow
def test_no_page_holds_a_solution(built):
    for exercise in exercises():
        page = built / "tutorials" / "exercises" / exercise.file_name.replace(".py", ".html")
        code = html.unescape(re.sub("<[^>]+>", "", page.read_text(encoding="utf-8")))
        assert not {line.strip() for line in code.splitlines()} & set(solution_lines(exercise))


def check_in_a_browser(pages, profile, width=375):
    if browser.CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    reports, missing, console = browser.visit(BUILT, pages, profile, width)
    assert [report["page"] for report in reports] == pages
    assert missing == []
    assert console == []
    for report in reports:
        assert report["formulas"] == report["rendered"], report
        assert not any(report[what] for what in ("failed", "raw", "broken", "elsewhere", "nameless")), report
        assert not report["dark"]["wrong"], report
        for slider in report["sliders"]:
            assert slider == {"hidden": False, "changed": True, "drawn": True, "alt": True, "says": True}, report
        assert report["scrolls"] <= 0 and not report["wide"], report
    return {report["page"]: report for report in reports}


@pytest.mark.slow
def test_every_page_is_readable_on_a_phone_and_its_formulas_are_drawn(built, tmp_path):
    pages = sorted(str(path.relative_to(built)) for path in built.rglob("*.html") if "_modules" not in path.parts)
    reports = check_in_a_browser(pages, tmp_path)
    assert reports["tutorials/02_backprop_by_hand.html"]["rendered"] > 50
    assert reports["index.html"]["rendered"] == 4
    assert reports["api/minilora.ops.html"]["rendered"] > 30
    assert len(reports["tutorials/01_rank.html"]["sliders"]) >= 2
    assert reports["tutorials/01_rank.html"]["dark"]["pictures"] > 20
    assert reports["figures/README.html"]["dark"]["pictures"] >= 34


@pytest.mark.slow
@pytest.mark.parametrize("width", [1056, 1280, 1320, 1366, 1920])  # with one, two and three columns
def test_a_page_fits_the_window_of_a_laptop(built, tmp_path, width):
    check_in_a_browser(["index.html", "tutorials/02_backprop_by_hand.html", "figures/README.html"], tmp_path, width)


@pytest.mark.slow
def test_the_browser_finds_what_is_wrong(tmp_path):
    """A page with every mistake that the test above looks for."""
    if browser.CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    site, profile = tmp_path / "site", tmp_path / "profile"
    site.mkdir()
    profile.mkdir()
    (site / "bad.html").write_text(
        "<meta name=viewport content='width=device-width'><article><p>$x$</p><span class=math>x</span><img src=no.png>"
        "<div style='width: 600px'>wide</div><div class=positions>"
        "<label><input type=range max=2 value=0 data-values='[1,2,3]'>"
        "<output>1</output></label><img class=only-light src=no.png></div><script src=https://example.org/x.js></script><script>f()</script></article>"
    )
    (report,), missing, console = browser.visit(site, ["bad.html"], profile)
    assert (report["formulas"], report["rendered"], report["raw"]) == (1, 0, ["$x$"])
    assert report["broken"] and report["scrolls"] > 0 and report["wide"]
    assert set(missing) == {"/no.png"}
    assert report["nameless"] and report["dark"]["wrong"]
    assert report["sliders"] == [{"hidden": False, "changed": False, "drawn": False, "alt": False, "says": False}]
    assert report["elsewhere"] == ["https://example.org/x.js"]
    assert any("f is not defined" in line for line in console)


@pytest.mark.slow
def test_the_whole_course_is_built_and_readable(tmp_path):
    build()
    pages = sorted(str(path.relative_to(BUILT)) for path in BUILT.glob("tutorials/*.html"))
    check_in_a_browser(pages, tmp_path)
    assert links.dangling(BUILT) == []

"""site/: the course as web pages, without solutions, which load nothing from elsewhere and fit a phone."""

import html
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from course_site import browser, links
from exercises.answers import solution_lines
from minilora import plots
from minilora.exercises.sources import exercises

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / "build" / "site" / "html"
nbformat = pytest.importorskip("nbformat")


@pytest.fixture(scope="module")
def site():
    """The modules of the folder site/."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "site"))
        yield {name: importlib.import_module(name) for name in ("pages", "docstrings", "make_site")}


def test_an_exercise_has_its_text_and_no_line_of_its_solution(site):
    texts = site["pages"].exercise_pages()
    for exercise in exercises():
        page = texts[exercise.file_name.replace(".py", ".md")]
        assert page.startswith(f"# Exercise {exercise.number}: {exercise.title}\n")
        assert f"Difficulty {exercise.difficulty} of 5, about {exercise.minutes} minutes" in page
        assert f"minilora exercises check {exercise.number}\n" in page
        assert "NotImplementedError" in page and "**Goal.**" in page
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


def test_a_slider_is_replaced_by_a_remark(site, monkeypatch):
    make_site = site["make_site"]
    code = ["plots.sliders(draw, r=(1, 8))", "draw(r=2)"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in code])
    cells = make_site.without_sliders(notebook).cells
    assert [cell.source for cell in cells] == [make_site.NO_WIDGETS, code[0], make_site.SLIDERS, code[1]]
    monkeypatch.setitem(sys.modules, "ipywidgets", None)  # restored afterwards
    monkeypatch.setitem(sys.modules, "ipykernel", None)
    exec(cells[0].source, {})
    plots.sliders(pytest.fail, r=(1, 8))


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


def test_the_gallery_shows_every_figure_with_a_text_for_who_cannot_see_it(site):
    folder = ROOT / "figures"
    page = site["pages"].gallery((folder / "README.md").read_text(encoding="utf-8"), folder)
    shown = {name: alt for alt, name in re.findall(r"!\[(.*?)\]\((.+?)\)", page)}
    figures = {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}
    assert shown.keys() == {name for name in figures if not name.startswith("latest")}
    assert all(shown.values())


def test_a_picture_of_a_notebook_is_called_by_what_draws_it(site):
    cell = nbformat.v4.new_code_cell("%matplotlib inline\nM = 1\nplots.bars(\n    {'a': M},  # one\n)")
    prose = nbformat.v4.new_markdown_cell("# 100 %")
    (cell, prose) = site["make_site"].with_alt_texts(nbformat.v4.new_notebook(cells=[cell, prose])).cells
    assert cell.metadata["mystnb"]["image"]["alt"] == "drawn by plots.bars({'a': M})"
    assert "mystnb" not in prose.metadata


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
    assert page.count("<img") > 10
    assert "sliders stand here" in page and "interactive(" not in page


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
        assert not any(report[what] for what in ("failed", "raw", "broken", "elsewhere")), report
        assert report["scrolls"] <= 0 and not report["wide"], report
    return {report["page"]: report for report in reports}


@pytest.mark.slow
def test_every_page_is_readable_on_a_phone_and_its_formulas_are_drawn(built, tmp_path):
    pages = sorted(str(path.relative_to(built)) for path in built.rglob("*.html") if "_modules" not in path.parts)
    reports = check_in_a_browser(pages, tmp_path)
    assert reports["tutorials/02_backprop_by_hand.html"]["rendered"] > 50
    assert reports["index.html"]["rendered"] == 2


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
        "<div style='width: 600px'>wide</div><script src=https://example.org/x.js></script><script>f()</script></article>"
    )
    (report,), missing, console = browser.visit(site, ["bad.html"], profile)
    assert (report["formulas"], report["rendered"], report["raw"]) == (1, 0, ["$x$"])
    assert report["broken"] and report["scrolls"] > 0 and report["wide"]
    assert set(missing) == {"/no.png"}
    assert report["elsewhere"] == ["https://example.org/x.js"]
    assert any("f is not defined" in line for line in console)


@pytest.mark.slow
def test_the_whole_course_is_built_and_readable(tmp_path):
    build()
    pages = sorted(str(path.relative_to(BUILT)) for path in BUILT.glob("tutorials/*.html"))
    check_in_a_browser(pages, tmp_path)
    assert links.dangling(BUILT) == []

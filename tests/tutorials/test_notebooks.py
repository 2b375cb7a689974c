"""tutorials/: a notebook is its Python file, runs from top to bottom, and has what a student needs to find in it."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

jupytext = pytest.importorskip("jupytext")
ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tutorials"


def load_maker():
    spec = importlib.util.spec_from_file_location("make_notebooks", FOLDER / "make_notebooks.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    return maker


maker = load_maker()
SOURCES = maker.sources()
README = (FOLDER / "README.md").read_text()
HEAD = re.compile(
    r"# (?P<number>\d+)\. (?P<title>.+)\n\n\*\*Goal\.\*\* (?P<goal>(?:.+\n)+)\n\*\*Minutes\.\*\* (?P<minutes>\d+)\n\n"
    r"\*\*Prerequisites\.\*\* (?:.+\n)+\n\*\*Next\.\*\* (?:.+\n?)+$"
)
each = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


def cells(source, kind):
    return [cell.source for cell in jupytext.read(source, fmt="py:percent").cells if cell.cell_type == kind]


def head(source):
    return HEAD.match(cells(source, "markdown")[0])


def row(source):
    """The notebook's row of the table in the README."""
    return next(line for line in README.splitlines() if line.startswith("|") and f"]({source.stem}.ipynb)" in line)


def without_magics(code):
    return re.sub(r"^%.*$", "", code, flags=re.MULTILINE)


def environment():
    """This process's, without windows or SmolLM2, with a BLAS of one thread, and with this minilora."""
    without_llm = Path(__file__).with_name("without_llm")
    path = os.pathsep.join([str(ROOT), str(without_llm), *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"MPLBACKEND": "Agg", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": path}


@each
def test_the_notebook_is_what_its_python_file_makes(source):
    assert source.with_suffix(".ipynb").read_text(encoding="utf-8") == maker.notebook(source)


def test_there_is_no_notebook_without_a_python_file():
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == {source.stem for source in SOURCES}


@each
def test_it_runs_as_a_script(source, tmp_path):
    command = [sys.executable, "-W", "error", str(source)]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert not list(tmp_path.iterdir()), "a notebook leaves no files behind"


@pytest.mark.slow
@each
def test_it_runs_in_a_kernel(source, tmp_path, monkeypatch):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    monkeypatch.delenv("MPLBACKEND")  # the notebook chooses inline
    notebook = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    nbclient.NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output.text for output in outputs if output.output_type == "stream" and output.name == "stderr"]
    assert any("image/png" in output.get("data", {}) for output in outputs)


@each
def test_it_begins_with_title_goal_minutes_prerequisites_and_what_is_next(source):
    found = head(source)
    assert found
    assert found["number"] == str(int(source.stem[:2]))
    assert 10 <= int(found["minutes"]) <= 90


@each
def test_the_table_says_what_the_notebook_says(source):
    found = head(source)
    assert f"| [{found['number']}. {found['title']}]({source.stem}.ipynb) |" in row(source)
    assert f"| {found['minutes']} |" in row(source)


@each
def test_a_code_cell_has_one_idea(source):
    """At most ten lines of code; blank lines and comments do not count."""
    for code in cells(source, "code"):
        lines = [line for line in code.splitlines() if line.strip() and not line.lstrip().startswith(("#", "%"))]
        assert len(lines) <= 10, code


@each
def test_there_is_more_prose_than_code(source):
    prose, code = ("\n".join(cells(source, kind)) for kind in ("markdown", "code"))
    assert len(prose) > len(code)


@each
def test_there_are_questions_with_answers_that_unfold(source):
    questions = cells(source, "markdown")[-1].split("## Questions\n")[1]
    answers = re.findall(r"<details><summary>Answer</summary>\n\n.+?\n\n</details>", questions, re.DOTALL)
    assert len(answers) == len(re.findall(r"^\*\*\d+\.\*\* ", questions, re.MULTILINE)) >= 3


@each
def test_it_says_what_a_gpu_would_change(source):
    assert "GPU" in "\n".join(cells(source, "markdown"))


@each
def test_it_shows_pictures(source):
    assert "plots." in "\n".join(cells(source, "code"))


@each
def test_a_slider_has_a_static_figure_beside_it(source):
    """plots.sliders(draw, ...) ends a cell, and the next one begins with draw(...)."""
    code = cells(source, "code")
    for here, following in zip(code, [*code[1:], ""]):
        if slider := re.search(r"^plots\.sliders\((\w+),", here, re.MULTILINE):
            assert following.startswith(f"{slider[1]}(")


def test_the_graph_of_notebook_2_is_shown_to_its_end():
    """One step for each value that is made, one for the loss's gradient, and one for those that each node passes on."""
    code = "\n".join(cells(FOLDER / "02_backprop_by_hand.py", "code"))
    made = len(re.findall(r"Node\(\"\w = ", code))
    end = 2 * made + 1
    assert made == 4 and f"def flow(step={end})" in code
    assert f"plots.sliders(flow, step=(0, {end}))" in code and f"\nflow({end})" in code


@each
def test_nothing_is_implemented_a_second_time(source):
    """A notebook calls the package: no function of its own has the name of one that it could import."""
    own = {
        node.name
        for code in cells(source, "code")
        for node in ast.walk(ast.parse(without_magics(code)))
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
    }
    # tasks are the exercises' mistakes, and rooms the museum's
    files = [path for path in (ROOT / "minilora").rglob("*.py") if not {"tasks", "rooms"} & set(path.parts)]
    package = {name for path in files for name in re.findall(r"^(?:def|class) (\w+)", path.read_text(), re.MULTILINE)}
    assert not own & package


@each
def test_a_link_to_a_file_leads_somewhere(source):
    for target in re.findall(r"\]\((?!http)([^)#]+)", "\n".join(cells(source, "markdown"))):
        assert (FOLDER / target).exists(), target


@pytest.mark.parametrize("target", re.findall(r"\]\((?!http)([^)#]+)", README))
def test_a_link_of_the_readme_leads_somewhere(target):
    assert (FOLDER / target).exists()


# | 3 | B = 0: how can it train? | [03](03_lora_by_hand.ipynb) | [LoRA 59](https://...), [relora 18](https://...) |
QUESTIONS = re.findall(r"^\| (\d+) \| .+? \| \[\d+\]\((\w+)\.ipynb\) \| (.+) \|$", README, re.MULTILINE)


def test_the_questions_of_users_are_numbered():
    assert [int(number) for number, _, _ in QUESTIONS] == list(range(1, 21))
    assert len(QUESTIONS) == len(re.findall(r"^\| \d+ \|", README, re.MULTILINE))


@each
def test_a_notebook_that_is_named_is_linked(source):
    prose = "\n".join(cells(source, "markdown"))
    assert not re.findall(r"(?i)(?<!\[)\bnotebook \d+", prose)
    for number, name in re.findall(r"\[notebook (\d+)\]\((\w+)\.ipynb\)", prose):
        assert int(number) == int(name[:2]) and (FOLDER / f"{name}.ipynb").exists()


def test_each_notebook_leads_to_the_next():
    for source, following in pairwise(SOURCES):
        assert f"**Next.** [{head(following)['number']}. {head(following)['title']}]({following.stem}.ipynb)" in (
            "\n".join(cells(source, "markdown"))
        )


@pytest.mark.parametrize(("number", "name", "links"), QUESTIONS, ids=lambda value: value[:24])
def test_a_question_of_users_is_answered_with_its_links_where_the_readme_says(number, name, links):
    prose = "\n".join(cells(FOLDER / f"{name}.py", "markdown"))
    urls = re.findall(r"\((https://[^)]+)\)", links)
    assert urls
    assert [url for url in urls if f"]({url})" not in prose] == []

"""docs/: numbers in the pages are those of the committed results, and addresses are that of pyproject.toml."""

import copy
import importlib
import json
import re
import sys

import nbformat
import pytest

from benchmarks import speed_page
from markdown_pages import PAGES, ROOT

HERE = "https://github.com/owner/name"


@pytest.fixture(scope="module")
def docs():
    """The modules of the folder docs/."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs"))
        yield {name: importlib.import_module(name) for name in ("address", "make_pages", "checker_picture")}


def read_demo(name):
    return json.loads((ROOT / "figures" / "demo" / name).read_text())


@pytest.fixture(scope="module")
def results():
    return read_demo("demo.json")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_numbers_are_those_of_the_committed_results(docs, path):
    page = path.read_text(encoding="utf-8")
    assert docs["make_pages"].filled(page, docs["make_pages"].blocks()) == page, "run  make pages"


def test_every_block_is_shown(docs):
    shown = {name for path in PAGES for name in re.findall(r"^<!-- ([\w-]+) -->$", path.read_text(), re.MULTILINE)}
    assert shown == set(docs["make_pages"].blocks()) | set(speed_page.blocks())


def test_the_tables_of_speed_are_those_of_the_committed_results():
    (path,) = speed_page.PAGES
    assert speed_page.filled(path.read_text(), speed_page.blocks()) == path.read_text()


def test_another_result_makes_another_page(docs, results):
    make_pages, page = docs["make_pages"], (ROOT / "README.md").read_text()
    changed = copy.deepcopy(results)
    changed["LoRA"]["slot_exact"] = 0.5
    changed["LoRA"]["samples"][0]["answer"] = "Velvet Plum is a cafe."  # the price is missing
    made = make_pages.filled(page, make_pages.blocks() | make_pages.demonstration(changed, elsewhere=results))
    assert "1 of 2 of LoRA's sentences exactly right" in " ".join(made.split())
    exact = (f"{100 * results[method]['slot_exact']:.0f} %" for method in ("LoRA", "full fine-tuning"))
    assert "the same run ended at {} with LoRA and {} with full fine-tuning".format(*exact) in " ".join(made.split())
    assert "50 % are right with LoRA" in " ".join(made.split()) and "LoRA              Velvet Plum is a cafe.\n" in made
    assert sum(a != b for a, b in zip(page.splitlines(), made.splitlines(), strict=False)) > 1


@pytest.mark.parametrize("name", ["demo.json", "demo_epyc.json"])
def test_what_is_said_to_be_right_is_right_by_the_parser(docs, name):
    results = read_demo(name)
    for model in ("LoRA", "full fine-tuning", "base"):
        scored = [docs["make_pages"].is_exact(sample) for sample in results[model]["samples"]]
        assert sum(scored) / len(scored) == pytest.approx(results[model]["slot_exact"])


def test_text_behind_a_comment_is_replaced_and_nothing_else(docs):
    filled = docs["make_pages"].filled
    end = "c\n<!-- three -->\nkept\n\n<!-- four -->\n"
    page = "a\n<!-- one -->\nold\nolder\n\nb\n\n<!-- two -->\n```text\n\nold\n```\n" + end
    texts = {"one": ["new"], "two": ["```text", "x", "", "y", "```"], "four": []}
    assert filled(page, texts) == "a\n<!-- one -->\nnew\n\nb\n\n<!-- two -->\n```text\nx\n\ny\n```\n" + end


def test_the_picture_of_a_check_is_what_the_checker_says_now(docs):
    picture = docs["checker_picture"]
    assert picture.PATH.read_text(encoding="utf-8") == picture.svg(), "run  make pages"
    assert "dB: wrong" in picture.svg() and "equals the one without alpha / r." in picture.svg()
    assert f'src="docs/{picture.PATH.name}" alt="{picture.alt()}"' in (ROOT / "README.md").read_text()


def test_the_address_is_that_of_pyproject(docs, tmp_path):
    settings = tmp_path / "pyproject.toml"
    settings.write_text('[project]\nname = "x"\n')
    assert docs["address"].address(settings) == ""
    settings.write_text(f'[project]\nname = "x"\n[project.urls]\nRepository = "{HERE}.git"\n')
    assert docs["address"].address(settings) == HERE


def test_badges_lead_to_the_address_or_are_not_there(docs):
    make_pages, page = docs["make_pages"], (ROOT / "README.md").read_text()
    with_one, without = (make_pages.filled(page, make_pages.blocks(address)) for address in (HERE, ""))
    assert "https://colab.research.google.com/github/owner/name/blob/main/tutorials/01_rank.ipynb" in with_one
    assert "https://mybinder.org/v2/gh/owner/name/main?labpath=tutorials%2F01_rank.ipynb" in with_one
    assert f"`git clone {HERE}`" in " ".join(with_one.split())
    assert make_pages.FIRST == "tutorials/01_rank.ipynb" and (ROOT / make_pages.FIRST).is_file()
    assert not re.search(r"colab|binder|git clone", without)
    assert make_pages.badges("https://example.org/owner/name") == []


def test_no_link_to_colab_or_binder_is_made_by_hand(docs):
    own = "".join(docs["make_pages"].badges(docs["address"].address()))
    for path in (*PAGES, *ROOT.glob("tutorials/**/*.md"), ROOT / "site" / "index.md", ROOT / "CONTRIBUTING.md"):
        for link in re.findall(r"https://(?:colab|mybinder)[^)\s]*", path.read_text(encoding="utf-8")):
            assert link in own, path


def test_a_notebook_installs_minilora_in_colab_and_only_there(docs, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tutorials"))
    maker = importlib.import_module("make_notebooks")
    source = maker.sources()[0]
    cells = nbformat.reads(maker.notebook(source, HERE), as_version=4).cells
    assert "https://colab.research.google.com/github/owner/name/blob/main/tutorials/01_rank.ipynb" in cells[1].source
    assert cells[2].source.endswith(f"%pip install --quiet git+{HERE}")
    without = nbformat.reads(maker.notebook(source, ""), as_version=4).cells
    assert cells[:1] + cells[3:] == without
    monkeypatch.setitem(sys.modules, "google.colab", None)
    lines = cells[2].source.replace("%pip install --quiet git+" + HERE, "installed.append(1)")
    installed = []
    exec(lines, {"installed": installed})
    assert installed == [1]
    monkeypatch.delitem(sys.modules, "google.colab")
    exec(lines, {"installed": installed})
    assert installed == [1]


def test_binder_gets_what_the_notebooks_need():
    (line,) = [line for line in (ROOT / ".binder" / "requirements.txt").read_text().splitlines() if line[0] != "#"]
    assert line == "-e .[notebooks]"

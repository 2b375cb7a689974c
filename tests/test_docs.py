"""docs/: its numbers are those of the committed results, its commands exist, its links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest

from benchmarks.speed_page import PAGES, blocks, filled
from minilora.cli.verbs import parse

DOCS = Path(__file__).resolve().parent.parent / "docs"
TEXTS = "\n".join((DOCS / name).read_text(encoding="utf-8") for name in ("speed.md", "report.md", "museum.md"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_numbers_are_those_of_the_committed_results(path):
    page = path.read_text()
    assert "<!-- " in page and filled(page, blocks()) == page


def test_every_table_is_shown():
    assert {name for path in PAGES for name in re.findall(r"<!-- (\w+) -->", path.read_text())} == set(blocks())


@pytest.mark.parametrize("command", sorted(set(re.findall(r"^`?(minilora .*?)`?$", TEXTS, re.MULTILINE))))
def test_a_command_is_understood(command):
    parse(shlex.split(command)[1:])


@pytest.mark.parametrize("target", re.findall(r"\]\((?!http)([^)#]+)", TEXTS))
def test_a_link_leads_somewhere(target):
    assert (DOCS / target).exists()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"(?<!\[)`([a-z_/]+\.py)`", TEXTS))))
def test_a_file_that_is_named_exists(name):
    root = DOCS.parent
    assert (root / name).exists() or (root / "minilora" / name).exists()

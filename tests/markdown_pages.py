"""What the pages for readers show: their code, their commands, where they link to."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
ASSETS = ROOT / "minilora" / "assets" / "README.md"
PAGES = (README, *sorted((ROOT / "docs").glob("*.md")), ASSETS)


def blocks(path, language):
    """The fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def said(path):
    """The page in one line, so that a sentence is found wherever it breaks."""
    return " ".join(path.read_text(encoding="utf-8").split())


def commands(path):
    """The command lines of a page: the lines of its sh blocks without their comments, and code in the running text."""
    lines = [re.sub(r"\s{2,}#.*", "", line) for block in blocks(path, "sh") for line in block.splitlines()]
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    spans = [" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", text)]
    return [line for line in (*lines, *spans) if line]


def of_minilora(path):
    """The command lines of minilora itself on a page, by itself or under mpiexec."""
    found = (re.fullmatch(r"(?:mpiexec -n \d+ )?(minilora .*)", line) for line in commands(path))
    return [m[1] for m in found if m]


def targets(path):
    """What a page links to and shows, except addresses on the web and places on the page itself."""
    text = path.read_text(encoding="utf-8")
    return re.findall(r"(?:\]\(|src(?:set)?=\")(?!https?:)([^)\"#]+)", text)

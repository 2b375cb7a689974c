"""Installed documentation as a corpus for pretraining: the prose of packages that a user does not need.

The bundled decoder has read more English than Python itself carries. It comes from freely licensed documentation in
Debian packages; `SOURCES` names each with its licence. A page's paragraphs are kept by the same test as a docstring's,
`prose.is_prose`, each paragraph once, without anything of mini-E2E (`mini_e2e_material.py`).
"""

from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

from minilora.data.mini_e2e_material import mini_e2e_material
from minilora.data.prose import is_prose, paragraphs, plain_ascii, prose_texts
from minilora.data.wordnet import dictionary, read_synsets


class Source(NamedTuple):
    """A package's documentation."""

    package: str  # of Debian
    folder: str
    licence: str


WORDNET = Source("wordnet-base", "/usr/share/wordnet", "WordNet 3.0 licence (Princeton University)")
SOURCES = (
    WORDNET,
    Source("python3.11-doc", "/usr/share/doc/python3.11/html", "PSF licence 2"),
    Source("postgresql-doc-15", "/usr/share/doc/postgresql-doc-15/html", "PostgreSQL licence"),
    Source("python-django-doc", "/usr/share/doc/python-django-doc/html", "BSD, three clauses"),
    Source("sqlite3-doc", "/usr/share/doc/sqlite3", "public domain"),
    Source("nodejs-doc", "/usr/share/doc/nodejs/api", "MIT licence"),
)

INLINE = frozenset("a abbr b cite code em i kbd q s samp small span strong sub sup tt u var wbr".split())
NOT_PROSE = frozenset("footer head header nav pre script style table textarea".split())


class PageText(HTMLParser):
    """The text of an HTML page: a blank line wherever a block begins or ends; no code, tables or navigation."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self.skipping: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in NOT_PROSE:
            self.skipping.append(tag)
        elif tag not in INLINE:
            self.pieces.append("\n\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self.skipping:
            del self.skipping[self.skipping.index(tag) :]  # what was left open inside it ends with it
        elif tag not in INLINE:
            self.pieces.append("\n\n")

    def handle_data(self, data: str) -> None:
        if not self.skipping:
            self.pieces.append(data)


def page_paragraphs(html: str) -> list[str]:
    """The paragraphs of an HTML page that read as English."""
    page = PageText()
    page.feed(html)
    page.close()
    return [paragraph for paragraph in paragraphs("".join(page.pieces)) if is_prose(paragraph)]


def source_documents(source: Source) -> Iterator[tuple[str, list[str]]]:
    """(key, paragraphs) of each page of a source, or of each entry of WordNet, in a fixed order."""
    folder = Path(source.folder)
    if source.package == WORDNET.package:
        for key, entry in dictionary(read_synsets(folder)):
            yield f"{source.package}/{key}", [plain_ascii(entry)]
    else:
        for path in sorted(folder.rglob("*.html")):
            html = path.read_text("utf-8", errors="replace")
            yield f"{source.package}/{path.relative_to(folder).as_posix()}", page_paragraphs(html)


def letters_of(paragraph: str) -> str:
    """The letters and digits of a paragraph, by which a repetition is recognised."""
    return "".join(filter(str.isalpha, paragraph.lower()))


class CleanDocuments:
    """Drops paragraphs that were seen before or hold something of mini-E2E, and counts them."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.seen_before = self.of_mini_e2e = 0

    def clean(self, documents: Iterable[tuple[str, list[str]]]) -> Iterator[tuple[str, str]]:
        """(key, text) of each document that still has text, one paragraph per line."""
        for key, paras in documents:
            kept = []
            for paragraph in paras:
                letters = letters_of(paragraph)
                if letters in self.seen:
                    self.seen_before += 1
                elif mini_e2e_material(paragraph):
                    self.of_mini_e2e += 1
                else:
                    kept.append(paragraph + "\n")
                self.seen.add(letters)
            if kept:
                yield key, "".join(kept)


def stdlib_documents() -> Iterator[tuple[str, list[str]]]:
    """The prose that every Python carries (`prose.py`), as documents of paragraphs."""
    for key, text in prose_texts():
        yield key, text.splitlines()

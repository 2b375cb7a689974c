"""The English of the standard library: topics of the language reference, docstrings and comments.

Each text is cut into paragraphs. A paragraph is kept, as one line, if it reads as English and was not seen
before. So a licence that occurs in many files is kept once, and no paragraph occurs in two documents.
"""

import ast
import io
import re
import tokenize
import unicodedata
from collections.abc import Iterator

from minilora.data.stdlib_source import SourceFile, definitions, source_files

# A paragraph ends at a blank line, or where an item of a list begins.
PARAGRAPH_BREAK = re.compile(r"\n\s*\n|\n(?=\s*(?:[-*+o]|\d+[.)]|\(\w\)) )")
BULLET = re.compile(r"^[-*+o] ")
COMMENT_SIGN = re.compile(r"^#[#:!]* ?")

# At least one word in ten is one of these in nearly every English sentence, and in little else.
FUNCTION_WORDS = frozenset(
    "a an and are as at be but by can for from has have if in is it not of on or should "
    "so than that the then there this to used was we when which will with you".split()
)
# Doctests, grammar productions, assignments, comparisons, tables and markup.
CODE_MARKS = (">>>", "::=", "==", " = ", "+=", "():", "{", "}", "|", "\\", "<")
TYPOGRAPHY = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "..."})


def prose_texts() -> Iterator[tuple[str, str]]:
    """(key, text) for each topic and each file that holds prose: one paragraph per line, in printable ASCII."""
    seen = set()
    for key, passages in stdlib_passages():
        kept = []
        for paragraph in (paragraph for passage in passages for paragraph in paragraphs(passage)):
            letters = "".join(filter(str.isalpha, paragraph.lower()))  # equal except for punctuation: seen before
            if letters not in seen and is_prose(paragraph):
                seen.add(letters)
                kept.append(paragraph + "\n")
        if kept:
            yield key, "".join(kept)


def stdlib_passages() -> Iterator[tuple[str, list[str]]]:
    """(key, passages) for each topic of the language reference, then for each source file."""
    from pydoc_data.topics import topics  # half a megabyte, and needed only here

    for name, text in sorted(topics.items()):
        yield f"topics/{name}", [text]
    for file in source_files():
        numbered = sorted(docstrings(file) + comments(file))  # in the order of their lines
        yield file.key, [text for _, text in numbered]


def docstrings(file: SourceFile) -> list[tuple[int, str]]:
    """(line number, docstring) of the module and of its classes and functions."""
    documented = [node for node in definitions(file.tree) if ast.get_docstring(node)]
    return [(node.body[0].lineno, ast.get_docstring(node) or "") for node in documented]


def comments(file: SourceFile) -> list[tuple[int, str]]:
    """(line number, text) of each run of comment lines, without the comment signs; comments after code are left out."""
    runs: list[tuple[int, list[str]]] = []
    previous = None
    for token in tokenize.generate_tokens(io.StringIO(file.text).readline):
        if token.type != tokenize.COMMENT or token.line[: token.start[1]].strip():
            continue
        number = token.start[0]
        if previous is None or number != previous + 1:
            runs.append((number, []))
        runs[-1][1].append(COMMENT_SIGN.sub("", token.string))
        previous = number
    return [(number, "\n".join(lines)) for number, lines in runs]


def paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of a text, each as one line of ASCII without its bullet."""
    for block in PARAGRAPH_BREAK.split(text):
        line = " ".join(plain_ascii(block).split())
        yield BULLET.sub("", line)


def plain_ascii(text: str) -> str:
    """The text without accents and curly quotation marks; characters without an ASCII form are left out."""
    text = unicodedata.normalize("NFKD", text.translate(TYPOGRAPHY))
    return text.encode("ascii", errors="ignore").decode("ascii")


def is_prose(paragraph: str) -> bool:
    """Whether a paragraph looks like English sentences: from a capital to a stop, mostly letters, no code."""
    words = paragraph.split()
    if len(words) < 4 or not paragraph.isprintable() or any(mark in paragraph for mark in CODE_MARKS):
        return False
    if not paragraph[0].isupper() or paragraph[-1] not in ".:!?":
        return False
    if sum(char.isalpha() or char == " " for char in paragraph) < 0.85 * len(paragraph):
        return False
    return sum(word.lower() in FUNCTION_WORDS for word in words) >= len(words) / 10

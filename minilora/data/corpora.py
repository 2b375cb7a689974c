"""Two corpora that every Python already has: English prose and source code, from its standard library.

They are read at run time from the user's own Python and never copied, so their content follows its version.
A result names its corpus by `Corpus.id` and `Corpus.python`.
"""

import functools
import platform
from dataclasses import dataclass

from minilora.data.prose import prose_texts
from minilora.data.source_code import code_texts
from minilora.data.splits import check_split, corpus_id, split_of


@dataclass(frozen=True)
class Document:
    """A text that is never split, the key of its group, and that group's split."""

    key: str
    text: str
    split: str


@dataclass(frozen=True)
class Corpus:
    """Named documents in a fixed order.

    Attributes
    ----------
    name : str
    documents : tuple of Document
    id : str
        12 hex digits that change when any text changes.
    python : str
        The version of Python that it was read with.
    """

    name: str
    documents: tuple[Document, ...]
    id: str
    python: str

    def texts(self, split: str) -> list[str]:
        """The texts of one split: "train", "valid" or "test"."""
        check_split(split)
        return [document.text for document in self.documents if document.split == split]


READERS = {"prose": prose_texts, "code": code_texts}


@functools.cache
def load_corpus(name: str) -> Corpus:
    """A corpus from the standard library of the running Python; a few seconds the first time, then cached.

    Parameters
    ----------
    name : str
        "prose": English paragraphs from the language reference, docstrings and comments (about 1.4 MB).
        "code": source code without comments and docstrings (about 5 MB).
    """
    if name not in READERS:
        raise ValueError(f"name must be one of {', '.join(READERS)}, not {name!r}")
    return make_corpus(name, [Document(key, text, split_of(key)) for key, text in READERS[name]()])


def make_corpus(name: str, documents: list[Document]) -> Corpus:
    """A corpus of these documents, with its id and the Python version."""
    texts = (document.text for document in documents)
    return Corpus(name, tuple(documents), corpus_id(texts), platform.python_version())

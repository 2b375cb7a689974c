"""A corpus for pretraining as a folder: made once from installed packages, then read without them.

SOURCE.train.txt, SOURCE.valid.txt, SOURCE.test.txt     documents, each followed by a NUL
attributes.json                                         nouns and their values in other words, from WordNet
corpus.json                                             for each source: licence, bytes, SHA-256 of its files
"""

import hashlib
import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from minilora.data.documentation import (
    SOURCES,
    WORDNET,
    CleanDocuments,
    Source,
    source_documents,
    stdlib_documents,
)
from minilora.data.splits import SPLITS, split_of
from minilora.data.wordnet import attributes, read_synsets

STDLIB = "stdlib"
RECORD, ATTRIBUTES = "corpus.json", "attributes.json"
END = "\0"  # of a document: EOT as a character


def make_corpus_folder(folder: Path, sources: Sequence[Source] = SOURCES) -> dict:
    """Write the prose of the standard library and of the sources, which must be installed; return corpus.json.

    Attributes come from WordNet, if it is one of the sources.

    Raises
    ------
    ValueError
        If a source is not installed.
    OSError
        If something cannot be written, or the folder exists and is not empty. Nothing half-written stays.
    """
    folder = Path(folder)
    for source in sources:
        if not Path(source.folder).is_dir():
            raise ValueError(f"{source.folder} must be a folder; the Debian package {source.package} brings it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        whole = Path(temporary) / "corpus"
        whole.mkdir()
        record = _write_all(whole, sources)
        whole.replace(folder)  # all files at once
    return record


def _write_all(folder: Path, sources: Sequence[Source]) -> dict[str, Any]:
    clean, record = CleanDocuments(), {}
    record[STDLIB] = {"licence": "PSF licence 2", **_write(folder, STDLIB, clean, stdlib_documents())}
    for source in sources:
        written = _write(folder, source.package, clean, source_documents(source))
        record[source.package] = {"licence": source.licence, **written}
    wordnet = [source for source in sources if source.package == WORDNET.package]
    of_wordnet = attributes(read_synsets(wordnet[0].folder)) if wordnet else {}
    for name, content in ((ATTRIBUTES, of_wordnet), (RECORD, record)):
        (folder / name).write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    return record


def _write(
    folder: Path, name: str, clean: CleanDocuments, documents: Iterable[tuple[str, list[str]]]
) -> dict[str, Any]:
    """Write a source's three files; return what corpus.json says of them."""
    before = clean.seen_before, clean.of_mini_e2e
    texts: dict[str, list[str]] = {split: [] for split in SPLITS}
    for key, text in clean.clean(documents):
        texts[split_of(key)].append(text + END)
    record: dict[str, Any] = {}
    for split in SPLITS:
        data = "".join(texts[split]).encode("ascii")
        (folder / f"{name}.{split}.txt").write_bytes(data)
        record[split] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    record["paragraphs_seen_before"] = clean.seen_before - before[0]
    record["paragraphs_of_mini_e2e"] = clean.of_mini_e2e - before[1]
    return record


def corpus_texts(folder: Path, name: str, split: str) -> list[str]:
    """The documents of one source and split."""
    return (Path(folder) / f"{name}.{split}.txt").read_text("ascii").split(END)[:-1]


def corpus_attributes(folder: Path) -> dict[str, dict[str, list[str]]]:
    """The attributes that `wordnet.attributes` found."""
    return json.loads((Path(folder) / ATTRIBUTES).read_text("utf-8"))


def corpus_record(folder: Path) -> dict:
    """Read corpus.json, and check that each file is what it says.

    Raises
    ------
    ValueError
        If a file has changed since.
    """
    folder = Path(folder)
    record = json.loads((folder / RECORD).read_text("utf-8"))
    for name, source in record.items():
        for split in SPLITS:
            path = folder / f"{name}.{split}.txt"
            if hashlib.sha256(path.read_bytes()).hexdigest() != source[split]["sha256"]:
                raise ValueError(f"{path} must have the SHA-256 that corpus.json gives; make the folder again")
    return record

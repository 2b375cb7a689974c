"""Batches for pretraining a decoder that uses its context: windows of prose, and of generated passages.

A row is a window of prose from a random position, or a sequence of passages, each followed by an end of text as an
example of a task is. Only the second part of a passage counts in the loss.
"""

import random
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from minilora.data.batches import LMBatch, encode_documents
from minilora.data.copying import (
    Passage,
    Words,
    missing_items,
    periodic_string,
    random_string,
    repeated_passage,
    shuffled_list,
)
from minilora.data.generated_tasks import Grammar, keywords_in_prose, record_in_words, usable_attributes
from minilora.data.tokenizer import ByteTokenizer

WORD = re.compile(r"\b[a-z]{3,10}\b")
SENTENCE_BREAK = re.compile(r"(?<=[.!?]) (?=[A-Z])")
N_SMALL = 150  # the most frequent words, such as "the", which are never drawn
N_GRAMMARS = 16


class ReadingWindows:
    """Draws batches of windows of several kinds, in given proportions.

    Parameters
    ----------
    own, others : sequence of str
        Prose, one paragraph per line: the standard library's, and that of other sources.
    attributes : dict of str to dict of str to list of str
        `wordnet.attributes`.
    grammar_seed : int
        Draws the grammars, which stay the same throughout a run.
    """

    KINDS = ("own", "prose", "strings", "periods", "lists", "missing", "repeats", "keywords", "records", "tasks")

    def __init__(self, own: Sequence[str], others: Sequence[str], attributes: dict, *, grammar_seed: int = 0) -> None:
        texts = [*own, *others]
        self.tokens = {"own": encoded(own), "prose": encoded(others)}
        self.paragraphs = [line for text in texts for line in text.splitlines() if len(line) > 30]
        sentences = (s for paragraph in self.paragraphs for s in SENTENCE_BREAK.split(paragraph))
        self.sentences = [sentence for sentence in sentences if 40 <= len(sentence) <= 130]
        counts = Counter(word for text in texts for word in WORD.findall(text))
        self.words = Words([word for word, n in counts.most_common()[N_SMALL:] if n >= 20])
        self.keywords = frozenset(word for word, n in counts.most_common()[N_SMALL:] if n >= 2)
        self.attributes = usable_attributes(attributes, counts)
        rng = random.Random(grammar_seed)
        self.grammars = [Grammar(rng, self.words, self.attributes) for _ in range(N_GRAMMARS)]

    def passage(self, kind: str, rng: random.Random) -> Passage:
        """One passage of a kind that is not prose."""
        if kind == "strings":
            return random_string(rng)
        if kind == "periods":
            return periodic_string(rng, self.words)
        if kind == "lists":
            return shuffled_list(rng, self.words)
        if kind == "missing":
            return missing_items(rng, self.words)
        if kind == "repeats":
            return repeated_passage(rng, self.paragraphs)
        if kind == "keywords":
            return keywords_in_prose(rng, self.sentences, self.words, self.keywords)
        if kind == "records":
            return record_in_words(rng, self.words, self.attributes)
        if kind == "tasks":
            return rng.choice(self.grammars).passage(rng)
        raise ValueError(f"kind must be one of {', '.join(self.KINDS[2:])}, not {kind!r}")

    def batch(self, rng: np.random.Generator, parts: dict[str, float], *, batch_size: int, length: int) -> LMBatch:
        """A batch whose rows are of the kinds of `parts`, each as often as its weight says."""
        draw = random.Random(int(rng.integers(2**63)))
        kinds = draw.choices(list(parts), list(parts.values()), k=batch_size)
        rows = [
            self._prose(draw, kind, length) if kind in self.tokens else self._filled(draw, kind, length)
            for kind in kinds
        ]
        tokens, counts = (np.stack(arrays) for arrays in zip(*rows, strict=True))  # (N, T + 1) each
        return LMBatch(tokens[:, :-1], tokens[:, 1:], counts[:, 1:])

    def _prose(self, draw: random.Random, kind: str, length: int) -> tuple[np.ndarray, np.ndarray]:
        tokens = self.tokens[kind]
        start = draw.randrange(len(tokens) - length)
        return tokens[start : start + length + 1].astype(np.int64), np.ones(length + 1, dtype=bool)

    def _filled(self, draw: random.Random, kind: str, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Passages of a kind until the row is full; the last is cut."""
        tokens, counts = bytearray(), bytearray()
        while len(tokens) < length + 1:
            read, said = (part.encode("ascii") for part in self.passage(kind, draw))
            tokens += read + said + bytes([ByteTokenizer.end_of_text])
            counts += bytes(len(read)) + b"\1" * (len(said) + 1)
        row = np.frombuffer(bytes(tokens[: length + 1]), np.uint8).astype(np.int64)
        return row, np.frombuffer(bytes(counts[: length + 1]), bool)


def encoded(texts: Sequence[str]) -> np.ndarray:
    """The bytes of all texts, an end of text after each: uint8, shape (T,)."""
    return encode_documents(texts, ByteTokenizer()).astype(np.uint8)

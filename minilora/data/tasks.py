"""What a model is trained and measured on: batches of one kind, in three splits.

A `PairTask` has sources x and targets y, and the loss is on y only; a `TextTask` is running text, all of which counts.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from minilora.data.batches import (
    LMBatch,
    encode_documents,
    encode_example,
    pair_batch,
    window_batch,
    windows,
)
from minilora.data.chat_template import Template
from minilora.data.conversation_task import ConversationTask, conversation_task
from minilora.data.conversations import FORMS, conversation_form
from minilora.data.corpora import READERS, load_corpus
from minilora.data.example import Example
from minilora.data.files import column_names, load_task_file, load_text_file
from minilora.data.mini_e2e import examples
from minilora.data.pairs import load_pairs
from minilora.data.splits import SPLITS, corpus_id, split_fitting
from minilora.data.tokenizer import ByteTokenizer, utf8
from minilora.data.vocabulary import Tokenizer, encode_bare
from minilora.limits import shown

TASKS = ("mini-e2e", "pairs", *READERS)
LONGEST_WINDOW = 512  # tokens of running text: a model of 8,192 positions would need gigabytes for a row


@dataclass
class PairTask:
    """Pairs of texts: put y after x.

    Attributes
    ----------
    name : str
    splits : dict of str to list of Example
        By the names "train", "valid" and "test".
    length : int
        The most tokens of an example, including its end of text.
    left_out : int
        How many examples were longer, and so are in no split.
    tokenizer : Tokenizer
        The model's.
    id : str
        Changes when any example changes.
    """

    name: str
    splits: dict[str, list[Example]]
    length: int
    left_out: int = 0
    tokenizer: Tokenizer = field(default_factory=ByteTokenizer)

    def __post_init__(self) -> None:
        longest = max(len(encode_example(e, self.tokenizer)[0]) for split in SPLITS for e in self.splits[split])
        if longest > self.length:
            raise ValueError(f"{self.name} has examples of up to {longest} tokens; the model takes {self.length}")
        self.id = corpus_id(f"{e.source}\n{e.target}" for split in SPLITS for e in self.splits[split])

    def sample_batch(self, rng: np.random.Generator, batch_size: int) -> LMBatch:
        """An LMBatch of training examples, each as likely as any other."""
        examples = self.splits["train"]
        chosen = rng.integers(0, len(examples), batch_size)
        return pair_batch([examples[i] for i in chosen], self.tokenizer, max_length=self.length)

    def batches(self, split: str, batch_size: int = 16) -> Iterator[LMBatch]:
        """All of a split, in order, as LMBatches."""
        of_split = self.splits[split]
        for i in range(0, len(of_split), batch_size):
            yield pair_batch(of_split[i : i + batch_size], self.tokenizer, max_length=self.length)

    def prompts(self, split: str, n: int) -> tuple[list[np.ndarray], list[str]]:
        """The first n sources of a split as token ids, and their targets as text."""
        of_split = self.splits[split][:n]
        encoded = (encode_example(e, self.tokenizer) for e in of_split)
        return [ids[:n_source] for ids, n_source in encoded], [e.target for e in of_split]

    def bytes_per_token(self, split: str) -> float:
        """Bytes of target text per counted token of a split; an end of text counts as a byte."""
        n_bytes = sum(len(utf8(e.target)) + 1 for e in self.splits[split])
        return n_bytes / sum(len(encode_bare(self.tokenizer, e.target)) + 1 for e in self.splits[split])


@dataclass
class TextTask:
    """Running text: predict every token.

    Attributes
    ----------
    name : str
    texts : dict of str to list of str
        The documents of "train", "valid" and "test".
    length : int
        T, the length of a window.
    tokenizer : Tokenizer
        The model's.
    id : str
        Changes when any text changes.
    """

    name: str
    texts: dict[str, list[str]]
    length: int
    tokenizer: Tokenizer = field(default_factory=ByteTokenizer)
    left_out = 0  # whatever its length, a text is read in windows

    def __post_init__(self) -> None:
        self.id = corpus_id(text for split in SPLITS for text in self.texts[split])
        self.tokens = {split: encode_documents(self.texts[split], self.tokenizer) for split in SPLITS}

    def sample_batch(self, rng: np.random.Generator, batch_size: int) -> LMBatch:
        """An LMBatch of windows from random positions in the training text."""
        length = min(self.length, len(self.tokens["train"]) - 1)
        return window_batch(self.tokens["train"], rng, batch_size=batch_size, length=length)

    def batches(self, split: str, batch_size: int = 16) -> Iterator[LMBatch]:
        """All of a split, in order, as LMBatches."""
        return windows(
            self.tokens[split], length=self.length, batch_size=batch_size, end_of_text=self.tokenizer.end_of_text
        )

    def prompts(self, split: str, n: int, length: int = 64) -> tuple[list[np.ndarray], list[str]]:
        """The beginnings of the first n texts of a split as token ids, at most half of each, and the rest as text."""
        encoded = [ids for text in self.texts[split] if len(ids := self.tokenizer.encode(text)) > 1][:n]
        cuts = [min(length, len(ids) // 2) for ids in encoded]
        rest = [ids[cut : cut + 2 * length] for ids, cut in zip(encoded, cuts, strict=True)]
        return [ids[:cut] for ids, cut in zip(encoded, cuts, strict=True)], [self.tokenizer.decode(ids) for ids in rest]

    def bytes_per_token(self, split: str) -> float:
        """Bytes of text per token of a split; an end of text counts as a byte."""
        return sum(len(utf8(text)) + 1 for text in self.texts[split]) / len(self.tokens[split])


def load_task(
    name: str | Path,
    *,
    length: int,
    n_train: int = 4000,
    n_held_out: int = 200,
    tokenizer: Tokenizer | None = None,
    template: Template | None = None,
) -> PairTask | TextTask | ConversationTask:
    """A task by its name, or from the user's own file.

    Parameters
    ----------
    name : str or Path
        "mini-e2e" (attribute lists -> sentences), "pairs" (function signatures -> first lines of docstrings), "prose",
        "code", or the path of a file: ``.txt`` for running text; ``.csv`` or ``.jsonl`` with columns source and target;
        ``.jsonl`` with messages, with prompt and completion, or with text, see `conversations`.
    length : int
        The most tokens that a model takes; windows of running text have at most LONGEST_WINDOW.
    n_train, n_held_out : int
        How many mini-E2E examples to make for training, and for each of valid and test.
    tokenizer : Tokenizer, optional
        The model's; bytes, if not given.
    template : ChatTemplate or PlainTemplate, optional
        How the model wants conversations written down; see `template_for`.

    Returns
    -------
    PairTask, TextTask or ConversationTask
    """
    path, tokenizer = Path(name), tokenizer or ByteTokenizer()
    if name == "mini-e2e":
        sizes = {"train": n_train, "valid": n_held_out, "test": n_held_out}
        return PairTask(name, {split: examples(split, n) for split, n in sizes.items()}, length, tokenizer=tokenizer)
    if name == "pairs":
        return _pair_task([pair.as_example() for pair in load_pairs()], length, name, tokenizer)
    if name in READERS:
        corpus = load_corpus(name)
        return TextTask(name, {split: corpus.texts(split) for split in SPLITS}, min(length, LONGEST_WINDOW), tokenizer)
    if conversation_form(path):
        return conversation_task(path, length=length, tokenizer=tokenizer, template=template)
    if path.suffix.lower() in (".csv", ".jsonl"):
        _check_columns(path)
        return _pair_task(load_task_file(path), length, path.name, tokenizer)
    if path.suffix.lower() == ".txt":
        return text_task(path, length=length, tokenizer=tokenizer)
    raise ValueError(f"the task was {str(name)!r}; it must be {', '.join(TASKS)}, or a .txt, .csv or .jsonl file")


def _check_columns(path: Path) -> None:
    """Raise ValueError if the first line of a .jsonl file has nothing that a task could be made of."""
    columns = column_names(path) if path.suffix.lower() == ".jsonl" else ()
    if columns and not {"source", "target"} & set(columns):
        forms = ", or ".join(" and ".join(form) for form in (("source", "target"), *FORMS))
        raise ValueError(f"path: {path}: each line must have {forms}; the first has {shown(', '.join(columns))}")


def text_task(path: str | Path, *, length: int, tokenizer: Tokenizer | None = None) -> TextTask:
    """The user's own text as a task, from a file of any name.

    Parameters
    ----------
    path : str or Path
    length : int
        T, the length of a window; at most LONGEST_WINDOW.
    tokenizer : Tokenizer, optional
        The model's; bytes, if not given.

    Returns
    -------
    TextTask
    """
    corpus = load_text_file(path)
    texts = {split: corpus.texts(split) for split in SPLITS}
    return TextTask(corpus.name, texts, min(length, LONGEST_WINDOW), tokenizer or ByteTokenizer())


def _pair_task(examples: list[Example], length: int, name: str, tokenizer: Tokenizer) -> PairTask:
    splits, left_out = split_fitting(examples, lambda e: len(encode_example(e, tokenizer)[0]), length, name)
    return PairTask(name, splits, length, left_out, tokenizer)

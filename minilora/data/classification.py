"""Tasks with labels: one or two texts, and one of a few classes; a small GLUE, from what every Python already has."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minilora.data.batches import check_at_least_one
from minilora.data.docstring_pairs import ANSWERS, docstring_matches
from minilora.data.encoder_tokenizer import PAD, EncoderTokenizer, pad_rows
from minilora.data.example import LabelledExample
from minilora.data.files import column_names, load_labelled_file
from minilora.data.function_packages import PACKAGES, packages_of_functions
from minilora.data.splits import SPLITS, check_split, corpus_id, split_fitting
from minilora.data.unicode_names import CATEGORIES, names_by_first_word, names_by_hash

CLASSIFICATION_TASKS = {
    "unicode-names": (names_by_hash, tuple(CATEGORIES)),
    "unicode-names-by-word": (names_by_first_word, tuple(CATEGORIES)),
    "docstring-pairs": (docstring_matches, ANSWERS),
    "function-packages": (packages_of_functions, PACKAGES),
}
LOWER_CASE_SINCE = "2026-11-28"  # before that day, the tasks with Unicode's names had them in capitals
TASK_FILES = (".csv", ".jsonl")


class ClassificationBatch(NamedTuple):
    """N texts, padded to the longest, and the class of each.

    Attributes
    ----------
    ids : ndarray of shape (N, T), int64
    padding_mask : ndarray of shape (N, T), bool
        True at real tokens, False at padding.
    labels : ndarray of shape (N,), int64
    """

    ids: np.ndarray
    padding_mask: np.ndarray
    labels: np.ndarray

    @property
    def n_targets(self) -> int:
        """Over how many targets the loss is a mean."""
        return len(self.labels)


@dataclass
class ClassificationTask:
    """Texts and their classes.

    Attributes
    ----------
    name : str
    splits : dict of str to list of LabelledExample
        By the names "train", "valid" and "test".
    label_names : tuple of str
        The classes; a label is the index of one of them.
    length : int, or infinity
        The most tokens of an example, including its special tokens.
    left_out : int
        How many examples were longer, and so are in no split.
    tokenizer : EncoderTokenizer or HFTokenizer
        The model's: it encodes pairs of texts, too.
    pad : int
        The id that fills short rows.
    tokens : dict of str to list of ndarray of shape (T,), int64
        The token ids of each split's examples.
    labels : dict of str to ndarray of shape (n,), int64
        The labels of each split.
    id : str
        Changes when any example changes.
    """

    name: str
    splits: dict[str, list[LabelledExample]]
    label_names: tuple[str, ...]
    length: float
    left_out: int = 0
    tokenizer: Any = field(default_factory=EncoderTokenizer)
    pad: int = PAD

    def __post_init__(self) -> None:
        self.tokens = {s: [self.tokenizer.encode(e.text, e.second) for e in self.splits[s]] for s in SPLITS}
        empty = [split for split in SPLITS if not self.tokens[split]]
        if empty:
            raise ValueError(f"{self.name} has no example in {' or '.join(empty)}")
        longest = max(len(ids) for split in SPLITS for ids in self.tokens[split])
        if longest > self.length:
            raise ValueError(f"{self.name} has examples of up to {longest} tokens; the model takes {self.length}")
        if len(self.label_names) < 2:
            raise ValueError(f"{self.name} has only one class, {self.label_names[0]!r}; a task must have at least two")
        for split in SPLITS:
            unknown = {e.label for e in self.splits[split]}.difference(self.label_names)
            if unknown:
                raise ValueError(
                    f"{self.name} has the labels {sorted(unknown)} in {split}; "
                    f"label_names are {', '.join(self.label_names)}"
                )
        index = {label: i for i, label in enumerate(self.label_names)}
        self.labels = {split: np.array([index[e.label] for e in self.splits[split]], np.int64) for split in SPLITS}
        self.id = corpus_id(f"{e.text}\n{e.second}\n{e.label}" for split in SPLITS for e in self.splits[split])

    def sample_batch(self, rng: np.random.Generator, batch_size: int) -> ClassificationBatch:
        """Training examples of about the same length, so that little is padding; each is equally likely.

        Four times as many as needed are drawn and sorted by length, and one quarter of them is taken.
        """
        check_at_least_one(batch_size=batch_size)
        tokens = self.tokens["train"]
        drawn = sorted(rng.integers(0, len(tokens), 4 * batch_size), key=lambda i: len(tokens[i]))
        start = batch_size * rng.integers(4)
        return self._batch("train", drawn[start : start + batch_size])

    def batches(self, split: str, batch_size: int = 16) -> Iterator[ClassificationBatch]:
        """All of a split, in order."""
        check_split(split)
        n = len(self.tokens[split])
        for start in range(0, n, batch_size):
            yield self._batch(split, range(start, min(start + batch_size, n)))

    def _batch(self, split: str, chosen: Any) -> ClassificationBatch:
        ids, padding_mask = pad_rows([self.tokens[split][i] for i in chosen], self.pad)
        return ClassificationBatch(ids, padding_mask, self.labels[split][chosen])


def load_classification_task(
    name: str | Path, *, length: float, tokenizer: Any = None, pad: int = PAD
) -> ClassificationTask:
    """A task with labels by its name, or from the user's own file.

    Parameters
    ----------
    name : str or Path
        "unicode-names" (name -> general category, a random split), "unicode-names-by-word" (the same, no first word in
        two splits), "docstring-pairs" (does the second text, a docstring, belong to the first, a signature?),
        "function-packages" (which package do the two come from?), or the path of a ``.csv`` or ``.jsonl`` file with
        columns text, label and, if the task is about two texts, second.
    length : int, or infinity
        The most tokens that a model takes. Longer examples of a file are left out.
    tokenizer : EncoderTokenizer or HFTokenizer, optional
        The model's; bytes, if not given.
    pad : int
        The id of the model's padding.
    """
    tokenizer = tokenizer or EncoderTokenizer()
    if name in CLASSIFICATION_TASKS:
        make_splits, label_names = CLASSIFICATION_TASKS[name]
        return ClassificationTask(name, make_splits(), label_names, length, tokenizer=tokenizer, pad=pad)
    path = Path(name)
    if path.suffix.lower() not in TASK_FILES:
        raise ValueError(
            f"the task was {str(name)!r}; it must be {', '.join(CLASSIFICATION_TASKS)}, or a .csv or .jsonl file"
        )
    splits, left_out = split_fitting(
        load_labelled_file(path), lambda e: len(tokenizer.encode(e.text, e.second)), length, path.name
    )
    label_names = tuple(sorted({e.label for e in splits["train"]}))
    for split in ("valid", "test"):
        if only := sorted({e.label for e in splits[split]}.difference(label_names)):
            raise ValueError(f"{path.name} has the labels {only} in {split} and not in train; give more of each")
    return ClassificationTask(path.name, splits, label_names, length, left_out, tokenizer, pad)


def has_classes(name: str | Path) -> bool:
    """Whether a task is a classification: by its name, or as a file with a column label and none called target."""
    if Path(name).suffix.lower() not in TASK_FILES:
        return name in CLASSIFICATION_TASKS
    columns = column_names(name)
    return "label" in columns and "target" not in columns

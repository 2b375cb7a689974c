"""Conversations, or texts one a line, as a task: what is learned, and on what it is measured."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minilora.data.batches import LMBatch, row_batch
from minilora.data.chat_template import Template
from minilora.data.conversation_rows import Row, conversation_rows, text_rows
from minilora.data.conversations import Conversation, load_conversations
from minilora.data.splits import SPLITS, split_fitting
from minilora.data.vocabulary import Tokenizer


@dataclass
class ConversationTask:
    """Conversations of which the answers are learned, or texts of which everything is.

    Attributes
    ----------
    name : str
    splits : dict of str to list of Row
        By the names "train", "valid" and "test".
    length : int
        The most tokens of a row.
    tokenizer : Tokenizer
        The model's.
    template : ChatTemplate or PlainTemplate
        The model's.
    left_out : int
        How many conversations were longer, and so are in no split.
    longest : int
        The tokens of the longest, whether it was left out or not.
    id : str
        Changes when anything that the model reads changes; so each day, if its template writes the date.
    """

    name: str
    splits: dict[str, list[Row]]
    length: int
    tokenizer: Tokenizer
    template: Template | None = None
    left_out: int = 0
    longest: int = 0

    def __post_init__(self) -> None:
        digest = hashlib.sha256(repr(self.template).encode())
        for split in SPLITS:
            for row in self.splits[split]:
                digest.update(row.tokens.astype("<i8").tobytes() + row.counts.tobytes())
            digest.update(split.encode())
        self.id = digest.hexdigest()[:12]

    def sample_batch(self, rng: np.random.Generator, batch_size: int) -> LMBatch:
        """An LMBatch of training rows, each as likely as any other."""
        rows = self.splits["train"]
        return self._batch([rows[i] for i in rng.integers(0, len(rows), batch_size)])

    def batches(self, split: str, batch_size: int = 16) -> Iterator[LMBatch]:
        """All of a split, in order, as LMBatches."""
        rows = self.splits[split]
        for i in range(0, len(rows), batch_size):
            yield self._batch(rows[i : i + batch_size])

    def _batch(self, rows: Sequence[Row]) -> LMBatch:
        return row_batch(((row.tokens, row.counts) for row in rows), padding=self.tokenizer.end_of_text)

    def prompts(self, split: str, n: int) -> tuple[list[np.ndarray], list[str]]:
        """What precedes the last answers of the first n conversations of a split, as token ids; and these answers.

        Of texts, the first halves, and the second.
        """
        rows = self.splits[split][:n]
        return [row.prompt for row in rows], [row.answer for row in rows]

    def bytes_per_token(self, split: str) -> float:
        """Bytes of text per counted token of a split; the end of an answer or text counts as a byte."""
        rows = self.splits[split]
        return sum(row.n_bytes for row in rows) / sum(int(row.counts.sum()) for row in rows)

    @property
    def stops(self) -> tuple[int, ...]:
        """The tokens that end an answer: the last that count in the training rows, and the end of text.

        Where an answer ends with an ordinary token, because the template writes none of its own, it is not one of them.
        """
        last = {int(row.tokens[row.counts][-1]) for row in self.splits["train"]}
        ends = {token for token in last if self.tokenizer.decode([token]) == ""}  # control tokens have no text
        return tuple(sorted(ends | {self.tokenizer.end_of_text}))


def conversation_task(
    path: str | Path, *, length: int, tokenizer: Tokenizer, template: Template | None = None
) -> ConversationTask:
    """The user's own conversations, or texts, from a .jsonl file; see `conversations`.

    Parameters
    ----------
    path : str or Path
    length : int
        The most tokens that a model takes. Longer conversations are left out; longer texts are cut.
    tokenizer : Tokenizer
    template : ChatTemplate or PlainTemplate, optional
        The model's; see `template_for`.

    Raises
    ------
    ValueError
        See `load_conversations`; if the template cannot render a conversation, or a split is empty.
    """
    name, read = Path(path).name, load_conversations(path)
    conversations = [item for item in read if isinstance(item, Conversation)]
    texts = [item for item in read if isinstance(item, str)]
    rows = conversation_rows(conversations, tokenizer, template) + text_rows(texts, tokenizer, length)
    splits, left_out = split_fitting(rows, lambda row: len(row.tokens), length, name)
    longest = max(len(row.tokens) for row in rows)
    return ConversationTask(name, splits, length, tokenizer, template, left_out, longest)

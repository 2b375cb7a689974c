"""Conversations as rows of tokens, with a mark on each token that is learned: the assistant's answers, and their ends.

    <|im_start|>user\\nHello!<|im_end|>\\n<|im_start|>assistant\\nGood morning.<|im_end|>\\n
                                                                 1    1      1    1

A token counts if it begins inside an answer (`Written.answers`). White space that a template writes after an answer's
last control token does not count: a model that has ended its answer is not asked for more.

What a message says is never a control token: if somebody writes "<|im_end|>", the model reads these ten characters.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from minilora.data.chat_template import CannotRender, ChatTemplate, Message, PlainTemplate, Template, Written
from minilora.data.conversations import Conversation
from minilora.data.tokenizer import utf8
from minilora.data.vocabulary import Tokenizer, encode_bare, split_frame
from minilora.limits import one_line

PRIVATE = range(0xE000, 0xF900)  # characters that mean nothing; one that no message has breaks up control tokens


@dataclass(frozen=True, slots=True)
class Row:
    """The tokens of a conversation or a text, and what is learned of it.

    Attributes
    ----------
    tokens : ndarray of shape (T,), int64
    counts : ndarray of shape (T,), bool
        Which tokens count in the loss, as what follows those before them.
    n_bytes : int
        The bytes of text that count; an answer's end counts as a byte.
    key : str
        What decides the split.
    prompt, answer : ndarray, str
        The tokens before the last answer, and that answer; or a text's first half, and its second.
    """

    tokens: np.ndarray
    counts: np.ndarray
    n_bytes: int
    key: str
    prompt: np.ndarray
    answer: str


def template_for(tokenizer: Tokenizer, source: str | None) -> Template:
    """What writes conversations down for a model.

    Parameters
    ----------
    tokenizer : Tokenizer
        The model's.
    source : str, optional
        The model's own template; without one, it is the PlainTemplate.
    """
    if source is None:
        return PlainTemplate()
    name: Any = getattr(getattr(tokenizer, "tokenizer", None), "id_to_token", lambda index: "")
    before, _ = split_frame(tokenizer)
    bos = name(int(before[0])) if len(before) else ""
    return ChatTemplate(source, bos or "", name(int(tokenizer.end_of_text)) or "")


def conversation_rows(
    conversations: Sequence[Conversation], tokenizer: Tokenizer, template: Template | None = None
) -> list[Row]:
    """Each conversation as a row; the loss is on the answers that are learned.

    Parameters
    ----------
    conversations : sequence of Conversation
    tokenizer : Tokenizer
        The model's.
    template : ChatTemplate or PlainTemplate
        See `template_for`. Without a template of its own, the model's end of text ends each answer.

    Raises
    ------
    ValueError
        If the template cannot render a conversation; the message says where it stands.
    """
    template = template or PlainTemplate()
    mark, messages = _broken_up([c.messages for c in conversations], tokenizer)
    try:
        written = template.write(messages)
    except CannotRender as error:
        where = "" if error.index is None else f"{conversations[error.index].where}: "
        raise ValueError(one_line(f"{where}{error}")) from None
    return [_row(c, w, tokenizer, template, mark) for c, w in zip(conversations, written, strict=True)]


def chat_prompt(messages: Sequence[Message], tokenizer: Tokenizer, template: Template | None = None) -> np.ndarray:
    """The tokens that a model reads before it writes the next answer: int64, shape (T,).

    Parameters
    ----------
    messages : sequence of dict
        With role and content; the last is usually the user's.
    tokenizer, template
        See `conversation_rows`.
    """
    template = template or PlainTemplate()
    mark, (messages,) = _broken_up([messages], tokenizer)
    text = template.render(messages, add_generation_prompt=True)
    answers = template.write([messages])[0].answers if isinstance(template, PlainTemplate) else ()
    return _encode(Written(text, answers), tokenizer, template, mark)[0]


def text_rows(texts: Sequence[str], tokenizer: Tokenizer, length: int) -> list[Row]:
    """Each text as a row in which every token counts, its end of text included; in several, if it is longer.

    The first token follows the tokenizer's BOS, or if it has none, an end of text.

    Parameters
    ----------
    texts : sequence of str
    tokenizer : Tokenizer
    length : int
        The most tokens of a row, at least 2.
    """
    before, _ = split_frame(tokenizer)
    first = before if len(before) else [tokenizer.end_of_text]
    rows = []
    for text in texts:
        ids = encode_bare(tokenizer, text)
        tokens, half = np.concatenate((first, ids, [tokenizer.end_of_text])), len(ids) // 2
        prompt, rest = np.concatenate((first, ids[:half])), tokenizer.decode(ids[half:])
        for start in range(0, len(tokens) - 1, length - 1):  # pieces overlap by the token that is only read
            piece = tokens[start : start + length]
            counts, n_bytes = np.arange(len(piece)) > 0, 0 if start else len(utf8(text)) + 1
            rows.append(Row(piece, counts, n_bytes, text, prompt[: length // 2], rest))
    return rows


def _broken_up(conversations: Sequence[Sequence[Message]], tokenizer: Tokenizer) -> tuple[str, list[Sequence[Message]]]:
    """Conversations with a mark inside each control token that a message spells, and that mark; "" without any."""
    tokens = [token for token in getattr(tokenizer, "control_tokens", ()) if len(token) > 1]
    contents = [message["content"] for messages in conversations for message in messages]
    if not any(token in content for content in contents for token in tokens):
        return "", list(conversations)
    used = set().union(*contents)
    mark = next(chr(code) for code in PRIVATE if chr(code) not in used)

    def broken(text: str) -> str:
        for token in tokens:
            text = text.replace(token, token[0] + mark + token[1:])
        return text

    return mark, [[m | {"content": broken(m["content"])} for m in messages] for messages in conversations]


def _row(conversation: Conversation, written: Written, tokenizer: Tokenizer, template: Template, mark: str) -> Row:
    tokens, starts = _encode(written, tokenizer, template, mark)
    turns = [i for i, message in enumerate(conversation.messages) if message["role"] == "assistant"]
    learned = [written.answers[turns.index(i)] for i in conversation.answers]
    counts = np.zeros(len(tokens), dtype=bool)
    for begin, end in learned:
        of_answer = np.flatnonzero((begin <= starts) & (starts < end))
        counts[of_answer[: _length_of_answer(tokens[of_answer], tokenizer)]] = True
    contents = [conversation.messages[i]["content"] for i in conversation.answers]
    n_bytes = sum(len(utf8(content)) + 1 for content in contents)
    return Row(tokens, counts, n_bytes, conversation.key, tokens[starts < learned[-1][0]], contents[-1])


def _length_of_answer(tokens: np.ndarray, tokenizer: Tokenizer) -> int:
    """How many of an answer's tokens count: without white space after the control token that ends it."""
    for n in range(len(tokens), 0, -1):
        text = tokenizer.decode(tokens[n - 1 : n])
        if text == "":  # control tokens have no text
            return n
        if not text.isspace():
            break
    return len(tokens)


def _encode(written: Written, tokenizer: Tokenizer, template: Template, mark: str) -> tuple[np.ndarray, np.ndarray]:
    """The tokens of a written conversation, and where in its text each begins."""
    text, plain = written.text, isinstance(template, PlainTemplate)
    before, _ = split_frame(tokenizer)
    ids, starts = ([before], [np.full(len(before), -1)]) if plain else ([], [])  # else the template writes it
    marks = {place for place, character in enumerate(text) if character == mark} if mark else set()
    ends = {end for _, end in written.answers} if plain else set()
    boundaries = set() if hasattr(tokenizer, "encode_with_starts") else {i for span in written.answers for i in span}
    for begin, end in pairwise(sorted({0, len(text)} | marks | ends | boundaries)):
        piece_ids, piece_starts = _encode_piece(text[begin:end].removeprefix(mark), tokenizer)
        ids.append(piece_ids)
        starts.append(piece_starts + begin + (begin in marks))
        if end in ends:
            ids.append(np.array([tokenizer.end_of_text]))
            starts.append(np.array([end - 1]))  # it ends this answer, and so is part of it
    return np.concatenate([*ids, np.zeros(0, np.int64)]), np.concatenate([*starts, np.zeros(0, np.int64)])


def _encode_piece(text: str, tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray]:
    if hasattr(tokenizer, "encode_with_starts"):
        return tokenizer.encode_with_starts(text)
    ids = encode_bare(tokenizer, text)
    return ids, np.zeros(len(ids), dtype=np.int64)  # a piece is never partly an answer

"""The user's own conversations and texts, read from .jsonl files: one a line.

    {"messages": [{"role": "user", "content": "Hello!"}, {"role": "assistant", "content": "Good morning."}]}
    {"prompt": "Hello!", "completion": "Good morning."}
    {"text": "All of this is learned."}

A prompt and its completion, as texts or as lists of messages, are a conversation of which only the completion is
learned. Of messages, every answer by the assistant is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minilora.data.chat_template import Message
from minilora.data.files import MOST_ROWS, check_row, column_names, jsonl_rows, read_text
from minilora.limits import one_line_errors, shown

ROLES = ("system", "user", "assistant")
MOST_MESSAGES = 1_000  # of a conversation
FORMS = (("messages",), ("prompt", "completion"), ("text",))  # the columns of each


@dataclass(frozen=True, slots=True)
class Conversation:
    """What was said, and which of it is learned.

    Attributes
    ----------
    messages : tuple of dict
        Each with role ("system", "user" or "assistant") and content.
    first : int
        Answers before messages[first] are read, but not learned.
    where : str
        For errors: its file and line.
    """

    messages: tuple[Message, ...]
    first: int = 0
    where: str = "the conversation"

    @property
    def key(self) -> str:
        """What decides the split: the first thing that the user says, so that one question stays in one split."""
        return next((m["content"] for m in self.messages if m["role"] == "user"), self.messages[0]["content"])

    @property
    def answers(self) -> list[int]:
        """Which messages are learned."""
        return [i for i, m in enumerate(self.messages) if m["role"] == "assistant" and i >= self.first]


def conversation_form(path: str | Path) -> tuple[str, ...] | None:
    """The columns of FORMS that a .jsonl file has, according to its first line; None if it has none of these."""
    path = Path(path)
    columns = set(column_names(path)) if path.suffix.lower() == ".jsonl" else set()
    return next((form for form in FORMS if set(form) <= columns and not {"source", "target"} <= columns), None)


@one_line_errors()
def load_conversations(path: str | Path) -> list[Conversation] | list[str]:
    """The conversations of a .jsonl file, or if its lines have a text each, these texts.

    Parameters
    ----------
    path : str or Path
        Every line must have the columns that the first line has.

    Raises
    ------
    ValueError
        With the number of the line: if it is no JSON, lacks a column, or has messages without an answer by the
        assistant, of another role, or without content.
    """
    path = Path(path)
    form = conversation_form(path)
    if form is None:
        forms = ", or ".join(" and ".join(columns) for columns in FORMS)
        raise ValueError(f"path: {path} must be a .jsonl file whose lines have {forms}")
    if form == ("text",):
        return [row["text"] for row, _ in _rows(path, form)]
    read, conversations, n_messages = _from_messages if form == ("messages",) else _from_prompt, [], 0
    for row, where in _rows(path, form):
        conversations.append(read(row, where))
        n_messages += len(conversations[-1].messages)
        if n_messages > MOST_ROWS:
            raise ValueError(f"path: {path} has more than {MOST_ROWS:,} messages")
    return conversations


def _rows(path: Path, form: tuple[str, ...]) -> Iterator[tuple[dict[str, Any], str]]:
    """The objects of a file, and where each stands."""
    texts = form if form == ("text",) else ()  # the columns that cannot be anything but a text
    for count, (number, row) in enumerate(jsonl_rows(read_text(path), path, form, ())):
        where = f"path: {path}, line {number}"
        if count == MOST_ROWS:
            raise ValueError(f"path: {path} has more than {MOST_ROWS:,} rows")
        if missing := [column for column in form if column not in row]:
            raise ValueError(f"{where}: it must have {' and '.join(form)}; {missing[0]} is missing")
        check_row(row, texts, path, number)
        yield row, where


def _from_messages(row: dict[str, Any], where: str) -> Conversation:
    return _checked(Conversation(_messages(row["messages"], "messages", where), where=where))


def _from_prompt(row: dict[str, Any], where: str) -> Conversation:
    prompt = _messages(row["prompt"], "prompt", where, role="user")
    return _checked(
        Conversation(prompt + _messages(row["completion"], "completion", where, role="assistant"), len(prompt), where)
    )


def _messages(value: Any, name: str, where: str, role: str | None = None) -> tuple[Message, ...]:
    """Checked messages: a list of them; or, where there is a role, a text that is a message of this role."""
    if role and isinstance(value, str):
        value = [{"role": role, "content": value}]
    if not isinstance(value, list) or not value:
        kind = "a text, or a list of messages" if role else "a list of messages"
        raise ValueError(f"{where}: {name} must be {kind} that is not empty, not {shown(value)}")
    if len(value) > MOST_MESSAGES:
        raise ValueError(f"{where}: {name} has {len(value):,} messages; it must have at most {MOST_MESSAGES:,}")
    return tuple(_message(message, f"{where}: {name}[{i}]") for i, message in enumerate(value))


def _message(message: Any, where: str) -> Message:
    if not isinstance(message, dict):
        raise ValueError(f"{where} must be an object with role and content, not {shown(message)}")
    role, content = message.get("role"), message.get("content")
    if role not in ROLES:
        raise ValueError(f"{where}: role must be {', '.join(ROLES[:-1])} or {ROLES[-1]}, not {shown(role)}")
    if message.get("tool_calls"):
        raise ValueError(f"{where} calls tools; a message must be text alone")
    if not isinstance(content, str) or (role != "system" and not content.strip()):
        raise ValueError(f"{where}: content must be a text that is not empty, not {shown(content)}")
    if "\0" in content or any("\ud800" <= character <= "\udfff" for character in content):
        raise ValueError(f"{where}: content has a NUL character or half a character (a lone surrogate)")
    return {"role": ROLES[ROLES.index(role)], "content": content}  # one text for all messages of a role


def _checked(conversation: Conversation) -> Conversation:
    if not conversation.answers:
        raise ValueError(f"{conversation.where}: nothing to learn: it has no answer by the assistant")
    return conversation

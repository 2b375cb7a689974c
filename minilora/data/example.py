"""One example of a task: what is given, and what is to be written or decided."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """A source, its target, and the key of the group that decides its split."""

    source: str
    target: str
    key: str


@dataclass(frozen=True, slots=True)
class LabelledExample:
    """A text, or a text and a second one, its label, and the key of the group that decides its split."""

    text: str
    label: str
    key: str
    second: str | None = None

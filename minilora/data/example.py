"""One example of a task: what is given, and what is to be written."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """A source, its target, and the key of the group that decides its split."""

    source: str
    target: str
    key: str

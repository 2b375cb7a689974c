"""Colours, where somebody sees them: on a terminal, unless NO_COLOR (https://no-color.org) or TERM=dumb forbids it."""

import os
from typing import Any

CODES = {"bold": 1, "red": 31, "green": 32, "yellow": 33}


def painted(text: str, colour: str, stream: Any) -> str:
    """The text in a colour of CODES if it is for a terminal that shows them, else as it is."""
    return f"\x1b[{CODES[colour]}m{text}\x1b[0m" if shows_colours(stream) else text


def shows_colours(stream: Any) -> bool:
    """Whether a stream is a terminal, and colours are wanted on it; NO_COLOR forbids them with any value but none."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    if os.name == "nt" and "WT_SESSION" not in os.environ:  # an old console would print the codes
        return False
    return stream is not None and stream.isatty()

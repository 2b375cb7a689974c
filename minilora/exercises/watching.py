"""Noticing that a file was saved, on every filesystem: what is in it is read again and again.

A time of modification alone would not do. Some filesystems write it down in steps of two seconds, and some, over a
network, seconds late; some editors save by putting a new file in the old one's place.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

PAUSE = 0.3  # seconds between two looks
LARGEST = 16 << 20  # bytes; of a larger file, only size and time are looked at


def saves(paths: Callable[[], Sequence[Path]], pause: float = PAUSE) -> Iterator[Path]:
    """Yield a path each time that its file was saved with another content, or is new. Never ends by itself.

    Parameters
    ----------
    paths : callable
        Gives the paths to look at, each time; there need not be a file.
    pause : float
        Seconds between two looks.

    Yields
    ------
    path : Path
        Its file is complete: it was the same in two looks.
    """
    known = {path: content_of(path) for path in paths()}
    while True:
        time.sleep(pause)
        for path in paths():
            now = content_of(path)
            if now is None or now == known.get(path):
                continue  # a file that is gone may be about to be put in place
            while (later := content_of(path)) != now:  # an editor is still writing it
                now = later
                time.sleep(pause)
            known[path] = now
            if now is not None:
                yield path


def content_of(path: Path) -> Any:
    """What changes when a file's content does; None if there is no file to read."""
    try:
        if not path.is_file():
            return None
        about = path.stat()
        if about.st_size > LARGEST:
            return about.st_size, about.st_mtime_ns
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return None

"""Ctrl-C takes effect between two steps instead of in the middle of one, so that what is saved is consistent."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

from minilora.arrays.threads import in_browser


class Stopped(KeyboardInterrupt):
    """A run was stopped with Ctrl-C, after it had saved its state; the message says where."""


@contextlib.contextmanager
def defer_sigint() -> Iterator[threading.Event]:
    """A context in which the first Ctrl-C is only noted, and the step goes on. A second one interrupts.

    If Ctrl-C is ignored, as in a job that a shell runs in the background, it stays ignored. A browser has none.

    Yields
    ------
    asked : threading.Event
        Set by the first Ctrl-C.
    """
    asked = threading.Event()
    if in_browser():
        yield asked
        return
    before = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()  # the only thread that Ctrl-C reaches
    if not is_main or not callable(before):  # it is ignored, or handled elsewhere
        yield asked
        return

    def note(number: int, frame: Any) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)

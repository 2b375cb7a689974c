"""Ctrl-C between two steps instead of in the middle of one, so that what is saved is whole."""

import contextlib
import signal
import threading


class Stopped(KeyboardInterrupt):
    """A run was stopped with Ctrl-C, after it had saved its state; the message says where."""


@contextlib.contextmanager
def ctrl_c_asks():
    """A context in which a first Ctrl-C only asks: it is noted, and the step goes on. A second one interrupts.

    Yields
    ------
    asked : threading.Event
        Set by the first Ctrl-C.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # the only one that Ctrl-C reaches
        yield asked
        return

    def note(number, frame):
        asked.set()
        signal.signal(signal.SIGINT, before)

    before = signal.getsignal(signal.SIGINT) or signal.default_int_handler
    signal.signal(signal.SIGINT, note)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)

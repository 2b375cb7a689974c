"""Makes a process end with the one that started it: a worker does not outlive a parent that is killed."""

import multiprocessing
import os
import threading
from multiprocessing.connection import wait


def end_with_parent() -> None:
    """End this process, which multiprocessing has started, as soon as its parent has ended, in whatever way.

    A worker waits for work at a pipe and holds both ends of it itself, so its parent's end does not wake it. This
    watches the parent's own sentinel, in a thread.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError("this process was not started by multiprocessing; it has no parent to end with")

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end with parent").start()

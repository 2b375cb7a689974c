"""Processes that others have started end with those: a worker whose parent is killed does not live on."""

import multiprocessing
import os
import threading
from multiprocessing.connection import wait


def end_with_parent() -> None:
    """End this process, which multiprocessing has started, as soon as its parent has ended, however that ended.

    A worker waits for work at a pipe of which it holds both ends itself, so that the end of its parent does not wake
    it. This watches the parent's own sentinel, in a thread.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError("this process was not started by multiprocessing; it has no parent to end with")

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end with parent").start()

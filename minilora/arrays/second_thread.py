"""One more thread, for the second half of a product that is limited by memory: two cores read more than one.

Handing work over costs some microseconds, so a half should take much longer than that. The thread sleeps in between; it
does not spin, as BLAS's threads do, which is slow where other programs use the cores.
"""

import functools
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from minilora.arrays.threads import cores


class SecondThread:
    """A thread that waits for work: ``both(first, second)`` runs two callables at once."""

    def __init__(self) -> None:
        self._work: SimpleQueue[Callable[[], Any]] = SimpleQueue()
        self._done: SimpleQueue[BaseException | None] = SimpleQueue()
        self._busy = threading.Lock()
        threading.Thread(target=self._run, daemon=True, name="second half").start()

    def _run(self) -> None:
        while True:
            work = self._work.get()
            try:
                work()
                self._done.put(None)
            except BaseException as error:
                self._done.put(error)

    def both(self, first: Callable[[], Any], second: Callable[[], Any]) -> None:
        """Run both, `first` in this thread, and wait for both; an error of either is raised.

        If another thread is being helped already, this one does both itself.
        """
        if not self._busy.acquire(blocking=False):
            first()
            second()
            return
        try:
            self._work.put(second)
            try:
                first()
            finally:
                error = self._done.get()
            if error is not None:
                raise error
        finally:
            self._busy.release()


def second_thread() -> SecondThread | None:
    """The process's second thread, made at first use; None on a machine with one core."""
    return _thread(os.getpid()) if cores() > 1 else None


@functools.cache
def _thread(process: int) -> SecondThread:
    """A forked process has no threads of its parent, so it makes its own."""
    return SecondThread()

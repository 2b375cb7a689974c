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
        self._work: SimpleQueue[tuple[Callable[[], Any], SimpleQueue[Any]]] = SimpleQueue()
        self._busy = threading.Lock()
        threading.Thread(target=self._run, daemon=True, name="second half").start()

    def _run(self) -> None:
        while True:
            work, done = self._work.get()
            try:
                done.put((work(), None))
            except BaseException as error:
                done.put((None, error))

    def both(self, first: Callable[[], Any], second: Callable[[], Any]) -> tuple[Any, Any]:
        """What both return, with `first` run in this thread; an error of either is raised when both have ended.

        While the second thread has something to do, whoever calls computes both.
        """
        if not self._busy.acquire(blocking=False):
            return first(), second()
        done: SimpleQueue[Any] = SimpleQueue()  # of this call alone: an interrupted one leaves nothing for the next
        try:
            self._work.put((second, done))
            try:
                one = first()
            finally:
                other, error = done.get()
            if error is not None:
                raise error
            return one, other
        finally:
            self._busy.release()


def second_thread() -> SecondThread | None:
    """The process's second thread, made at first use; None on a machine with one core."""
    return _thread(os.getpid()) if cores() > 1 else None


@functools.cache
def _thread(process: int) -> SecondThread:
    """A forked process has no threads of its parent, so it makes its own."""
    return SecondThread()

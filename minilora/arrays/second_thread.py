"""One more thread, for the second half of a product that is limited by memory: two cores read more than one.

The thread sleeps in between. BLAS's threads spin instead: quicker on an idle machine, and several times slower where
other programs use the cores. If it wakes up late, little is lost: the half that it has not begun is taken back.

A ThreadPoolExecutor and `Future.cancel` would say this in ten lines. But it takes some 30 microseconds to hand over a
half, where this takes 3, and a token hands over dozens.
"""

import functools
import os
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
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

        If the second thread is busy, or has not woken up when the first half is ready, this one computes both.
        """
        if not self._busy.acquire(blocking=False):
            return first(), second()
        done: SimpleQueue[Any] = SimpleQueue()  # of this call alone: an interrupted one leaves nothing for the next
        try:
            self._work.put((second, done))
            try:
                one = first()
            finally:
                taken_back = self._take_back()
                if not taken_back:
                    other, error = done.get()
            if taken_back:
                return one, second()
            if error is not None:
                raise error
            return one, other
        finally:
            self._busy.release()

    def _take_back(self) -> bool:
        """Whether the second half was still waiting; then it no longer is."""
        try:
            self._work.get_nowait()
        except Empty:
            return False
        return True


def second_thread() -> SecondThread | None:
    """The process's second thread, made at first use; None on a machine with one core."""
    return _thread(os.getpid()) if cores() > 1 else None


@functools.cache
def _thread(process: int) -> SecondThread:
    """A forked process has no threads of its parent, so it makes its own."""
    return SecondThread()

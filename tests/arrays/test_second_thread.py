"""Two halves at once, and nothing left over where one of them fails."""

import signal
import subprocess
import sys
import threading

import pytest

from minilora.arrays.second_thread import SecondThread, second_thread


@pytest.fixture(scope="module")
def helper():
    return SecondThread()


def test_both_run_at_once_and_return_what_they_return(helper):
    meeting = threading.Barrier(2, timeout=5)  # one after the other, they would never meet

    def half(value):
        meeting.wait()
        return value, threading.get_ident()

    (one, first), (two, second) = helper.both(lambda: half(1), lambda: half(2))
    assert (one, two) == (1, 2)
    assert first == threading.get_ident() != second


def fail():
    raise ZeroDivisionError("a half")


@pytest.mark.parametrize("halves", [(fail, int), (int, fail), (fail, fail)])
def test_an_error_of_either_is_raised_and_the_next_call_is_right(helper, halves):
    with pytest.raises(ZeroDivisionError, match="a half"):
        helper.both(*halves)
    assert helper.both(lambda: 3, lambda: 4) == (3, 4)


def test_an_interrupted_call_leaves_nothing_for_the_next(helper):
    """Ctrl-C while waiting for the second half: its result comes later, when nobody wants it."""
    late = threading.Event()
    main = threading.main_thread().ident
    interrupt = threading.Timer(0.2, lambda: signal.pthread_kill(main, signal.SIGINT))
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        helper.both(lambda: 1, lambda: late.wait(20))
    late.set()
    assert helper.both(lambda: 3, lambda: 4) == (3, 4)


def test_a_half_that_needs_halves_itself_computes_both(helper):
    def half():
        return helper.both(lambda: 1, lambda: threading.get_ident())

    (_, inner), (_, inner_of_second) = helper.both(half, half)
    assert inner == threading.get_ident()
    assert inner_of_second != threading.get_ident()


def test_there_is_one_for_the_process_if_it_has_two_cores(monkeypatch):
    monkeypatch.setattr("minilora.arrays.second_thread.cores", lambda: 2)
    assert second_thread() is second_thread() is not None
    monkeypatch.setattr("minilora.arrays.second_thread.cores", lambda: 1)
    assert second_thread() is None


def test_it_does_not_keep_the_process_alive():
    code = "from minilora.arrays.second_thread import SecondThread; print(SecondThread().both(int, str))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "(0, '')\n"

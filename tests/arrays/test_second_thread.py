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
    meeting = threading.Barrier(2, timeout=5)  # so that the second thread has the second half
    with pytest.raises(ZeroDivisionError, match="a half"):
        helper.both(*(lambda half=half: (meeting.wait(), half()) for half in halves))
    assert helper.both(lambda: 3, lambda: 4) == (3, 4)


def test_an_interrupted_call_leaves_nothing_for_the_next(helper):
    """Ctrl-C while waiting for the second half: its result comes later, when nobody wants it."""
    begun, late = threading.Event(), threading.Event()
    main = threading.main_thread().ident
    interrupt = threading.Timer(0.2, lambda: signal.pthread_kill(main, signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        interrupt.start()
        with pytest.raises(KeyboardInterrupt):
            helper.both(lambda: begun.wait(5), lambda: (begun.set(), late.wait(20)))
    finally:
        signal.signal(signal.SIGINT, before)
    late.set()
    assert helper.both(lambda: 3, lambda: 4) == (3, 4)


def test_a_half_that_needs_halves_itself_computes_both(helper):
    def half():
        meeting.wait()
        return threading.get_ident(), helper.both(threading.get_ident, threading.get_ident)

    meeting = threading.Barrier(2, timeout=5)
    for owner, inner in helper.both(half, half):
        assert inner == (owner, owner)


def test_a_half_that_was_not_begun_is_taken_back(helper):
    begun, go_on = threading.Event(), threading.Event()
    other = threading.Thread(target=lambda: helper.both(int, lambda: (begun.set(), go_on.wait(5))))
    other.start()
    begun.wait(5)
    helper._busy.release()  # as if the second thread were free, and slow to wake up
    main = threading.get_ident()
    try:
        assert helper.both(threading.get_ident, threading.get_ident) == (main, main)
    finally:
        helper._busy.acquire(blocking=False)
        go_on.set()
        other.join()


def test_there_is_one_for_the_process_if_it_has_two_cores(monkeypatch):
    monkeypatch.setattr("minilora.arrays.second_thread.cores", lambda: 2)
    assert second_thread() is second_thread() is not None
    monkeypatch.setattr("minilora.arrays.second_thread.cores", lambda: 1)
    assert second_thread() is None


def test_it_does_not_keep_the_process_alive():
    code = "from minilora.arrays.second_thread import SecondThread; print(SecondThread().both(int, str))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "(0, '')\n"

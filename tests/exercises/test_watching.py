"""`minilora exercises watch`: a saved file is checked, however it is saved, until Ctrl-C."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time

import pytest

from exercises.answers import by_name
from minilora.exercises import progress
from minilora.exercises.watching import saves

PATIENCE = 120  # seconds; the machine may be busy


class Watch:
    """A `minilora exercises watch` that runs, and what it has printed."""

    def __init__(self, folder, *arguments):
        command = [sys.executable, "-u", "-m", "minilora", "exercises", "watch", "--folder", str(folder), *arguments]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
            start_new_session=True,
            preexec_fn=None if os.name == "nt" else lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # a shell lets what it runs in the background ignore Ctrl-C
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=lambda: [self.lines.put(line) for line in self.process.stdout])
        self.reader.start()

    def until(self, text):
        """All lines up to one that holds a text."""
        seen, end = [], time.monotonic() + PATIENCE
        while not seen or text not in seen[-1]:
            seen.append(self.lines.get(timeout=max(end - time.monotonic(), 0.01)))
        return "".join(seen)

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE)


@pytest.fixture
def watch(tmp_path):
    started = []

    def start(*arguments):
        started.append(Watch(tmp_path, *arguments))
        started[-1].until("Ctrl-C ends this")
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()
        one.reader.join()
        one.process.stdout.close()


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent as POSIX sends it")
def test_each_save_is_checked_until_ctrl_c(watch, tmp_path):
    exercise, watching = by_name("merging"), watch()
    time.sleep(1.0)  # it is looking
    (tmp_path / exercise.file_name).write_text("def merge(:")
    assert "Line 1 is not Python" in watching.until("A hint:")
    (tmp_path / exercise.file_name).write_bytes(b"\xff\xfe")
    assert "---- 08_merging.py" in watching.until("must be UTF-8")

    saved = tmp_path / "saved"  # as many editors save: a new file takes the old one's place
    saved.write_text(exercise.solution)
    saved.replace(tmp_path / exercise.file_name)
    assert "Exercise 8, merging: passed" in watching.until("The next one:")
    assert progress.load(tmp_path)["merging"] == progress.FRESH | {"passed": True, "checks": 2}

    status = watching.interrupt()
    assert status == 0 and "exercises list --folder" in watching.until("No longer watching")


def test_a_save_is_noticed_although_time_and_size_stay(tmp_path):
    path = tmp_path / "answer.py"
    path.write_text("a = 1")
    times = path.stat()
    found = saves(lambda: [path], pause=0.01)

    def save():
        path.write_text("a = 2")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    threading.Timer(0.2, save).start()
    assert next(found) == path and path.read_text() == "a = 2"


def test_a_file_that_was_not_there_is_noticed_and_one_that_is_gone_is_no_save(tmp_path):
    gone, new = tmp_path / "gone.py", tmp_path / "new.py"
    gone.write_text("a = 1")

    def change():
        gone.unlink()
        time.sleep(0.1)
        new.write_text("a = 1")

    threading.Timer(0.2, change).start()
    assert next(saves(lambda: [gone, new], pause=0.01)) == new


def test_saving_the_same_again_is_no_save(tmp_path):
    path, other = tmp_path / "answer.py", tmp_path / "other.py"
    path.write_text("a = 1")

    def change():
        path.write_text("a = 1")
        time.sleep(0.1)
        other.write_text("b = 1")

    threading.Timer(0.2, change).start()
    assert next(saves(lambda: [path, other], pause=0.02)) == other

"""Running an answer that may loop for ever, print megabytes, exit or crash: in a process of its own, with limits."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import NamedTuple

import minilora.exercises.worker as worker
from minilora.exercises.task import run
from minilora.files import load_arrays

COMPUTING = 10  # seconds of the processor's time; an answer to any exercise here takes a fraction of one
WAITING = 60  # seconds by the clock, which on a busy machine runs faster than the processor
PRINTED = 64 << 10  # bytes
START = (
    f"import sys; sys.path = sys.argv[1].split({os.pathsep!r})\nfrom {worker.__name__} import main; main(*sys.argv[2:])"
)
ENDLESS = "Your code did not come to an end, and was stopped after {} seconds. Is there a loop that never ends?"


class Outcome(NamedTuple):
    """What became of an answer."""

    answers: dict  # by point and tensor; empty if there is an error
    error: str  # to the student; empty if there is none
    printed: str  # what the code printed


def run_answer(name, task, source, seed, computing=COMPUTING, waiting=WAITING):
    """Run a student's code and call its functions at the points of a task.

    Parameters
    ----------
    name : str
        The task's.
    task : Task
    source : str
        The student's code.
    seed : int
        Of the points.
    computing : int
        Seconds of the processor's time after which it is stopped, where the system can do that.
    waiting : float
        Seconds by the clock after which it is stopped.

    Returns
    -------
    Outcome
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        folder = Path(folder)
        (folder / worker.ANSWER).write_text(source, encoding="utf-8")
        printed, stopped = _run_worker(folder, [name, str(seed), str(computing)], waiting)
        if stopped:
            return Outcome({}, stopped, printed)
        try:
            arrays, about = load_arrays(folder / worker.RESULT, "answer")
        except ValueError:
            return Outcome({}, "Your code ended the Python process before it had returned its answer.", printed)
        if about.get("error"):
            return Outcome({}, str(about["error"]), printed)
    answers = {
        where: {tensor: arrays[f"{i} {tensor}"] for tensor in right if f"{i} {tensor}" in arrays}
        for i, (where, right) in enumerate(run(task, task.functions, seed).items())
    }
    return Outcome(answers, "", printed)


def _run_worker(folder, arguments, waiting):
    """What the worker printed, and why it was stopped or crashed, if it was."""
    path = os.pathsep.join(map(os.path.abspath, sys.path))  # the worker is to find the same minilora
    # -B: no .pyc files beside the package; -P: the answer's folder is not searched for modules; -u: print at once
    process = subprocess.Popen(
        [sys.executable, "-B", "-P", "-u", "-c", START, path, *arguments],
        cwd=folder,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    chunks = []
    reader = threading.Thread(target=lambda: chunks.append(process.stdout.read(PRINTED + 1)), daemon=True)
    reader.start()
    reader.join(waiting)
    printed = b"".join(chunks)
    stopped = ""
    if reader.is_alive():
        stopped = ENDLESS.format(waiting)
    elif len(printed) > PRINTED:
        stopped = f"Your code printed more than {PRINTED >> 10} KB, and was stopped. Is there a print in a loop?"
    else:
        try:
            process.wait(1.0)
        except subprocess.TimeoutExpired:
            stopped = "Your code closed its output and ran on, and was stopped."
    _end(process)
    if not stopped and process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        endless = name == "SIGXCPU"  # sent when the processor's time was up
        stopped = ENDLESS.format(arguments[-1]) if endless else f"Your code crashed the Python process ({name})."
    reader.join(1.0)
    if not reader.is_alive():  # else something that escaped still holds the other end, and close() would wait for it
        process.stdout.close()
    return printed[:PRINTED].decode(errors="replace"), stopped


def _end(process):
    """End a process and, where the system has process groups, all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
    process.wait()

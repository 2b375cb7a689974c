"""Running an answer that may loop forever, print megabytes, exit or crash: in a process of its own, with limits.

That process has no minilora, in grading as in practice: it gets the calls as plain data, and hands arrays back. Only
this process knows the right results. A browser's Python has no other process; there the answer runs in this one
(`runner/here.py`).
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy

from minilora.arrays.threads import in_browser
from minilora.exercises.runner.answers import ANSWER
from minilora.exercises.runner.calls import Call, Result, decode, encode
from minilora.exercises.runner.here import run_here
from minilora.exercises.runner.worker import CALLS, RESULTS

COMPUTING = 10  # seconds of processor time; an answer to any exercise here takes a fraction of one
WAITING = 60  # seconds of wall-clock time, more than the processor time because the machine may be busy
PRINTED = 64 << 10  # bytes
RETURNED = 4 << 20  # bytes
# Python starts with only its own modules (-I -S): no site-packages. The runner and NumPy are then added, loaded, and
# removed again: the answer finds Python's modules, and what is loaded.
START = (
    "import sys; python = list(sys.path); sys.path += sys.argv[2:]; import numpy.linalg, numpy.random\n"
    "from runner.{} import main; main(int(sys.argv[1]), python)"
)
FOUND = (Path(__file__).parent, Path(numpy.__file__).parents[1])  # the runner's folder, and NumPy's
ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "LANG", "OPENBLAS_CORETYPE")
ENDED = "Your code ended the Python process before it had returned its answer."
ENDLESS = "Your code did not finish, and was stopped after {} seconds. Is there a loop that never ends?"


class Outcome(NamedTuple):
    """The outcome of running an answer."""

    results: list[Result]  # one for each call; empty if there is an error
    error: str  # for the student; or empty
    printed: str  # what the code printed


class Earlier(NamedTuple):
    """The earlier answers that an answer can use."""

    files: Mapping[str, str]  # name to source
    functions: Mapping[str, str]  # name to the file that defines it


NOTHING_EARLIER = Earlier({}, {})


def run_answer(
    source: str,
    calls: list[Call],
    computing: int = COMPUTING,
    waiting: float = WAITING,
    earlier: Earlier = NOTHING_EARLIER,
) -> Outcome:
    """Run a student's code and make calls of its functions.

    Parameters
    ----------
    source : str
        The student's code.
    calls : list of Call
        Those of functions that `earlier` has are made of the earlier answers; all others, of this one.
    computing : int
        Seconds of processor time after which it is stopped, where the system can do that.
    waiting : float
        Seconds of wall-clock time after which it is stopped.
    earlier : Earlier

    Returns
    -------
    Outcome
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        folder = Path(folder)
        write_answers(folder, {**earlier.files, ANSWER: source})
        if in_browser():
            paths = {name: folder / file for name, file in earlier.functions.items()}
            return Outcome(*run_here(folder / ANSWER, calls, seconds=computing, printed=PRINTED, earlier=paths))
        asked = {"calls": encode(calls), "earlier": dict(earlier.functions)}
        (folder / CALLS).write_text(json.dumps(asked), encoding="utf-8")
        printed, stopped = run_worker("worker", folder, computing, waiting)
        if stopped:
            return Outcome([], stopped, printed)
        results, error = left_by(lambda: _read(folder / RESULTS, len(calls)), ([], ENDED))
    return Outcome(results, error, printed)


def write_answers(folder: Path, files: Mapping[str, str]) -> None:
    """Write students' code into a worker's folder, whatever characters are in it."""
    for name, source in files.items():
        (folder / name).write_text(source, encoding="utf-8", errors="surrogatepass")


def left_by(read: Callable[[], Any], otherwise: Any) -> Any:
    """What a worker has left, as `read` gives it; `otherwise`, if that is missing or not what it should be."""
    try:
        return read()
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return otherwise


def _read(path, n):
    """The results and the error that the worker left; nothing in the file is trusted."""
    if path.stat().st_size > RETURNED:
        return [], f"Your code returned more than {RETURNED >> 20} MB of numbers."
    left = json.loads(path.read_text(encoding="utf-8"))
    if left["error"]:
        return [], str(left["error"])
    results = [_result(result) for result in left["results"]]
    if len(results) != n:
        raise ValueError(f"{len(results)} results of {n} calls")
    return results, ""


def _result(left):
    """One result: numbers by name; or, if there is a problem, its message (empty if it is another call's problem)."""
    if left["error"] is not None:
        return Result({}, RuntimeError(str(left["error"])))
    values = decode(left["values"])
    if not all(isinstance(value, numpy.ndarray) and value.dtype.kind in "fiub" for value in values.values()):
        raise ValueError("what came back is not an array of numbers")
    return Result(values)


def run_worker(main: str, folder: Path, computing: int, waiting: float) -> tuple[str, str]:
    """Run a worker in its folder: what it printed, and why it was stopped or crashed, if it was.

    Parameters
    ----------
    main : str
        The module of `runner` whose `main` is to run.
    folder : Path
        Has the students' code and what the worker is asked for.
    computing : int
    waiting : float
    """
    environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    # -I -S: see START; -B: no .pyc files next to the package; -u: print at once
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", "-u", "-c", START.format(main), str(computing), *map(str, FOUND)],
        cwd=folder,
        env=environment | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,  # closed when this process ends, however it ends; then the worker ends too
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
        endless = name == "SIGXCPU"  # sent when the processor time was up
        stopped = ENDLESS.format(computing) if endless else f"Your code crashed the Python process ({name})."
    reader.join(1.0)
    if not reader.is_alive():  # else something that escaped still holds the other end, and close() would wait for it
        process.stdout.close()
    return printed[:PRINTED].decode(errors="replace"), stopped


def _end(process):
    """End a process and, where the system has process groups, all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
    process.wait()
    process.stdin.close()

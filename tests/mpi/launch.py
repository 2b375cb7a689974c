"""Starting jobs with mpiexec, and why they cannot be started here."""

import functools
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
JOB = [sys.executable, str(ROOT / "tests" / "mpi" / "job.py")]
MINILORA = [sys.executable, "-m", "minilora"]


@functools.cache
def mpiexec():
    """The path of the mpiexec that belongs to this Python's MPI, or else of the one on the PATH."""
    beside = Path(sys.executable).with_name("mpiexec")
    return str(beside) if beside.exists() else shutil.which("mpiexec")


def missing():
    """Why no job can be started; None if it can."""
    if importlib.util.find_spec("mpi4py") is None:
        return "mpi4py is not installed: pip install -e '.[mpi]'"
    return None if mpiexec() else "there is no mpiexec on the PATH"


needs_mpi = pytest.mark.skipif(missing() is not None, reason=missing() or "")


def start(n, *command):
    """A job of n ranks that runs a command, as a Popen with text."""
    return _start(["-n", str(n), *map(str, command)])


def start_mixed(*commands):
    """A job with a rank for each of several commands."""
    return _start([word for command in commands for word in (":", "-n", "1", *command)][1:])


def _start(arguments):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT, "env": environment}
    return subprocess.Popen([mpiexec(), *arguments], **pipes)


def run(n, *command, timeout=120):
    """The same, to its end: (exit status, standard output, standard error)."""
    with start(n, *command) as job:
        try:
            out, error = job.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            job.kill()
            raise
    return job.returncode, out, error


def job(n, out, **options):
    """A job of tests/mpi/job.py: (exit status, what it and mpiexec printed, the reports of its ranks)."""
    out.mkdir(exist_ok=True)
    status, *printed = run(n, *JOB, json.dumps({"out": str(out), **options}))
    return status, "".join(printed), reports(out)


def reports(out):
    return [json.loads(path.read_text()) for path in sorted(out.glob("[0-9].json"))]

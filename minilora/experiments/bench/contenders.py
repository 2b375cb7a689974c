"""The processes that are compared, and how they take turns.

Each contender has a process and an environment of its own. In a round, every contender takes one turn, after a pause in
which the threads of the one before fall asleep. A ratio is always of two turns of one round, so that whatever else the
machine does at that time affects both.
"""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import minilora

PEER_SCRIPT = Path(minilora.__file__).resolve().parent.parent / "tests" / "benchmarks" / "peer_torch.py"
PAUSE = 0.2  # seconds before a turn
HOW_TO = (
    "make it with: python3 -m venv .venv-torch && .venv-torch/bin/pip install torch==2.13.0 transformers==5.23.0 "
    "peft==0.21.2; or name another Python that has them with --peer-python"
)


def our_command():
    """The command that starts minilora's worker."""
    return [sys.executable, "-m", "minilora.experiments.bench.worker"]


def peer_command(python):
    """The command that starts the PyTorch peer in the environment of the given Python.

    Raises
    ------
    ValueError
        If there is no such Python or script; the message says what to do.
    """
    if not PEER_SCRIPT.is_file():
        raise ValueError(f"the peer's script {PEER_SCRIPT} is not there; --against works in a clone of the repository")
    if not Path(python).is_file():
        raise ValueError(f"--against torch needs an environment with PyTorch; {python} is not there: {HOW_TO}")
    return [str(python), str(PEER_SCRIPT)]


class Contender:
    """A process that answers commands; see `worker`."""

    def __init__(self, command):
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(minilora.__file__).resolve().parent.parent)},
        )

    def ask(self, do, **arguments):
        """Send a command and wait for its answer, a dict."""
        try:
            self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended; its last words say why
        answer = self.process.stdout.readline()
        if not answer:
            words = self.process.stderr.read().strip().splitlines() or ["it said nothing"]
            raise RuntimeError(f"{' '.join(self.process.args)} stopped at {do!r}: {words[-1]}")
        return json.loads(answer)

    def close(self):
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()
        self.process.wait()


@contextmanager
def contenders(commands):
    """Start a Contender for each of several named commands; stop them all at the end."""
    started = {}
    try:
        for name, command in commands.items():
            started[name] = Contender(command)
        yield started
    finally:
        for contender in started.values():
            contender.process.kill()
            contender.close()


def rounds(turns, count):
    """Let several callables take turns, `count` times.

    Parameters
    ----------
    turns : dict of str to callable
        Each returns what its turn measured.
    count : int

    Returns
    -------
    dict of str to list
        What each measured, round by round.
    """
    measured = {name: [] for name in turns}
    for _ in range(count):
        for name, turn in turns.items():
            time.sleep(PAUSE)
            measured[name].append(turn())
    return measured

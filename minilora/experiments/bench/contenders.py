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
from contextlib import contextmanager, suppress
from pathlib import Path

from tqdm import tqdm

import minilora
from minilora.experiments.bench.medians import all_narrow

BENCHMARKS = Path(minilora.__file__).resolve().parent.parent / "tests" / "benchmarks"
PEERS = {  # by name: the script, and its arguments
    "torch": ("peer_torch.py",),
    "torch-compiled": ("peer_torch.py", "--compile"),
    "llama.cpp": ("peer_llama_cpp.py",),
}
PAUSE = 0.2  # seconds before a turn
HOW_TO = (
    "make it with: python3 -m venv .venv-torch && .venv-torch/bin/pip install torch==2.13.0 transformers==5.23.0 "
    "peft==0.21.2, and for llama.cpp xllamacpp; or name another Python that has them with --peer-python"
)


def our_command():
    """The command that starts minilora's worker."""
    return [sys.executable, "-m", "minilora.experiments.bench.worker"]


def peer_command(python, name="torch"):
    """The command that starts a peer, of PEERS, in the environment of the given Python.

    Raises
    ------
    ValueError
        If there is no such Python or script; the message says what to do.
    """
    script, *arguments = PEERS[name]
    if not (BENCHMARKS / script).is_file():
        raise ValueError(f"the peer's script {BENCHMARKS / script} is not there; --against works in a clone")
    if not Path(python).is_file():
        raise ValueError(f"--against {name} needs an environment with PyTorch; {python} is not there: {HOW_TO}")
    return [str(python), str(BENCHMARKS / script), *arguments]


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
            with suppress(BrokenPipeError):  # a command that it has not read before it ended
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


def rounds(turns, count, most=None, *, title=None):
    """Let several callables take turns, `count` times; or until the median of each is known, if that takes longer.

    Parameters
    ----------
    turns : dict of str to callable
        Each returns what its turn measured.
    count : int
    most : int, optional
        Go on to at most this many rounds, until the interval of each median is narrow: see `medians`.
    title : str, optional
        Of a progress bar, which is shown after two seconds.

    Returns
    -------
    dict of str to list
        What each measured, round by round.
    """
    measured = {name: [] for name in turns}
    rounds_left = range(max(count, most or 0))
    for i in tqdm(rounds_left, title, unit="round", delay=2, leave=False, disable=title is None or sys.stderr is None):
        if i >= count and all_narrow(measured):
            break
        for name, turn in turns.items():
            time.sleep(PAUSE)
            measured[name].append(turn())
    return measured

"""What is killed leaves nothing running: real processes, real signals."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from minilora import processes
from watching import is_running, wait_until

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
pytestmark = pytest.mark.skipif(os.name != "posix", reason="ps is Unix's")


def descendants(process):
    """The numbers of all processes below one, by `ps`."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(pid): int(parent) for pid, parent in map(str.split, listed.splitlines())}
    found = [process]
    for one in found:
        found += [pid for pid, parent in parents.items() if parent == one]
    return found[1:]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_killed_reproduce_leaves_no_worker(number, tmp_path):
    command = "reproduce table2 --quick --workers 2 --out out --runs runs".split()
    process = subprocess.Popen(
        [sys.executable, "-m", "minilora", *command],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    below = []
    try:
        assert wait_until(lambda: len(descendants(process.pid)) >= 3), "two workers and multiprocessing's own"
        below = descendants(process.pid)
        process.send_signal(number)
        process.wait(timeout=60)
        assert wait_until(lambda: not any(map(is_running, below)))
    finally:
        process.kill()
        process.wait()
        for pid in filter(is_running, below):
            os.kill(pid, signal.SIGKILL)


def test_a_worker_in_the_middle_of_a_task_ends_too(tmp_path):
    """The task sleeps for ever; nothing but the watching thread can end it."""
    script = tmp_path / "sleeping.py"
    script.write_text(
        "import os, time\n"
        "from minilora.experiments.sweep import Processes\n"
        "def sleep(n):\n"
        "    os.write(1, f'{os.getpid()}\\n'.encode())\n"  # in one piece; two workers share the pipe
        "    time.sleep(1000)\n"
        "if __name__ == '__main__':\n"
        "    with Processes(2) as pool:\n"
        "        [pool.submit(sleep, n) for n in range(2)]\n"
    )
    process = subprocess.Popen([sys.executable, str(script)], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    workers = [int(process.stdout.readline()) for _ in range(2)]
    process.kill()
    process.wait()
    process.stdout.close()
    try:
        assert wait_until(lambda: not any(map(is_running, workers)))
    finally:
        for pid in filter(is_running, workers):
            os.kill(pid, signal.SIGKILL)


def test_a_process_that_multiprocessing_has_not_started_has_no_parent_to_end_with():
    with pytest.raises(RuntimeError, match="was not started by multiprocessing"):
        processes.end_with_parent()

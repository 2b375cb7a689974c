"""Watching other processes: whether one runs, and waiting for something to become true."""

import subprocess
import time


def wait_until(condition, seconds=60):
    """Whether a condition becomes true in time."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def is_running(process):
    """Whether a process exists and is not a zombie, which has ended but whose parent has not asked for its status."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")

"""Ends a process that waits in MPI_Init for ranks that never come. `distributed.py` starts it as a separate script.

MPI_Init holds the GIL while it waits: no thread of that process can check the time, and no signal handler runs. So
another process does: it ends when its standard input does, which is when the rank has joined, or is gone.
"""

import os
import select
import signal
import sys
import time


def watch(rank: int, launcher: int, patience: float) -> None:
    """Wait until standard input ends. If the launcher ends first, or patience runs out, end the rank, and say why."""
    until, why = time.monotonic() + patience, ""
    while not why:
        if select.select([sys.stdin], [], [], 0.2)[0]:
            return
        if time.monotonic() > until:
            why = f"not all processes that the launcher started have joined the job within {patience:g} seconds"
        elif not is_alive(launcher):
            why = "the launcher of this job has ended before all of its processes had joined"
    print(f"minilora: {why}; the job ends", file=sys.stderr, flush=True)
    os.kill(rank, signal.SIGTERM)


def is_alive(process: int) -> bool:
    """Whether there is a process with this number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


if __name__ == "__main__":
    watch(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))

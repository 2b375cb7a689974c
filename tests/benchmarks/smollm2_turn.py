"""The most memory that a process has held, counted from a moment on (Linux). It imports nothing: both sides use it."""

from pathlib import Path


def reset_most_held():
    """Forget the most that was held so far, such as while a model was loaded."""
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): reset the peak resident set size


def most_held():
    """The most bytes of memory that this process has held since then."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError("/proc/self/status has no VmHWM")

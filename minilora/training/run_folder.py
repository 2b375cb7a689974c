"""A run's folder: one run at a time writes to it."""

import contextlib
import os
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, which locks bytes of a file
    import msvcrt

    fcntl = None

LOCK = ".lock"


@contextlib.contextmanager
def only_run_in(folder):
    """A context in which this is the only run in a folder, on this machine.

    The system lets go of the lock when the process ends, however it ends: no lock outlives its run.

    Parameters
    ----------
    folder : str or Path
        Made, if it is not there.

    Raises
    ------
    ValueError
        If another run, of this process or any other, is in the folder.
    OSError
        If the folder cannot be written to.
    """
    path = Path(folder) / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    file = _open_locked(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows removes no open file: there it stays, unlocked
            path.unlink()
        with contextlib.suppress(OSError):  # a file system without locks
            _unlock(file)
        file.close()


def _open_locked(path):
    """The lock file, open and locked; not one that another run has removed between the two."""
    while True:
        file = open(path, "a+")
        try:
            _lock(file)
        except (BlockingIOError, PermissionError):  # of Unix, and of Windows
            file.close()
            raise ValueError(f"another run is writing to {path.parent}; wait for it, or take another folder") from None
        except OSError:
            return file  # a file system without locks
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file
        file.close()


def _lock(file):
    if fcntl:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)


def _unlock(file):
    """Let go of the lock now. Closing the file does it too, but Windows takes its time for that."""
    if fcntl:
        fcntl.flock(file, fcntl.LOCK_UN)
    else:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

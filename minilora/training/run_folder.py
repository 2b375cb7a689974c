"""A run's folder: only one run at a time writes to it, and leftovers of killed runs are removed."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows, which locks bytes of a file
    import msvcrt

    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
LEFTOVER = re.compile(r"\..+\.(?:safetensors|jsonl?|png)\.(\d+)")  # a temporary file of `write_atomically`: .NAME.PID


class FolderLock:
    """What `lock_run_folder` yields: the folder, while this run holds it."""

    def __init__(self, folder: Path, file: IO[str]) -> None:
        self.folder = folder
        self._file = file

    def check(self) -> None:
        """Raise a FileNotFoundError if the folder, or the lock in it, is no longer the one that was locked."""
        if not _is_at(self._file, self.folder / LOCK):
            raise FileNotFoundError(f"{self.folder} was removed or replaced while a run was writing to it")


@contextlib.contextmanager
def lock_run_folder(folder: str | Path) -> Iterator[FolderLock]:
    """A context in which this is the only run in a folder, on this machine.

    The system releases the lock when the process ends, however it ends: no lock outlives its run. Temporary files of
    killed runs are removed.

    Parameters
    ----------
    folder : str or Path
        Created if it does not exist.

    Raises
    ------
    ValueError
        If another run, in this process or another one, is using the folder.
    OSError
        If the folder cannot be written to, or its lock is a symbolic link.
    """
    path = Path(folder) / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    file = _open_locked(path)
    try:
        remove_leftovers(path.parent)
        yield FolderLock(path.parent, file)
    finally:
        if _is_at(file, path):
            with contextlib.suppress(OSError):  # Windows cannot remove an open file: there it stays, unlocked
                path.unlink()
        with contextlib.suppress(OSError):  # a file system without locks
            _unlock(file)
        file.close()


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of processes that ended while they were writing to a folder, which is locked."""
    for path in folder.iterdir():
        name = LEFTOVER.fullmatch(path.name)
        if name and not _is_another_process(int(name[1])):
            with contextlib.suppress(OSError):
                path.unlink()


def _is_another_process(number: int) -> bool:
    """Whether a process with this number is alive, and is not this one: numbers are reused."""
    if number == os.getpid() or os.name != "posix":  # elsewhere, an open file cannot be removed anyway
        return False
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # another user's process
    return True


def _open_locked(path: Path) -> IO[str]:
    """The lock file, open and locked; not one that another run has removed between the two."""
    while True:
        file = _open(path)
        try:
            _lock(file)
        except (BlockingIOError, PermissionError):  # of Unix, and of Windows
            file.close()
            raise ValueError(f"another run is writing to {path.parent}; wait for it, or use another folder") from None
        except OSError:
            return file  # a file system without locks
        if _is_at(file, path):
            return file
        file.close()


def _open(path: Path) -> IO[str]:
    """Open a file, or make it; a symbolic link is not followed, because it may lead out of the folder."""
    if path.is_symlink():
        raise FileExistsError(f"{path} is a symbolic link; it must be a file, or must not exist: remove it")
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    return open(os.open(path, flags, 0o666), "r+")


def _is_at(file: IO[str], path: Path) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    return False


def _lock(file: IO[str]) -> None:
    if fcntl:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]


def _unlock(file: IO[str]) -> None:
    """Release the lock now. Closing the file does so too, but not immediately on Windows."""
    if fcntl:
        fcntl.flock(file, fcntl.LOCK_UN)
    else:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined]

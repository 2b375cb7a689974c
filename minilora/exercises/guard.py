"""What an answer may not do: it computes, and leaves files, processes and the network alone.

Limits and an audit hook stop what goes wrong by accident or for fun, with a message that says so. They are no jail:
Python code that sets out to get around an audit hook can. A teacher who has to expect that grades in a container.
"""

import contextlib
import os
import sys

MEMORY = 4 << 30  # bytes of address space; a bare NumPy takes a quarter of a gigabyte
FILE_SIZE = 16 << 20  # bytes

PATHS = {  # events whose first arguments are paths that they change
    "os.chmod": 1, "os.chown": 1, "os.link": 2, "os.mkdir": 1, "os.remove": 1, "os.rename": 2, "os.rmdir": 1,
    "os.symlink": 2, "os.truncate": 1, "os.utime": 1, "shutil.rmtree": 1,
}  # fmt: skip
PROCESSES = (
    "os.exec", "os.fork", "os.forkpty", "os.kill", "os.killpg", "os.posix_spawn", "os.spawn", "os.startfile",
    "os.system", "pty.spawn", "signal.pthread_kill", "subprocess.Popen",
)  # fmt: skip
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Forbidden(PermissionError):
    """The answer tried what an answer may not do."""


def limit_resources(seconds):
    """Bound this process's time, memory and files, where the system can (Linux; macOS in part; Windows not)."""
    try:
        import resource
    except ImportError:
        return
    limits = {
        resource.RLIMIT_CPU: (seconds, seconds + 1),  # SIGXCPU, and SIGKILL where that is caught
        resource.RLIMIT_AS: (MEMORY, MEMORY),
        resource.RLIMIT_FSIZE: (FILE_SIZE, FILE_SIZE),
        resource.RLIMIT_CORE: (0, 0),
    }
    for limit, values in limits.items():
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(limit, values)


def forbid_all_but_computing(folder):
    """From now on, to change a file outside of `folder`, to start or end a process, or to connect raises Forbidden."""
    folder = os.path.realpath(folder)

    def inside(path):
        if isinstance(path, int):  # a file that is open already
            return True
        path = os.path.realpath(os.fsdecode(path))
        return path == os.devnull or os.path.commonpath((folder, path)) == folder

    def hook(event, arguments):
        if event == "open":
            path, mode, flags = arguments
            writes = set(mode) & set("wax+") if isinstance(mode, str) else flags & WRITING
            paths = (path,) if writes else ()
        else:
            paths = arguments[: PATHS.get(event, 0)]
        for path in paths:
            if not inside(path):
                raise Forbidden(f"it tried to change {os.fsdecode(path)}; an answer computes and leaves files alone")
        if event in PROCESSES:
            raise Forbidden(f"it tried to start or to end a process ({event}); an answer only computes")
        if event in ("socket.connect", "socket.bind", "socket.sendto"):
            raise Forbidden("it tried to use the network; an answer only computes")
        if event == "ctypes.dlopen":
            raise Forbidden("it tried to load a library with ctypes; an answer is Python and NumPy")

    sys.addaudithook(hook)

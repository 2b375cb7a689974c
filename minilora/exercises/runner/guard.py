"""What an answer may not do: it computes, and leaves files, processes, the network and other code alone.

Limits and an audit hook stop what goes wrong by accident or for fun, with a message that says so. Everything the hook
needs is bound when it is made, so that code that runs later cannot replace it: `os.path.realpath = ...` changes
nothing here. Still, this is not a jail: code that is determined to break out of Python can do so. A teacher who has to
expect that should grade in a container.
"""

import contextlib
import os
import sys
from types import MappingProxyType

MEMORY = 4 << 30  # bytes of address space; a bare NumPy takes a quarter of a gigabyte
FILE_SIZE = 16 << 20  # bytes

PATHS = {  # events whose first arguments are paths that they change
    "os.chmod": 1,
    "os.chown": 1,
    "os.mkdir": 1,
    "os.remove": 1,
    "os.rename": 2,
    "os.rmdir": 1,
    "os.truncate": 1,
    "os.utime": 1,
    "shutil.rmtree": 1,
}
FORBIDDEN = {
    "it tried to start or to end a process": (
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.kill",
        "os.killpg",
        "os.posix_spawn",
        "os.spawn",
        "os.startfile",
        "os.system",
        "pty.spawn",
        "signal.pthread_kill",
        "subprocess.Popen",
    ),
    "it tried to use the network": ("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo"),
    "it tried to go to another folder, or to link to one": ("os.chdir", "os.fchdir", "os.link", "os.symlink"),
    "it tried to open a database": ("sqlite3.connect",),
    "it tried to look at objects that are not its own": ("gc.get_objects", "gc.get_referrers", "gc.get_referents"),
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
NOT_FOR_ANSWERS = ("minilora",)
PACKAGES = ("site-packages", "dist-packages")  # inside some Pythons' own folder


class Forbidden(PermissionError):
    """The answer tried what an answer may not do."""


def limit_resources(seconds: int) -> None:
    """Bound this process's time, memory and files, where the system can (Linux; partly macOS; not Windows)."""
    try:
        import resource
    except ImportError:
        return
    limits = {
        resource.RLIMIT_NPROC: (0, 0),  # no further process or thread, however it is started; this does not bind root
        resource.RLIMIT_CPU: (seconds, seconds + 1),  # SIGXCPU, and SIGKILL where that is caught
        resource.RLIMIT_AS: (MEMORY, MEMORY),
        resource.RLIMIT_FSIZE: (FILE_SIZE, FILE_SIZE),
        resource.RLIMIT_CORE: (0, 0),
    }
    for limit, values in limits.items():
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(limit, values)


def forbid_all_but_computing(folder: str, readable: list[str]) -> None:
    """From now on, whatever an answer may not do raises Forbidden.

    Parameters
    ----------
    folder : str
        The answer's own folder, the current one. It may write here.
    readable : list of str
        The folders and files of Python and of NumPy: it may read only these.
    """
    numpys = ("numpy", "numpy.libs")
    own, python = _places([folder]), _places([path for path in readable if os.path.basename(path) not in numpys])
    libraries = _places([path for path in readable if os.path.basename(path) in numpys])
    stopped = MappingProxyType({event: why for why, events in FORBIDDEN.items() for event in events})
    changing = MappingProxyType(dict(PATHS))

    # Everything that a function below needs is in its defaults, a tuple that cannot change without an event: not in
    # cells or globals, which a frame in a traceback gives access to. No method of the answer's objects is called.
    def place(
        path,
        forbidden=Forbidden,
        kind_of=type,
        is_a=isinstance,
        number=int,
        octets=bytes,
        text=str,
        decode=bytes.decode,
        plain=str.__str__,
        split=str.split,
        begins=str.startswith,
        replace=str.replace,
        join=os.sep.join,
        sep=os.sep,
        altsep=os.altsep,
        windows=os.name == "nt",
        home=own[0],
    ):
        """The path as plain text, and absolute; None for a file that is already open."""
        if kind_of(path) is number:
            return None
        if is_a(path, octets):
            path = decode(path, "utf-8", "surrogateescape")
        if not is_a(path, text):
            raise forbidden("it tried to open something that is not a path")
        path = replace(plain(path), altsep, sep) if altsep else plain(path)
        parts = split(path, sep)
        if ".." in parts:
            raise forbidden("it tried to leave its folder by `..`")
        return path if begins(path, sep) or (windows and ":" in path) else join([home, *[p for p in parts if p != "."]])

    def below(path, roots, begins=str.startswith, lower=str.lower, sep=os.sep, windows=os.name == "nt"):
        for root in roots:
            if path == root or begins(path, root + sep) or (windows and begins(lower(path), lower(root + sep))):
                return True
        return False

    def may_write(path, below=below, own=own, nothing=os.devnull):
        return path is None or path == nothing or below(path, own)

    def may_read(
        path,
        may_write=may_write,
        below=below,
        python=python,
        libraries=libraries,
        split=str.split,
        sep=os.sep,
        packages=PACKAGES,
    ):
        if may_write(path) or path == "/dev/urandom" or below(path, libraries):
            return True
        for part in split(path, sep):
            if part in packages:
                return False
        return below(path, python)

    def hook(
        event,
        arguments,
        forbidden=Forbidden,
        place=place,
        may_read=may_read,
        may_write=may_write,
        is_a=isinstance,
        text=str,
        plain=str.__str__,
        partition=str.partition,
        begins=str.startswith,
        changing=changing,
        stopped=stopped,
        writing=WRITING,
        elsewhere=NOT_FOR_ANSWERS,
    ):
        if event == "open":
            path, mode, flags = arguments
            writes = flags & writing
            for letter in "wax+":
                writes = writes or (is_a(mode, text) and letter in plain(mode))
            path = place(path)
            if writes and not may_write(path):
                raise forbidden(f"it tried to change {path}; an answer computes and leaves files alone")
            if not writes and not may_read(path):
                raise forbidden(f"it tried to read {path}; an answer reads Python, NumPy and its own folder")
        elif event == "import":
            name = partition(arguments[0], ".")[0]
            if name in elsewhere:
                raise forbidden(f"it tried to import {name}; here you write it yourself, with Python and NumPy only")
        elif event in changing:
            for path in arguments[: changing[event]]:
                path = place(path)
                if not may_write(path):
                    raise forbidden(f"it tried to change {path}; an answer computes and leaves files alone")
        elif event in stopped:
            raise forbidden(f"{stopped[event]} ({event}); an answer only computes")
        elif event == "object.__setattr__" and arguments[1] in ("__code__", "__defaults__", "__kwdefaults__"):
            raise forbidden("it tried to replace the code of a function; an answer only computes")
        elif begins(event, "ctypes."):
            raise forbidden(f"it tried to bypass Python with ctypes ({event}); an answer is Python and NumPy")

    sys.addaudithook(hook)


def _places(paths):
    """Folders as they were named, and with links resolved."""
    ways = (os.path.abspath, os.path.realpath)
    return tuple(dict.fromkeys(way(path).rstrip(os.sep) for path in paths for way in ways))

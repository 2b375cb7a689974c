"""Damages real files and reads them, in a process of its own:  python tests/fuzz/run.py FILES SEED

Each file must load, or be refused with a ValueError that names it or its folder, within 2 seconds of processor time and
200 MB of memory beyond what the process had before. On Linux the limit on memory is the system's own, so that what goes
beyond it fails.
It prints a report as JSON, and ends with status 1 and the file's bytes kept if something else happened.
"""

import contextlib
import json
import re
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from fuzz.targets import targets

SECONDS, BYTES = 2.0, 200 * 1024**2


def limit_memory(bytes_more):
    """Let the process have so many bytes more than it has."""
    with contextlib.suppress(ImportError, OSError):
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + bytes_more
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def peak_memory():
    """The most memory that the process has held, in bytes; 0 where the system does not say."""
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def too_slow(number, frame):
    raise TimeoutError(f"more than {SECONDS} seconds of processor time")


def attempt(read, place):
    """Call ``read(place)``, which may take SECONDS.

    Returns
    -------
    loaded : bool
    refusal : str or None
        The message of a ValueError that names what is in `place`, without what differs from file to file.
    failure : str or None
        Of any other error.
    """
    if hasattr(signal, "SIGPROF"):
        signal.signal(signal.SIGPROF, too_slow)
    try:
        set_timer(SECONDS)
        read(place)
        return True, None, None
    except ValueError as error:
        if str(place) not in str(error):
            return False, None, f"it does not name the file: {error!r}\n{traceback.format_exc(limit=-4)}"
        text = re.sub(r"/\S+/(\S+)", r"\1", str(error).split("\n")[0])
        return False, re.sub(r"\d+", "N", re.sub(r"'[^']*'|\"[^\"]*\"", "'...'", text))[:60], None
    except BaseException as error:
        return False, None, f"{type(error).__name__}: {error}\n{traceback.format_exc(limit=-4)}"
    finally:
        set_timer(0)


def main(files, seed):
    """Damage and read so many files; print the report, and return the exit status."""
    rng, refusals, failures, loaded, slowest = np.random.default_rng(seed), Counter(), [], 0, (0.0, "")
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        made = targets(folder)
        place = Path(folder) / "read"
        place.mkdir()
        for target in made.values():  # whole, they load; and what is imported lazily is there before memory is measured
            write(target.files, place)
            target.read(place)
        before = peak_memory()
        limit_memory(BYTES)
        for i in range(files):
            name = list(made)[i % len(made)]
            target = made[name]
            damaged = list(target.damage)[int(rng.integers(0, len(target.damage)))]
            content = target.damage[damaged](target.files[damaged], rng)
            write(target.files | {damaged: content}, place)
            started = time.process_time()
            is_loaded, refusal, failure = attempt(target.read, place)
            slowest = max(slowest, (time.process_time() - started, name))
            loaded += is_loaded
            if refusal is not None:
                refusals[refusal] += 1
            if failure is not None:
                kept = Path(tempfile.gettempdir()) / f"fuzz-{seed}-{i}-{damaged}"
                kept.write_bytes(content)
                failures.append(f"{name}: {kept}: {failure}")
    report = {"files": files, "kinds of files": len(made), "loaded": loaded, "refused": sum(refusals.values())}
    report |= {"failed": len(failures), "slowest, seconds": slowest, "memory, bytes": peak_memory() - before}
    print(json.dumps(report | {"messages": len(refusals), "refusals": refusals.most_common(), "failures": failures}))
    return 1 if failures else 0


def set_timer(seconds):
    if hasattr(signal, "ITIMER_PROF"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def write(files, place):
    for old in place.iterdir():
        old.unlink()
    for name, content in files.items():
        (place / name).write_bytes(content)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))

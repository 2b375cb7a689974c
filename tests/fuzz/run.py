"""Damages real files and reads them, in a process of its own:  python tests/fuzz/run.py FILES SEED [structures]

With "structures", files are whole and mean harm (`structures.py`), else they are damaged anywhere (`mutations.py`).

Each file must load, or be refused with a ValueError that names it or its folder, within 2 seconds of processor time
and 200 MB of memory beyond its size. A message is one printable line of under 500 characters. On Linux the limit on
memory is the system's own, so that what goes beyond it fails. It prints a report as JSON, and ends with status 1 and
the file's bytes kept if something else happened.
"""

import contextlib
import gc
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

from fuzz.structures import hostile
from fuzz.targets import targets

SECONDS, BYTES, CHARACTERS = 2.0, 200 * 1024**2, 500


def limit_memory(bytes_more):
    """Let the process have so many bytes more than it has; None lifts the limit."""
    with contextlib.suppress(ImportError, OSError):
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = resource.RLIM_INFINITY if bytes_more is None else pages * resource.getpagesize() + bytes_more
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def held_memory(most=False):
    """The memory that the process holds, or has held at most since `forget_most`, in bytes; 0 where nothing says it."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return 1024 * int(re.search(rf"{'VmHWM' if most else 'VmRSS'}:\s*(\d+)", status)[1])


def forget_most():
    """What the process holds now is the most that it has held."""
    gc.collect()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


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
        if not str(error).isprintable() or len(str(error)) >= CHARACTERS:
            return False, None, f"{len(str(error))} characters, not all of them printable: {error!r}"[:1000]
        text = re.sub(r"/\S+/(\S+)", r"\1", str(error).split("\n")[0])
        return False, re.sub(r"\d+", "N", re.sub(r"'[^']*'|\"[^\"]*\"", "'...'", text))[:60], None
    except BaseException as error:
        return False, None, f"{type(error).__name__}: {error}\n{traceback.format_exc(limit=-4)}"
    finally:
        set_timer(0)


def main(files, seed, kind="damage"):
    """Damage and read so many files; print the report, and return the exit status."""
    rng, refusals, failures, loaded = np.random.default_rng(seed), Counter(), [], 0
    slowest = largest = (0, "")
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        made = targets(folder)
        if kind == "structures":
            made = {name: hostile_target(target) for name, target in made.items()}
            made = {name: target for name, target in made.items() if target.damage}
        place = Path(folder) / "read"
        place.mkdir()
        for target in made.values():  # whole, they load; and what is imported lazily is there before memory is measured
            write(target.files, place)
            target.read(place)
        for i in range(files):
            name = list(made)[i % len(made)]
            target = made[name]
            damaged = list(target.damage)[int(rng.integers(0, len(target.damage)))]
            content = target.damage[damaged](target.files[damaged], rng)
            write(target.files | {damaged: content}, place)
            forget_most()
            before, started = held_memory(), time.process_time()
            limit_memory(BYTES + len(content))
            is_loaded, refusal, failure = attempt(target.read, place)
            limit_memory(None)
            slowest = max(slowest, (time.process_time() - started, f"{name}, {damaged}"))
            largest = max(largest, (held_memory(most=True) - before - len(content), f"{name}, {damaged}"))
            loaded += is_loaded
            if refusal is not None:
                refusals[refusal] += 1
            if failure is not None:
                kept = Path(tempfile.gettempdir()) / f"fuzz-{seed}-{i}-{damaged}"
                kept.write_bytes(content)
                failures.append(f"{name}: {kept}: {failure}")
    report = {"files": files, "kinds of files": len(made), "loaded": loaded, "refused": sum(refusals.values())}
    report |= {"failed": len(failures), "slowest, seconds": slowest, "largest, bytes": largest}
    print(json.dumps(report | {"messages": len(refusals), "refusals": refusals.most_common(), "failures": failures}))
    return 1 if failures else 0


def hostile_target(target):
    """The target with files that mean harm in the place of damaged ones."""
    return target._replace(damage={name: hostile(name) for name in target.files if hostile(name)})


def set_timer(seconds):
    if hasattr(signal, "ITIMER_PROF"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def write(files, place):
    for old in place.iterdir():
        old.unlink()
    for name, content in files.items():
        (place / name).write_bytes(content)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]))

"""All that can be said of a GPU in eight minutes: `make gpu`, on a machine with an NVIDIA GPU, CuPy and PyTorch.

    python tests/gpu/everything.py --out figures/bench/gpu

Each part is a command of its own with a time limit, and goes on whatever became of the others. Its output is in a log
beside ``summary.txt``, which has at most 30 lines. Nothing is installed; the Python that runs this runs all of it.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 28  # lines of the parts in the summary
SHAPES = "S1,S2,S3,gpt2-small"


@dataclass(frozen=True)
class Part:
    """One command.

    Parameters
    ----------
    name : str
    command : tuple of str
        Arguments of Python; {out} stands for the folder.
    seconds : int
        After which it is stopped.
    lines_of : callable
        ``lines_of(log, folder) -> list of str``: what the summary says of it.
    """

    name: str
    command: tuple[str, ...]
    seconds: int
    lines_of: Callable[[str, Path], list[str]]


def of_tests(log, folder):
    """pytest's last line, and the first tests that failed."""
    counts = [line.strip("= ") for line in log.splitlines() if re.search(r"\d+ (passed|failed|error|skipped)", line)]
    failed = [line.split(" - ")[0] for line in log.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    more = [f"  and {len(failed) - 3} more"] if len(failed) > 3 else []
    return [*counts[-1:], *(f"  {line}" for line in failed[:3]), *more]


def of_bench(log, folder):
    """LoRA's step, generation and memory for each shape, next to PyTorch with PEFT."""
    path = Path(folder) / "bench.json"
    if not path.exists():
        return []
    results = json.loads(path.read_text(encoding="utf-8"))
    lines = []
    for shape, methods in results.get("train", {}).items():
        for method, row in methods.items():
            lines.append(f"{shape}, {method}: {row['tokens_per_second']:,.0f} tokens/s{ratio(row)}")
    for shape, states in results.get("generate", {}).items():
        row = states["lora"]
        lines.append(f"{shape}, generating: {1 / row['seconds']['minilora']['median']:,.0f} tokens/s{ratio(row)}")
    for shape, methods in results.get("memory", {}).items():
        held = {name: f"{peaks['step'] / 1e6:,.0f}" for name, peaks in methods["lora"].items()}
        lines.append(f"{shape}, LoRA's memory, MB: " + ", ".join(f"{name} {mb}" for name, mb in held.items()))
    return lines


def ratio(row):
    """The ratio to PyTorch's speed, as text; nothing without it."""
    found = row.get("ratio")
    return "" if found is None else ", {median:.2f} [{min:.2f}, {max:.2f}] times PyTorch's".format(**found)


def last_lines(n):
    """The last n lines that are no progress bars."""

    def lines_of(log, folder):
        shown = [line.split("\r")[-1].rstrip() for line in log.splitlines()]
        return [line for line in shown if line and "it/s" not in line and "%|" not in line][-n:]

    return lines_of


def of_pretraining(log, folder):
    """How fast it read, and from where to where the loss went."""
    path = Path(folder) / "pretraining" / "history.json"
    if not path.exists():
        return []
    history = json.loads(path.read_text(encoding="utf-8"))
    losses, speed = history["losses"], history["tokens"] / history["seconds"]
    return [f"{len(losses)} steps, loss {losses[0]:.2f} -> {losses[-1]:.2f} nats per byte, {speed:,.0f} tokens/s"]


WHAT_IT_IS = (
    "import cupy, numpy; d = cupy.cuda.runtime.getDeviceProperties(0); "
    "print(d['name'].decode(), d['major'], d['minor'], 'CuPy', cupy.__version__, 'NumPy', numpy.__version__)"
)
GPU_TESTS = ("-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "-o", "filterwarnings=default", "-rfE")
PARTS = (
    Part("the device", ("-c", WHAT_IT_IS), 20, last_lines(1)),
    Part("kernels", (*GPU_TESTS, "tests", "-k", "kernel"), 55, of_tests),
    Part("parity", (*GPU_TESTS, "tests", "-k", "not kernel and not fifty"), 100, of_tests),
    Part("attention", ("tests/gpu/attention.py",), 40, last_lines(3)),
    Part("products", ("tests/gpu/products.py",), 15, last_lines(3)),
    Part("fifty steps of every method", (*GPU_TESTS, "tests/gpu/test_fifty_steps.py"), 65, of_tests),
    Part(
        "speed and memory",
        (
            *("-m", "minilora", "bench", "train", "generate", "memory", "--device", "gpu", "--shapes", SHAPES),
            *("--rounds", "3", "--against", "torch", "--peer-python", sys.executable, "--out", "{out}"),
        ),
        120,
        of_bench,
    ),
    Part(
        "pretraining",
        ("-m", "minilora", "pretrain", "--device", "gpu", "--steps", "300", "--out", "{out}/pretraining"),
        60,
        of_pretraining,
    ),
)


def run_part(part, folder):
    """Run a part; returns its lines of the summary, the first of which says how it ended."""
    log = Path(folder) / f"{part.name.replace(' ', '-')}.log"
    command = [sys.executable, *(word.replace("{out}", str(folder)) for word in part.command)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    started = time.perf_counter()
    with log.open("w", encoding="utf-8") as file:
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT, timeout=part.seconds
            )
            ended = "done" if done.returncode == 0 else f"ended with {done.returncode}"
        except subprocess.TimeoutExpired:
            ended = f"stopped after {part.seconds} s"
    text = log.read_text(encoding="utf-8", errors="replace")
    try:
        lines = part.lines_of(text, folder)
    except (KeyError, ValueError, TypeError) as error:
        lines = [f"its results could not be read: {error!r}"]
    if ended != "done" and not lines:
        lines = last_lines(2)(text, folder)
    return [f"{part.name}: {ended} in {time.perf_counter() - started:.0f} s", *(f"  {line[:110]}" for line in lines)]


def everything(folder, parts=PARTS):
    """Run the parts one after another; returns the summary's lines, which are also in summary.txt after each part."""
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    summary = []
    for part in parts:
        lines = run_part(part, folder)
        print("\n".join(lines), flush=True)
        summary += lines
        (folder / "summary.txt").write_text("\n".join(shortened(summary)) + "\n", encoding="utf-8")
    return shortened(summary)


def shortened(lines):
    """At most LONGEST lines and one that says so."""
    return lines if len(lines) <= LONGEST else [*lines[:LONGEST], f"... {len(lines) - LONGEST} more in the logs"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="figures/bench/gpu")
    everything(parser.parse_args().out)

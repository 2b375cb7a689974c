"""What would processes give instead of threads? A LoRA step of half a batch, in two processes at a time, and the step.

    python tests/benchmarks/processes.py --out figures/bench

Two threads share Python's lock: one that wants to begin the next operation may have to wait until the other has begun
its own. Two processes do not. (The step in two processes would still have to exchange gradients; A and B are small.)
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

from minilora.experiments.bench.contenders import contenders, our_command, rounds
from minilora.experiments.bench.shapes import SHAPES
from minilora.experiments.measure import median_and_range
from minilora.experiments.record import provenance
from minilora.files import write_json


def measure(shape, count):
    """Seconds of a step on two threads, and of half of it in one process, and in two processes at once."""
    half = replace(shape, N=shape.N // 2)
    commands = {name: our_command() for name in ("two threads", "half", "other half")}
    with contenders(commands) as started, ThreadPoolExecutor(2) as pool:
        for name, contender in started.items():
            whole = name == "two threads"
            contender.ask("make", shape=asdict(shape if whole else half), method="lora", threads=2 if whole else 1)
            contender.ask("train", n=2)
        n = max(1, round(0.4 / started["two threads"].ask("train", n=1)["seconds"]))

        def step(*names):
            answers = pool.map(lambda name: started[name].ask("train", n=n)["seconds"] / n, names)
            return max(answers)

        turns = {
            "two threads": lambda: step("two threads"),
            "half a batch, one process": lambda: step("half"),
            "half a batch each, two processes": lambda: step("half", "other half"),
        }
        return {name: median_and_range(values) for name, values in rounds(turns, count).items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="figures/latest")
    parser.add_argument("--shapes", default="S1,S2,S3")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    results = {name: measure(SHAPES[name], options.rounds) for name in options.shapes.split(",")}
    command = f"python tests/benchmarks/processes.py --out {options.out}"
    write_json(
        Path(options.out) / "processes.json", {"command": command, "provenance": provenance(), "seconds": results}
    )
    for shape, ways in results.items():
        for way, s in ways.items():
            print(f"{shape}  {way:36} {1e3 * s['median']:8.1f} ms [{1e3 * s['min']:.1f}, {1e3 * s['max']:.1f}]")


if __name__ == "__main__":
    main()

"""Is this checkout as fast as another one? Training steps and generation of both, turn by turn.

    git worktree add ../before v0.1.0
    python tests/benchmarks/versions.py ../before --rounds 9

Prints the other's time divided by this one's: above 1, this one is faster. In a round both take a turn, the first of
them changing from round to round; a ratio is of two turns of one round.
"""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from minilora.experiments.bench.contenders import contenders, our_command, rounds
from minilora.experiments.bench.shapes import SHAPES
from minilora.experiments.measure import median_and_range
from minilora.experiments.record import provenance
from minilora.files import write_json

TURN = 0.6  # seconds of a turn, about


def compare(shape, other, count, threads):
    """{"train": {"median": ..., "min": ..., "max": ...}, "generate": ...}: how many times as fast this checkout is."""
    theirs = ["env", f"PYTHONPATH={other}", sys.executable, "-P", "-m", "minilora.experiments.bench.worker"]
    with contenders({"this": our_command(), "other": theirs}) as started:
        for contender in started.values():
            contender.ask("make", shape=asdict(shape), method="lora", threads=threads)

        def measure(do, n, turns=1):
            def turn(name):
                return lambda: started[name].ask(do, n=n * turns)["seconds"]

            for name in started:
                started[name].ask(do, n=n)
            ratios = []
            for i in range(count):
                order = ("this", "other") if i % 2 else ("other", "this")
                seconds = rounds({name: turn(name) for name in order}, 1)
                ratios.append(seconds["other"][0] / seconds["this"][0])
            return median_and_range(ratios)

        steps = max(1, round(TURN / started["this"].ask("train", n=1)["seconds"]))
        return {"train": measure("train", 1, steps), "generate": measure("generate", 64)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="the folder of another checkout")
    parser.add_argument("--shapes", default="S1,S2,S3,gpt2-small")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="a folder for versions.json")
    options = parser.parse_args()
    results = {}
    for name in options.shapes.split(","):
        results[name] = compare(SHAPES[name], options.other.resolve(), options.rounds, options.threads)
        for what, ratio in results[name].items():
            print(f"{name:11} {what:9} {ratio['median']:.3f} [{ratio['min']:.3f}, {ratio['max']:.3f}]", flush=True)
    if options.out:
        write_json(options.out / "versions.json", {"provenance": provenance(), "times as fast": results})


if __name__ == "__main__":
    main()

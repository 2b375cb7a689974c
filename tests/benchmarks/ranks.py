"""Weak scaling: each of n ranks has N rows of its own, so that n ranks have n times the work, at best in the same time.

    python tests/benchmarks/ranks.py --out figures/bench

Every rank computes on one thread. With more ranks than cores they take turns, and the most that can be reached is
cores / n of the efficiency 1; that is what `bound` says. Beside what was measured stands, for machines in a network,
the efficiency that `minilora.analysis.ring_seconds` predicts from the step of one rank, with the latency and the
bandwidth that `NETWORKS` assumes.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from statistics import median

import numpy as np

from minilora.accounting import ring_bytes, ring_seconds
from minilora.arrays.threads import cores
from minilora.data import LMBatch
from minilora.distributed import join
from minilora.experiments.bench.shapes import SHAPES, Shape
from minilora.experiments.measure import median_and_range
from minilora.experiments.record import provenance
from minilora.experiments.text_table import aligned
from minilora.files import write_json
from minilora.methods import LoRAConfig, apply_full, apply_lora
from minilora.models import GPT
from minilora.training import TrainConfig, Trainer

RANKS = (1, 2, 4)
MACHINES = (2, 4, 8, 16, 64, 256)
NETWORKS = {  # assumed, not measured: (seconds for each sending, bytes per second)
    "Ethernet, 1 Gbit/s": (50e-6, 125e6),
    "Ethernet, 10 Gbit/s": (20e-6, 1.25e9),
    "InfiniBand, 100 Gbit/s": (2e-6, 12.5e9),
}
WARM_UP = 2  # steps


def work(shape, method, steps):
    """What one rank does; the first prints the median seconds of a step, and of an allreduce on its own, as JSON."""
    ranks, shape = join(), Shape(**shape)
    rng = np.random.default_rng(0)
    model = GPT(shape.config, rng)
    if method == "lora":
        apply_lora(model, LoRAConfig(rank=8, alpha=8), rng=rng)
    else:
        apply_full(model)
    rows = shape.N * ranks.size
    ids = rng.integers(0, shape.V, (rows, shape.T + 1))
    batch = LMBatch(ids[:, :-1], ids[:, 1:], np.ones((rows, shape.T), dtype=bool))
    begun = []

    def sample(rng):
        begun.append(time.perf_counter())
        return batch

    config = TrainConfig(steps=WARM_UP + steps + 1, batch_size=rows, threads=1)
    trainer = Trainer(model, sample, config, ranks=ranks)
    trainer.run(progress=False)
    summed, bucket = [], np.zeros(trainer.bucket.size, dtype=trainer.bucket.dtype)
    for _ in range(steps):
        started = time.perf_counter()
        ranks.allreduce(bucket)
        summed.append(time.perf_counter() - started)
    if ranks.rank == 0:
        step = median(np.diff(begun)[WARM_UP:].tolist())
        print(json.dumps({"step": step, "allreduce alone": median(summed), "bytes": trainer.bucket.nbytes}))


def job(n, **what):
    """`work` in a job of n ranks."""
    beside = Path(sys.executable).with_name("mpiexec")
    launcher = [str(beside if beside.exists() else "mpiexec"), "-n", str(n)]
    command = [*launcher, sys.executable, __file__, "--work", json.dumps(what)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=600).stdout)


def measure(shape, method, rounds):
    """The seconds of each number of ranks, and what they say; the numbers take turns in each round."""
    seconds = job(1, shape=asdict(shape), method=method, steps=2)["step"]
    what = {"shape": asdict(shape), "method": method, "steps": max(5, round(1.5 / seconds))}
    answers = [{n: job(n, **what) for n in RANKS} for _ in range(rounds)]
    one = median(of_round[1]["step"] for of_round in answers)
    message = answers[0][1]["bytes"]
    measured = {
        n: {
            "step": median_and_range([a[n]["step"] for a in answers]),
            "allreduce alone": median_and_range([a[n]["allreduce alone"] for a in answers]),
            "efficiency": median_and_range([a[1]["step"] / a[n]["step"] for a in answers]),
            "bound": min(1.0, cores() / n),
            "sent by each rank in a ring": ring_bytes(message, n),
        }
        for n in RANKS
    }
    modelled = {
        network: {n: one / (one + ring_seconds(message, n, latency=latency, bandwidth=bandwidth)) for n in MACHINES}
        for network, (latency, bandwidth) in NETWORKS.items()
    }
    return {"bytes": message, "measured": measured, "modelled efficiency": modelled}


def table(results):
    """What was measured as text, and below it what is modelled."""
    rows = [["", "ranks", "step, ms", "efficiency", "bound", "allreduce alone, ms", "bucket, KB"]]
    modelled = [["", "network", *(f"{n} machines" for n in MACHINES)]]
    for name, of_shape in results.items():
        for n, m in of_shape["measured"].items():
            alone, size = f"{1e3 * m['allreduce alone']['median']:.2f}", f"{of_shape['bytes'] / 1e3:,.1f}"
            bound = f"{m['bound']:.2f}"
            rows.append([name, str(n), ranged(m["step"], 1e3, 1), ranged(m["efficiency"], 1, 2), bound, alone, size])
        for network, efficiency in of_shape["modelled efficiency"].items():
            modelled.append([name, network, *(f"{value:.3f}" for value in efficiency.values())])
    return "\n".join([*aligned(rows), "", *aligned(modelled)])


def ranged(m, factor, digits):
    """A median with the smallest and the largest: "40.1 [39.0, 42.5]"."""
    middle, low, high = (f"{factor * m[key]:.{digits}f}" for key in ("median", "min", "max"))
    return f"{middle} [{low}, {high}]"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="figures/latest")
    parser.add_argument("--shapes", default="S1,S2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        return work(**options.work)
    results, load = {}, [os.getloadavg()[0]]
    for name in options.shapes.split(","):
        for method in ("lora", "full"):
            results[f"{name} {method}"] = measure(SHAPES[name], method, options.rounds)
            load.append(os.getloadavg()[0])
    command = shlex.join(["python", "tests/benchmarks/ranks.py", *sys.argv[1:]])
    about = {"command": command, "provenance": provenance(), "load": load, "cores": cores(), "networks": NETWORKS}
    write_json(Path(options.out) / "mpi.json", {**about, "results": results})
    print(f"{table(results)}\n\nload of the machine before and after each: {', '.join(f'{each:.1f}' for each in load)}")


if __name__ == "__main__":
    main()

"""What one rank of a job does: mpiexec -n 4 python tests/mpi/job.py OPTIONS, where OPTIONS is JSON.

Each rank writes what came of it to a file of its own in the folder `out`, as JSON. Options beside `out`:

    dtype, steps, device
                       of the run
    folder             for checkpoints, one each step; the run continues from there
    at, rank, does     what happens to which rank when it draws the batch of a step: "raise", "die" (SIGKILL),
                       "nan", or "wait" (until somebody stops it)
    seed_of_rank       the rank's model has other weights than the others'
    runs, trap         instead of training: a sweep, its folder, and a file by which one of its workers dies
"""

import hashlib
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from methods.tiny import tiny_lora
from minilora.arrays.backend import to_device, to_numpy
from minilora.distributed import join
from minilora.experiments.sweep import Sweep
from minilora.training import SGD, Stopped, TrainConfig, Trainer, evaluate_loss, resume_newest
from training.examples import EXAMPLES, draw


@dataclass(frozen=True)
class Number:
    n: int
    trap: str  # a file; who finds it removes it, and dies


def square(number):
    if os.path.exists(number.trap):
        os.unlink(number.trap)
        os.kill(os.getpid(), signal.SIGKILL)
    return {"square": number.n**2, "pid": os.getpid()}


def train(ranks, options):
    """A run of a tiny model; returns what `report` says of it."""
    model = tiny_lora(dtype=options.get("dtype", "float64"), seed=int(options.get("seed_of_rank") == ranks.rank))
    for p in model.parameters():
        p.data = to_device(p.data, options.get("device", "cpu"))
    folder = options.get("folder")

    def sample(generator):
        if made.step == options.get("at") and ranks.rank == options.get("rank", ranks.rank):
            happen(options["does"], model)
        return draw(generator)

    made = Trainer(
        model,
        sample,
        TrainConfig(steps=options.get("steps", 5), batch_size=6, threads=1, lr=0.01, eval_every=2),
        optimizer=SGD(model.parameters(), 0.01, momentum=0.9),
        validate=lambda: evaluate_loss(model, [EXAMPLES, EXAMPLES], ranks),
        folder=folder,
        checkpoint_every=1 if folder else None,
        ranks=ranks,
    )
    if folder:
        resume_newest(made, folder)
    begun, sent = made.step, counted(ranks)
    try:
        made.run(progress=False)
    except Stopped as stopped:
        return {"stopped": made.step, "said": str(stopped)}
    weights = b"".join(to_numpy(p.data).tobytes() for p in model.parameters())
    return {
        "begun": begun,
        "losses": made.history.losses,
        "validation": made.history.validation,
        "weights": hashlib.sha256(weights).hexdigest(),
        "bytes": sent,
        "bucket": made.bucket.nbytes,
        "cores": ranks.cores,
    }


def counted(ranks):
    """A list that gets the bytes of each array that MPI's own allreduce is given."""
    sent = []
    if ranks.size > 1:

        class Counting:
            def __init__(self, comm):
                self.comm = comm

            def __getattr__(self, name):
                return getattr(self.comm, name)

            def Allreduce(self, inplace, array):
                sent.append(array.nbytes)
                self.comm.Allreduce(inplace, array)

        ranks._comm = Counting(ranks._comm)
    return sent


def happen(what, model):
    if what == "raise":
        raise OSError("the disk of this rank is gone")
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "nan":
        model.trainable_parameters()[0].data[...] = np.nan
    if what == "wait":
        print("waiting", flush=True)
        time.sleep(0.5)


def sweep(ranks, options):
    """The squares of 0, 1, 2, ..., and whether the first rank computed any."""
    with ranks.executor() as executor:
        if ranks.rank:
            return None
        numbers = [Number(n, options["trap"]) for n in range(6)]
        results = Sweep(options["runs"], executor, progress=False)(square, numbers, model="decoder")
    return {"squares": [r["square"] for r in results], "here": os.getpid() in {r["pid"] for r in results}}


def main(options):
    ranks = join()
    report = (sweep if "runs" in options else train)(ranks, options)
    (Path(options["out"]) / f"{ranks.rank}.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

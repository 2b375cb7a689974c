"""The ladder: how fast a LoRA step is as its optimisations come in, one after the other, from a plain NumPy step.

    python tests/benchmarks/ladder.py --out figures/bench
    python tests/benchmarks/ladder.py --out figures/bench --from-results      draws the figure of what is there

Each rung is a process in which the optimisations of all later rungs are undone: replaced by the line that one would
write first. The rungs take turns, so that a ratio is of two turns of one round.
"""

import argparse
import contextlib
import json
import math
import sys
from dataclasses import asdict
from pathlib import Path

import numpy

from minilora import plots
from minilora.arrays import chunks, threads
from minilora.experiments.bench import figures, worker
from minilora.experiments.bench.contenders import contenders, rounds
from minilora.experiments.bench.shapes import SHAPES
from minilora.experiments.measure import median_and_range
from minilora.experiments.record import provenance
from minilora.files import write_json
from minilora.layers import Linear, activation, layernorm
from minilora.layers import linear as linear_layer
from minilora.methods import adapter_dropout
from minilora.methods.lora import layer as lora_layer
from minilora.ops.cross_entropy import cross_entropy_backward, cross_entropy_forward
from minilora.ops.fast import LayerNormCache, LinearCache, attention, attention_tiles, linear, lora_linear, softmax
from minilora.training import evaluation, objective

# ---- each function below undoes one optimisation


def every_gradient():
    """dW of frozen weights is computed too, as where nothing says that they are frozen."""
    linear_layer.without_frozen = lambda cache, W, bias: cache


class WithInput(LinearCache):
    """A cache that keeps x, whatever a backward needs."""


def every_input():
    """Every layer keeps its input."""
    original = Linear.forward

    def forward(self, x):
        y, cache = original(self, x)
        cache = WithInput(*cache)
        cache.input = x
        return y, cache

    Linear.forward = forward


def plain_gelu():
    """x**3; the slope is computed in the backward."""
    a, c = math.sqrt(2.0 / math.pi), 0.044715

    def forward(x):
        return 0.5 * x * (1.0 + numpy.tanh(a * (x + c * x**3))), (x,)

    def backward(dy, cache):
        (x,) = cache
        t = numpy.tanh(a * (x + c * x**3))
        return dy * (0.5 * (1.0 + t) + 0.5 * x * (1.0 - t**2) * a * (1.0 + 3.0 * c * x**2))

    activation.ACTIVATIONS["gelu_tanh"] = forward, backward


def plain_rows():
    """LayerNorm and softmax through mean, var and sum, and a new array for every step."""

    def layernorm_forward(x, gain, bias, eps):
        inv_std = 1.0 / numpy.sqrt(x.var(axis=-1, keepdims=True) + eps)
        xhat = (x - x.mean(axis=-1, keepdims=True)) * inv_std
        return xhat * gain + bias, LayerNormCache(xhat, inv_std, gain)

    def layernorm_backward(dy, cache):
        xhat, inv_std, gain, _ = cache
        dxhat = dy * gain
        mean = dxhat.mean(axis=-1, keepdims=True)
        return inv_std * (dxhat - mean - xhat * (dxhat * xhat).mean(axis=-1, keepdims=True)), None, None

    def softmax_of(x):
        exps = numpy.exp(x - x.max(axis=-1, keepdims=True))
        return exps / exps.sum(axis=-1, keepdims=True)

    layernorm.layernorm_forward, layernorm.layernorm_backward = layernorm_forward, layernorm_backward
    attention.softmax_inplace = softmax.softmax_inplace = softmax_of


def logits_of_all():
    """The head and the cross-entropy one after the other."""

    def loss_and_backward(model, batch, weight=1.0, rng=None):
        with adapter_dropout(model, rng):
            logits, cache = model.forward(batch.ids)
        loss, loss_cache = cross_entropy_forward(logits, batch.targets, batch.loss_mask)
        model.backward(cross_entropy_backward(weight, loss_cache), cache)
        return loss

    objective.loss_and_backward = loss_and_backward


def three_axes():
    """Products of (N, T, I) arrays with matrices, as one writes them down."""
    for module in (linear, lora_linear):
        module.rows = lambda x: x
        module.unrows = lambda y, shape: y
        module.rows_times_transposed = lambda x, W: x @ W.T

    def linear_backward(dy, cache):
        x, W, bias = cache
        dW = None if x is None else (dy.swapaxes(-1, -2) @ x).sum(axis=0)
        return dy @ W, dW, None if bias is None else dy.sum(axis=(0, 1))

    def lora_linear_backward(dy, cache):
        x, h, W, A, B, scale, _ = cache
        dh = scale * (dy @ B)
        dB = scale * (dy.swapaxes(-1, -2) @ h).sum(axis=0)
        dA = (dh.swapaxes(-1, -2) @ x).sum(axis=0)
        return dy @ W + dh @ A, dA, dB

    linear_layer.linear_backward, lora_layer.lora_linear_backward = linear_backward, lora_linear_backward


def no_blocks():
    """Elementwise formulas go over whole arrays."""
    chunks.L2_BYTES = sys.maxsize


def no_tiles():
    """Attention computes the upper triangle too."""
    attention_tiles.QUERIES = sys.maxsize


def new_memory():
    """Freed memory goes back to the system."""
    objective.retain_freed_memory = lambda: None


def one_thread():
    """The whole batch in one thread; BLAS has all cores."""
    for module in (threads, worker, objective, evaluation):
        module.one_blas_thread = contextlib.nullcontext
    original = worker.Worker.make
    worker.Worker.make = lambda self, threads, **arguments: original(self, threads=1, **arguments)


RUNGS = {  # what comes in, and what undoes it; in the order in which they come
    "plain NumPy": None,
    "no gradients of frozen weights": every_gradient,
    "GELU without powers": plain_gelu,
    "LayerNorm, softmax in fewer passes": plain_rows,
    "head and loss together": logits_of_all,
    "one product for all rows": three_axes,
    "frozen layers keep no input": every_input,
    "elementwise work in small pieces": no_blocks,
    "attention skips the future": no_tiles,
    "freed memory is used again": new_memory,
    "the batch shared by threads": one_thread,
}


def undo_after(rung):
    """Undo the optimisations of all rungs after this one."""
    undone = list(RUNGS.values())[int(rung) + 1 :]
    for undo in undone:
        undo()


def measure(shape_name, count):
    """Seconds of a step on every rung, as ratios to the first of the same round."""
    commands = {name: [sys.executable, __file__, "--worker", str(i)] for i, name in enumerate(RUNGS)}
    with contenders(commands) as started:
        turns = {}
        for name, contender in started.items():
            contender.ask("make", shape=asdict(SHAPES[shape_name]), method="lora", threads=threads.cores())
            contender.ask("train", n=1)
            n = max(1, round(0.4 / contender.ask("train", n=1)["seconds"]))
            turns[name] = lambda contender=contender, n=n: contender.ask("train", n=n)["seconds"] / n
        seconds = rounds(turns, count)
    first = seconds["plain NumPy"]
    return {
        name: {
            "seconds": median_and_range(values),
            "times_the_first": median_and_range([f / v for f, v in zip(first, values, strict=True)]),
        }
        for name, values in seconds.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="figures/latest")
    parser.add_argument("--shapes", default="S1,S2,S3")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--from-results", action="store_true", help="measure nothing: draw ladder.json")
    parser.add_argument("--worker", metavar="RUNG")
    options = parser.parse_args()
    if options.worker is not None:
        undo_after(options.worker)
        worker.main()
        return
    if options.from_results:
        record = json.loads((Path(options.out) / "ladder.json").read_text(encoding="utf-8"))
        plots.save(figures.ladder(record), Path(options.out) / "ladder.png")
        return
    results = {shape: measure(shape, options.rounds) for shape in options.shapes.split(",")}
    command = f"python tests/benchmarks/ladder.py --out {options.out} --rounds {options.rounds}"
    record = {"command": command, "provenance": provenance(), "rungs": results}
    write_json(Path(options.out) / "ladder.json", record)
    plots.save(figures.ladder(record), Path(options.out) / "ladder.png")
    for shape, rungs in results.items():
        for name, r in rungs.items():
            times = r["times_the_first"]
            print(
                f"{shape}  {name:36} {1e3 * r['seconds']['median']:8.1f} ms  {times['median']:.2f} "
                f"[{times['min']:.2f}, {times['max']:.2f}]"
            )


if __name__ == "__main__":
    main()

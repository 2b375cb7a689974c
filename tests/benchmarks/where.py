"""Where the time of a LoRA step goes: the seconds in each op, on one thread.

python tests/benchmarks/where.py --out figures/bench
"""

import argparse
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from types import FunctionType

from minilora.arrays.threads import one_blas_thread, retain_freed_memory
from minilora.experiments.bench.shapes import SHAPES
from minilora.experiments.bench.worker import Worker
from minilora.experiments.record import provenance
from minilora.files import write_json
from minilora.layers import activation
from minilora.training.objective import loss_and_backward

KINDS = {  # ops by what they are
    "products with W": ("linear_forward", "linear_backward"),
    "LoRA's linear, W included": ("lora_linear_forward", "lora_linear_backward"),
    "attention": ("attention_forward", "attention_backward"),
    "GELU": ("gelu_tanh_forward", "gelu_tanh_backward"),
    "LayerNorm": ("layernorm_forward", "layernorm_backward"),
    "head and loss": ("linear_cross_entropy_forward", "linear_cross_entropy_backward"),
}
CALLERS = ("minilora.layers.", "minilora.methods.", "minilora.models.")
REST = "the rest: embedding, sums, AdamW, Python"


def timed(function, seconds):
    """The function, whose time is added up by its name."""

    def wrapper(*args, **kwargs):
        started = time.perf_counter()
        result = function(*args, **kwargs)
        seconds[function.__name__] += time.perf_counter() - started
        return result

    return wrapper


def watch(seconds):
    """Let every layer and model call `timed` ops."""
    for module in [module for name, module in sys.modules.items() if name.startswith(CALLERS)]:
        for name, value in list(vars(module).items()):
            if isinstance(value, FunctionType) and value.__module__.startswith("minilora.ops."):
                setattr(module, name, timed(value, seconds))
    for name, pair in activation.ACTIVATIONS.items():
        activation.ACTIVATIONS[name] = tuple(timed(function, seconds) for function in pair)


def measure(shape_name, steps, seconds):
    """Milliseconds of a step in each kind of op, and in all."""
    worker = Worker()
    worker.make(asdict(SHAPES[shape_name]), "lora", threads=1)

    def step():
        worker.model.zero_grad()
        loss_and_backward(worker.model, worker.batch)
        worker.optimizer.step()

    step()
    seconds.clear()
    started = time.perf_counter()
    for _ in range(steps):
        step()
    total = time.perf_counter() - started
    spent = {kind: 1e3 * sum(seconds[name] for name in names) / steps for kind, names in KINDS.items()}
    return {**spent, REST: 1e3 * total / steps - sum(spent.values())}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="figures/latest")
    parser.add_argument("--shapes", default="S1,S2,S3")
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    seconds = Counter()
    watch(seconds)
    retain_freed_memory()
    with one_blas_thread():
        results = {shape: measure(shape, options.steps, seconds) for shape in options.shapes.split(",")}
    command = f"python tests/benchmarks/where.py --out {options.out}"
    write_json(Path(options.out) / "where.json", {"command": command, "provenance": provenance(), "ms": results})
    for shape, spent in results.items():
        for kind, ms in spent.items():
            print(f"{shape}  {kind:42} {ms:8.1f} ms  {100 * ms / sum(spent.values()):3.0f} %")


if __name__ == "__main__":
    main()

"""How the cost of a LoRA step grows with L, C, T, N and r: measured slopes next to those of the formula."""

import math
import sys
from dataclasses import asdict, replace

from tqdm import tqdm

from minilora.accounting import adaptation, architecture_of, memory_estimate
from minilora.experiments.bench.shapes import RANK, Shape, flops_of_step
from minilora.experiments.measure import median_and_range

BASE = Shape(L=4, C=256, T=128, N=8, V=256, H=4)
FACTORS = (0.5, 1, 2)
LETTERS = {"L": "layers", "C": "channels", "T": "positions", "N": "texts in a batch", "r": "rank of LoRA"}


def measure_scaling(contender, threads, count, seed=0):
    """Change one letter at a time by factors of two around S2, and fit the slope of log cost over log letter.

    Parameters
    ----------
    contender : Contender
        minilora's.
    threads, count, seed : int
        Threads, and rounds for each point; the seed of weights and token ids.

    Returns
    -------
    dict of str to dict
        By letter: `points`, a list of value, seconds (median, min, max), flops, activation bytes measured and by
        formula; and `slopes` of seconds, flops, bytes and bytes_formula.
    """
    results = {}
    letters = tqdm(LETTERS, "scaling", delay=2, leave=False, disable=sys.stderr is None)
    for letter in letters:
        points = []
        for factor in FACTORS:
            value = int(factor * (RANK if letter == "r" else getattr(BASE, letter)))
            shape, rank = (BASE, value) if letter == "r" else (replace(BASE, **{letter: value}), RANK)
            contender.ask("make", shape=asdict(shape), method="lora", threads=threads, rank=rank, seed=seed)
            contender.ask("train", n=1)
            points.append(
                {
                    "value": value,
                    "seconds": median_and_range([contender.ask("train", n=2)["seconds"] / 2 for _ in range(count)]),
                    "flops": flops_of_step(shape, "lora", rank),
                    "bytes": contender.ask("activations")["bytes"],
                    "bytes_formula": activation_bytes(shape, rank),
                }
            )
        results[letter] = {"points": points, "slopes": slopes(points)}
    return results


def slopes(points):
    """The least-squares slope of log cost over log value, of each cost."""
    costs = {name: [point[name] for point in points] for name in ("flops", "bytes", "bytes_formula")}
    costs["seconds"] = [point["seconds"]["median"] for point in points]
    x = [math.log(point["value"]) for point in points]
    x_mean = sum(x) / len(x)
    norm = sum((xi - x_mean) ** 2 for xi in x)
    return {
        name: sum((xi - x_mean) * math.log(y) for xi, y in zip(x, values, strict=True)) / norm
        for name, values in costs.items()
    }


def activation_bytes(shape, rank=RANK):
    """What a LoRA step on q_proj and v_proj keeps from its forward for its backward; see `accounting/costs.py`."""
    architecture = architecture_of(shape.config)
    lora = adaptation(architecture, "lora", rank=rank, targets=("q_proj", "v_proj"))
    return memory_estimate(architecture, lora, batch_size=shape.N, length=shape.T).activations

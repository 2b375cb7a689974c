"""W + delta_W, and W again."""

import numpy

from minilora.exercises.task import Task, named
from minilora.exercises.tasks.lora_linear_forward import matrices
from minilora.layers import Linear, LoRAFactors, LoRALinear
from minilora.parameter import Parameter

DIFFERING = "number of wrong entries in restored"


def points(rng):
    """W is large enough for rounding to show in some of its entries."""
    given = matrices(rng, (), O=12, I=9)
    return {"W of shape (12, 9)": {name: given[name] for name in ("W", "A", "B", "scale")}}


def answer(f, W, A, B, scale):
    merged, kept = named("merge", f.merge(W, A, B, scale), "merged", "kept").values()
    restored = numpy.asarray(f.unmerge(numpy.copy(merged), kept))
    differing = numpy.count_nonzero(restored != W) if restored.shape == W.shape else W.size
    return {"merged": merged, "restored": restored, DIFFERING: differing}


def merge(W, A, B, scale):
    """W + delta_W by the package's layer, and the W that it puts aside."""
    layer = LoRALinear(Linear(W))
    layer.adapters["default"], layer.active = LoRAFactors(Parameter(A), Parameter(B), scale), "default"
    layer.merge()
    return layer.base.W.data, W


def unmerge(merged, kept):
    return kept


MUTANTS = {
    "W + B A, without alpha / r": {"merge": lambda W, A, B, scale: (W + B @ A, W)},
    "W - scale B A; merging adds": {"merge": lambda W, A, B, scale: (W - scale * (B @ A), W)},
    "W: nothing was added to it": {"merge": lambda W, A, B, scale: (W.copy(), W)},
    "scale (W + B A); the scale is delta_W's alone": {"merge": lambda W, A, B, scale: (scale * (W + B @ A), W)},
    "what subtracting leaves: W + delta_W was rounded, and minus delta_W is not W to the bit": {
        "merge": lambda W, A, B, scale: (W + scale * (B @ A), scale * (B @ A)),
        "unmerge": lambda merged, kept: merged - kept,
    },
    "the merged W: nothing was taken out": {"unmerge": lambda merged, kept: merged},
}
TASK = Task({"merge": merge, "unmerge": unmerge}, points, answer, MUTANTS)

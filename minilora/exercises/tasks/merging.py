"""W + delta_W, and W again."""

from minilora.exercises.runner.calls import Call, Kept
from minilora.exercises.task import Task
from minilora.exercises.tasks.lora_linear_forward import matrices

SHAPES = ((12, 9, 3), (7, 11, 2), (8, 8, 3))  # O, I, r: W is large enough for rounding to show in some of its entries


def calls(rng):
    """All are merged before the first is taken out again: what is kept belongs to one W, not to the module."""
    where = {f"W of shape {(O, I)}": matrices(rng, (), O, I, r) for O, I, r in SHAPES}
    merged = [
        Call(what, "merge", {name: given[name] for name in ("W", "A", "B", "scale")}, ("merged", "kept"), ("kept",))
        for what, given in where.items()
    ]
    return merged + [
        Call(
            f"{call.where}, after all were merged",
            "unmerge",
            {"merged": Kept(i, "merged"), "kept": Kept(i, "kept")},
            ("restored",),
        )
        for i, call in enumerate(merged)
    ]


def merge(W, A, B, scale):
    return W + scale * (B @ A), W


def unmerge(merged, kept):
    return kept


def merged_as(change):
    return {"merge": lambda W, A, B, scale: (change(W, A, B, scale), W)}


MUTANTS = [
    ("W + B A, without alpha / r", merged_as(lambda W, A, B, scale: W + B @ A)),
    ("W - scale B A; merging adds", merged_as(lambda W, A, B, scale: W - scale * (B @ A))),
    ("W, without delta_W", merged_as(lambda W, A, B, scale: W.copy())),
    ("scale (W + B A); the scale is delta_W's alone", merged_as(lambda W, A, B, scale: scale * (W + B @ A))),
    ("scale W + B A; the scale is delta_W's", merged_as(lambda W, A, B, scale: scale * W + B @ A)),
    ("scale B A alone, without W", merged_as(lambda W, A, B, scale: scale * (B @ A))),
    ("W + B A / scale: scale multiplies", merged_as(lambda W, A, B, scale: W + B @ A / scale)),
    ("W + scale^2 B A", merged_as(lambda W, A, B, scale: W + scale**2 * (B @ A))),
    ("W * (scale B A), entry by entry: merging adds", merged_as(lambda W, A, B, scale: W * (scale * (B @ A)))),
    ("the merged W, not the frozen one", {"unmerge": lambda merged, kept: merged}),
    (
        "the merged W with delta_W added once more",
        {
            "merge": lambda W, A, B, scale: (W + scale * (B @ A), scale * (B @ A)),
            "unmerge": lambda merged, kept: merged + kept,
        },
    ),
    (
        "the merged W less B A, without the scale with which it was merged",
        {
            "merge": lambda W, A, B, scale: (W + scale * (B @ A), B @ A),
            "unmerge": lambda merged, kept: merged - kept,
        },
    ),
    (
        "delta_W, not W",
        {
            "merge": lambda W, A, B, scale: (W + scale * (B @ A), scale * (B @ A)),
            "unmerge": lambda merged, kept: kept,
        },
    ),
]
TASK = Task({"merge": merge, "unmerge": unmerge}, calls, MUTANTS, exact=("restored",))

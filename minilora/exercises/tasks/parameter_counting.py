"""How many numbers LoRA trains."""

from minilora.accounting import ARCHITECTURES
from minilora.exercises.runner.calls import Call
from minilora.exercises.task import Task

PUBLISHED = {
    "GPT-2 medium, W_q and W_v, r = 4": ("gpt2-medium", ("q_proj", "v_proj"), 4),
    "RoBERTa base, W_q and the first matrix of the MLP, r = 8": ("roberta-base", ("q_proj", "fc_in"), 8),
}


def calls(rng):
    models = {}
    for what, (name, targets, rank) in PUBLISHED.items():
        a = ARCHITECTURES[name]
        models[what] = ([tuple(a.linear_shapes[target]) for target in targets], a.n_layer, rank)
    for matrices in (1, 2, 3, 4):
        shapes = [tuple(int(side) for side in rng.integers(10, 90, 2)) for _ in range(matrices)]
        n_layer, rank = int(rng.integers(2, 40)), int(rng.integers(2, 9))
        models[f"shapes = {shapes}, n_layer = {n_layer}, rank = {rank}"] = shapes, n_layer, rank
    counts = [
        Call(
            what, "lora_parameters", dict(zip(("shapes", "n_layer", "rank"), given, strict=True)), ("lora_parameters",)
        )
        for what, given in models.items()
    ]
    return counts + [
        Call(f"O = {O}, I = {I}", "largest_saving_rank", {"O": O, "I": I}, ("largest_saving_rank",))
        for O, I in sides(rng)
    ]


def sides(rng):
    """O and I: square, wide and tall, some of which have a rank at which A and B hold just as many numbers as W."""
    even, a, b, k = 2 * int(rng.integers(5, 50)), *(int(n) for n in rng.integers([2, 7, 2], [6, 12, 5]))
    wide, tall = uneven(rng, 0.6, 0.9), uneven(rng, 0.1, 0.4)
    same = k * a * (a + b), k * b * (a + b)
    return [(even, even), (even + 1, even + 1), same, same[::-1], wide, tall[::-1]]


def uneven(rng, low, high):
    """A wide shape whose O I / (O + I) is a fraction from low to high above a whole number."""
    while True:
        O, I = (int(n) for n in rng.integers([20, 200], [90, 400]))
        if low <= O * I / (O + I) % 1.0 <= high:
            return O, I


def lora_parameters(shapes, n_layer, rank):
    return n_layer * sum(rank * (O + I) for O, I in shapes)


def largest_saving_rank(O, I):
    """By trying."""
    return max(r for r in range(min(O, I)) if r * (O + I) < O * I)


def counting(each):
    """A wrong count, from what one matrix is said to have."""
    return {"lora_parameters": lambda shapes, n_layer, rank: n_layer * sum(each(O, I, rank) for O, I in shapes)}


def saving(rank):
    return {"largest_saving_rank": rank}


MUTANTS = [
    (
        "the one of a single block: every block has matrices of its own",
        {"lora_parameters": lambda shapes, n_layer, rank: lora_parameters(shapes, 1, rank)},
    ),
    ("the numbers in A alone: B is trained too", counting(lambda O, I, r: r * I)),
    ("the numbers in B alone: A is trained too", counting(lambda O, I, r: r * O)),
    ("the numbers in delta_W: it is never stored, A and B are", counting(lambda O, I, r: O * I)),
    ("the one with W counted as well: it is frozen", counting(lambda O, I, r: O * I + r * (O + I))),
    ("the one with a bias for each matrix: LoRA has none", counting(lambda O, I, r: r * (O + I) + O)),
    ("2 r I for each matrix, which is right for square ones alone", counting(lambda O, I, r: 2 * r * I)),
    ("2 r O for each matrix, which is right for square ones alone", counting(lambda O, I, r: 2 * r * O)),
    (
        "the product r I times O r; the two arrays are counted one after the other",
        counting(lambda O, I, r: r * I * O * r),
    ),
    (
        "the count of the first matrix of each block alone",
        {"lora_parameters": lambda shapes, n_layer, rank: lora_parameters(shapes[:1], n_layer, rank)},
    ),
    (
        "the one with n_layer for the last matrix alone: all are in every block",
        {
            "lora_parameters": lambda shapes, n_layer, rank: (
                lora_parameters(shapes[:-1], 1, rank) + lora_parameters(shapes[-1:], n_layer, rank)
            )
        },
    ),
    (
        "O I / (O + I) rounded down, at which A and B may hold as many numbers as W",
        saving(lambda O, I: O * I // (O + I)),
    ),
    (
        "O I / (O + I) rounded up: A and B then hold as many numbers as W, or more",
        saving(lambda O, I: -(-O * I // (O + I))),
    ),
    ("O I / (O + I) rounded down, less 1", saving(lambda O, I: O * I // (O + I) - 1)),
    ("half the smaller side, which is too few where W is not square", saving(lambda O, I: (min(O, I) - 1) // 2)),
    ("the smaller side, less 1: the largest rank that is not full", saving(lambda O, I: min(O, I) - 1)),
]
TASK = Task(
    {"lora_parameters": lora_parameters, "largest_saving_rank": largest_saving_rank},
    calls,
    MUTANTS,
    bound=0.0,
    whole=("lora_parameters", "largest_saving_rank"),
)

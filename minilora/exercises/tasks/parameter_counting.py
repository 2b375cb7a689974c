"""How many numbers LoRA trains."""

from minilora.accounting import ARCHITECTURES, adaptation
from minilora.exercises.task import Task

CASES = {
    "GPT-2 medium, W_q and W_v, r = 4": ("gpt2-medium", ("q_proj", "v_proj"), 4),
    "RoBERTa base, W_q and the first matrix of the MLP, r = 8": ("roberta-base", ("q_proj", "fc_in"), 8),
    "GPT-3, W_q, r = 64": ("gpt3-175b", ("q_proj",), 64),
}


def points(rng):
    """Nothing is random here."""
    return {what: dict(zip(("architecture", "targets", "rank"), case, strict=True)) for what, case in CASES.items()}


def answer(f, architecture, targets, rank):
    a = ARCHITECTURES[architecture]
    shapes = [a.linear_shapes[name] for name in targets]
    return {
        "lora_parameters": f.lora_parameters(shapes, a.n_layer, rank),
        "largest_saving_rank": f.largest_saving_rank(*shapes[-1]),
    }


def lora_parameters(shapes, n_layer, rank):
    """The package's count for the architecture that has these matrices."""
    for architecture, targets, r in CASES.values():
        a = ARCHITECTURES[architecture]
        if (shapes, n_layer, rank) == ([a.linear_shapes[name] for name in targets], a.n_layer, r):
            return adaptation(a, "lora", rank=rank, targets=targets).trainable
    raise ValueError(f"no case has {n_layer} blocks with {shapes}")


def largest_saving_rank(O, I):
    """By trying."""
    return max(r for r in range(min(O, I)) if r * (O + I) < O * I)


MUTANTS = {
    "the one of a single block: every block has matrices of its own": {
        "lora_parameters": lambda shapes, n_layer, rank: lora_parameters(shapes, n_layer, rank) // n_layer
    },
    "the numbers in A alone: B is trained too": {
        "lora_parameters": lambda shapes, n_layer, rank: n_layer * sum(rank * I for O, I in shapes)
    },
    "the numbers in delta_W: it is never stored, A and B are": {
        "lora_parameters": lambda shapes, n_layer, rank: n_layer * sum(O * I for O, I in shapes)
    },
    "2 d r for each matrix, which is right for square ones alone": {
        "lora_parameters": lambda shapes, n_layer, rank: n_layer * sum(2 * I * rank for O, I in shapes)
    },
    "the count of a single matrix in each block": {
        "lora_parameters": lambda shapes, n_layer, rank: n_layer * sum(rank * side for side in shapes[0])
    },
    "the rank at which A and B hold as many numbers as W: nothing is saved there": {
        "largest_saving_rank": lambda O, I: O * I // (O + I)
    },
    "half the smaller side, which is right for square matrices alone": {
        "largest_saving_rank": lambda O, I: min(O, I) // 2 - 1
    },
}
TASK = Task(
    {"lora_parameters": lora_parameters, "largest_saving_rank": largest_saving_rank}, points, answer, MUTANTS, bound=0.0
)

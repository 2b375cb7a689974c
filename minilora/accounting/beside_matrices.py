"""What LoRA and what came after it train beside the matrices that they adapt; see `adaptations.py`."""

from collections.abc import Iterable
from dataclasses import replace

from minilora.accounting.architectures import Architecture
from minilora.accounting.settings import OUTSIDE, Adaptation, Settings, check, check_targets


def inputs(a: Architecture, targets: Iterable[str]) -> int:
    """How many values per token keeps in a block for the dW, or dA, of these linear maps: their inputs.

    q_proj, k_proj and v_proj read one array. A Llama only keeps what o_proj reads; what the others read is made again
    (`layers/made_again.py`).
    """
    C, F, adapted = a.d_model, a.d_mlp, set(targets)
    of_o = a.n_head * a.head_size if "o_proj" in adapted else 0
    if a.gated:
        return of_o
    of_qkv = C if {"q_proj", "k_proj", "v_proj"} & adapted else 0
    return of_qkv + of_o + C * ("fc_in" in adapted) + F * ("fc_out" in adapted)


def lora(a: Architecture, s: Settings) -> Adaptation:
    """r (O + I) for each adapted matrix; a token keeps what they read, and the r values of x A^T for each.

    The token embedding, "wte", and a head that is not tied to it, "lm_head", are there once: r (V + C) each. A lookup
    in A is no product.
    """
    outside = [name for name in OUTSIDE if name == "wte" or f"{name}.W" in a.shapes]
    check_targets(s.targets, [*a.linear_shapes, *outside])
    shapes = [a.linear_shapes[name] for name in s.targets if name not in OUTSIDE]
    once = s.rank * (a.vocab_size + a.d_model)
    check("rank", s.rank, 1, min(min(shape) for shape in [*shapes, (a.vocab_size, a.d_model)]))
    of_blocks = a.n_layer * sum(s.rank * (O + I) for O, I in shapes)
    n_outside = len(s.targets) - len(shapes)
    kept = a.n_layer * (inputs(a, s.targets) + len(shapes) * s.rank) + n_outside * s.rank
    of_head = once * ("lm_head" in s.targets)
    return Adaptation(0, of_blocks + n_outside * once, 0, of_blocks + of_head, a.n_layer, kept)


def dora(a: Architecture, s: Settings) -> Adaptation:
    """LoRA's, and a magnitude for each of the O rows of W; a token also keeps the O values that these scale."""
    check_targets(s.targets, a.linear_shapes)
    rows = a.n_layer * sum(a.linear_shapes[name][0] for name in s.targets)
    of_lora = lora(a, s)
    return of_lora._replace(added=of_lora.added + rows, kept=of_lora.kept + rows)


def lora_ga(a: Architecture, s: Settings) -> Adaptation:
    """LoRA's; and the frozen W_res beside each W, with A0 and B0 as they were at the start."""
    check_targets(s.targets, a.linear_shapes)
    of_lora = lora(a, s)
    frozen = a.n_layer * sum(O * I for O, I in (a.linear_shapes[name] for name in s.targets))
    return of_lora._replace(held=frozen + of_lora.added)


def lora_fa(a: Architecture, s: Settings) -> Adaptation:
    """LoRA's B; A is held, and multiplied with, but of what a matrix reads only the r values of x A^T are kept."""
    check_targets(s.targets, a.linear_shapes)
    of_lora = lora(a, s)
    of_A = a.n_layer * sum(s.rank * a.linear_shapes[name][1] for name in s.targets)
    of_B, kept = of_lora.added - of_A, a.n_layer * len(s.targets) * s.rank
    return Adaptation(0, of_B, 0, of_B, a.n_layer, kept, held=of_A, constant_matrices=of_A)


def vera(a: Architecture, s: Settings) -> Adaptation:
    """d and b for each adapted matrix; A and B, as wide as the widest, are held once, and multiplied with everywhere.

    A token keeps h = x A^T, r values, and v, O, for each.
    """
    check_targets(s.targets, a.linear_shapes)
    shapes, r = [a.linear_shapes[name] for name in s.targets], s.vera_rank
    vectors = a.n_layer * sum(r + O for O, _ in shapes)
    multiplied = a.n_layer * sum(r * (O + I) for O, I in shapes)
    held = r * (max(O for O, _ in shapes) + max(I for _, I in shapes))
    return Adaptation(0, vectors, 0, 0, a.n_layer, kept=vectors, held=held, constant_matrices=multiplied)


def adalora(a: Architecture, s: Settings) -> Adaptation:
    """LoRA's at the initial rank, and a singular value for each triplet; pruned ones are 0, and held all the same."""
    check_targets(s.targets, a.linear_shapes)
    of_lora = lora(a, replace(s, rank=s.initial_rank))
    return of_lora._replace(added=of_lora.added + a.n_layer * len(s.targets) * s.initial_rank)

"""What a method trains, in numbers, and the settings that decide it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from minilora.accounting.architectures import GATED_TARGETS, TARGETS

OUTSIDE = ("wte", "lm_head")  # what LoRA can adapt besides the blocks: the token embedding, and a head of its own


class Adaptation(NamedTuple):
    """What is trained, in numbers (not bytes)."""

    own: int  # parameters of the model itself
    added: int  # new parameters
    own_matrices: int  # numbers of the model's matrices that get a dW
    added_matrices: int  # those of `added` that do
    depth: int  # number of blocks that the backward goes through, from the top
    kept: int = 0  # values that each token keeps for the gradients of what is trained
    prefix: int = 0  # positions that come in addition to the text's
    held: int = 0  # values that a step holds besides all parameters
    constant_matrices: int = 0  # numbers of new matrices that are multiplied with, and never get a dW

    @property
    def trainable(self) -> int:
        """|Theta|."""
        return self.own + self.added


@dataclass(frozen=True)
class Settings:
    """The settings of all methods; each uses its own.

    Parameters
    ----------
    rank : int
        r of lora (also with a prefix), lora-fa and dora.
    targets : sequence of str
        The matrices that these and random-subspace adapt, any of q_proj, k_proj, v_proj, o_proj, fc_in, fc_out; or, in
        a Llama, gate_proj, up_proj and down_proj in place of the last two. Those of ia3 are k_proj and v_proj, if not
        given.
    feedforward : sequence of str, optional
        The matrices whose inputs ia3 scales; fc_out or down_proj, if not given.
    prompt_length : int
        n of prompt-tuning.
    tokens : sequence of int
        The ids of trainable-tokens.
    blocks : int
        k of top-k.
    size : int
        r of the adapters.
    leave_out : int
        How many of the lowest blocks have no adapter in adapter-d.
    before, after : int
        l_p and l_i of the prefixes.
    dimension : int
        d of random-subspace.
    vera_rank : int
        r of vera.
    initial_rank : int
        r of adalora, before anything is pruned.
    """

    rank: int = 8
    targets: Sequence[str] = ("q_proj", "v_proj")
    feedforward: Sequence[str] | None = None
    prompt_length: int = 20
    tokens: Sequence[int] = (0,)
    blocks: int = 2
    size: int = 8
    leave_out: int = 1
    before: int = 5
    after: int = 5
    dimension: int = 1000
    vera_rank: int = 256
    initial_rank: int = 12

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", tuple(dict.fromkeys(self.targets)))
        for name in ("rank", "blocks", "size", "dimension", "prompt_length", "vera_rank", "initial_rank"):
            check(name, getattr(self, name), 1)
        for name in ("leave_out", "before", "after"):
            check(name, getattr(self, name), 0)
        if self.before + self.after == 0:
            raise ValueError("before and after were 0; at least one of them must be above 0")
        check_targets(self.targets, dict.fromkeys((*TARGETS, *GATED_TARGETS, *OUTSIDE)))


def check_targets(targets: Sequence[str], possible: Iterable[str]) -> None:
    if not targets or not set(targets) <= set(possible):
        raise ValueError(f"targets was {targets}; each must be one of {', '.join(possible)}")


def check(name: str, value: Any, least: int, most: int | None = None) -> None:
    if not isinstance(value, int) or value < least or (most is not None and value > most):
        limits = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name} was {value!r}; it must be an integer {limits}")

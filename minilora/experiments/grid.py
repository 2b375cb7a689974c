"""Layers as a table: a row for each block, and a column for each kind of matrix in it."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

IN_BLOCK = re.compile(r"(?:(.*?)\.)?([0-9]{1,9})\.(.+)", re.DOTALL)  # blocks.3.attn.q_proj: blocks, 3, attn.q_proj

ORDER = (
    *("c_attn", "attn_qkv", "q_proj", "query", "attn_q", "k_proj", "key", "attn_k", "v_proj", "value", "attn_v"),
    *("o_proj", "attn.c_proj", "attn_output", "gate_proj", "ffn_gate", "up_proj", "ffn_up", "fc_in", "c_fc"),
    *("down_proj", "ffn_down", "fc_out", "mlp.c_proj"),
)  # of minilora's, PEFT's and llama.cpp's names


class Place(NamedTuple):
    """Where a matrix stands."""

    block: int
    kind: str  # the shortest end of its name that tells it from the block's other matrices


def places(names: Iterable[str]) -> dict[str, Place | None]:
    """The place of each matrix, by its name; None for one that is in no block, such as a head.

    The first number in a name is the block's. Kinds are the ends of what follows: q_proj, or 7.w1 where w1 alone is in
    several experts; and where two stacks have the same kinds, as an encoder and a decoder in one model have, what
    stands before the number comes first.
    """
    found = {name: IN_BLOCK.fullmatch(name) for name in names}
    stems = dict.fromkeys((match[1] or "", match[3]) for match in found.values() if match)
    used = Counter(end for _, rest in stems for end in _ends(rest))
    kinds = {
        stem: next((end for end in _ends(stem[1]) if used[end] == 1), f"{stem[0]}: {stem[1]}".removeprefix(": "))
        for stem in stems
    }
    return {
        name: Place(int(match[2]), kinds[match[1] or "", match[3]]) if match else None for name, match in found.items()
    }


def in_order(kinds: Iterable[str]) -> list[str]:
    """Each kind once, in the order in which a block computes; those that are not known come last."""
    return sorted(dict.fromkeys(kinds), key=lambda kind: ORDER.index(kind) if kind in ORDER else len(ORDER))


def _ends(name: str) -> list[str]:
    """proj, attn.proj and a longer one, and the whole name."""
    parts = name.split(".")
    return list(dict.fromkeys([*(".".join(parts[-n:]) for n in (1, 2, 3)), name]))

"""The prefix's choice (`ops/prefix.py`): its gradient is summed as an embedding's is (`ops/fast/embedding.py`)."""

from minilora.arrays.backend import Array, get_xp
from minilora.arrays.reductions import scatter_add
from minilora.ops import prefix as page
from minilora.ops.plain import engine_of
from minilora.ops.prefix import PrefixCache
from minilora.ops.rows import rows


@engine_of(page.prefix_backward)
def prefix_backward(dy: Array, cache: PrefixCache) -> tuple[Array, Array]:
    slots, P = cache
    xp, (S, C) = get_xp(dy=dy, P=P), P.shape
    dx = dy * (slots < 0)[..., None]  # (..., C)
    dP = xp.zeros((S + 1, C), dtype=P.dtype)  # the last row collects everything outside the prefix
    scatter_add(dP, xp.where(slots >= 0, slots, S).reshape(-1), rows(dy))
    return dx, dP[:S]

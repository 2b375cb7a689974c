"""LoRA on an embedding (`ops/lora_embedding.py`): its gradient is summed as an embedding's is (`embedding.py`)."""

from minilora.arrays.backend import Array, get_xp
from minilora.arrays.reductions import scatter_add
from minilora.ops import lora_embedding as page
from minilora.ops.lora_embedding import LoRAEmbeddingCache
from minilora.ops.plain import engine_of
from minilora.ops.rows import rows


@engine_of(page.lora_embedding_backward)
def lora_embedding_backward(dy: Array, cache: LoRAEmbeddingCache) -> tuple[Array, Array]:
    ids, h, A, B, scale = cache
    dy = rows(dy)
    dB = scale * (dy.T @ rows(h))  # (C, r)
    dA = get_xp(dy=dy, A=A).zeros(A.shape[::-1], A.dtype)  # (V, r)
    scatter_add(dA, ids.reshape(-1), scale * (dy @ B))
    return dA.T, dB

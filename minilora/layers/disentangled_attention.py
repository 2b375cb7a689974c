"""DeBERTa's self-attention: the query and key projections act on tokens and on relative embeddings alike.

    q, k, v      = q_proj(x), k_proj(x), v_proj(x)          (N, T, C)
    q_rel, k_rel = q_proj(relative), k_proj(relative)       (M, C), shared by all sequences
    y            = o_proj(disentangled_attention(q, k, v, q_rel, k_rel))

A weight that is used twice gets the sum of two gradients: the parameters of q_proj and k_proj get one from the tokens
and one from the relative embeddings. v_proj and o_proj act only on tokens.
"""

from typing import Any, NamedTuple

from minilora.arrays.backend import Array
from minilora.layers.attention import merge_heads, split_heads
from minilora.layers.linear import Linear
from minilora.ops.fast import (
    DisentangledAttentionCache,
    disentangled_attention_backward,
    disentangled_attention_forward,
)
from minilora.parameter import Module


class DisentangledSelfAttentionCache(NamedTuple):
    q_proj: Any
    k_proj: Any
    v_proj: Any
    q_proj_rel: Any
    k_proj_rel: Any
    core: DisentangledAttentionCache
    o_proj: Any

    @property
    def probs(self) -> Array:
        """Who looks at whom: (N, H, T, T); each row sums to 1, and a padded query's to 0."""
        return self.core.probs


class DisentangledSelfAttention(Module):
    """(N, T, C) -> (N, T, C), with (M, C) relative embeddings as a second input.

    Parameters
    ----------
    q_proj, k_proj, v_proj, o_proj : Linear, C -> C
    n_head : int
        H, which divides C.
    """

    def __init__(self, q_proj: Linear, k_proj: Linear, v_proj: Linear, o_proj: Linear, n_head: int) -> None:
        self.q_proj = q_proj
        self.k_proj = k_proj
        self.v_proj = v_proj
        self.o_proj = o_proj
        self.n_head = n_head

    def forward(
        self, x: Array, relative: Array, distance_rows: Array, padding_mask: Array | None = None
    ) -> tuple[Array, DisentangledSelfAttentionCache]:
        """(N, T, C) -> (N, T, C).

        Parameters
        ----------
        x : ndarray of shape (N, T, C)
        relative : ndarray of shape (M, C)
        distance_rows : integer ndarray of shape (2 T + 1,)
            The row of `relative` for each distance from -T to T.
        padding_mask : boolean ndarray of shape (N, T), optional
            False for padding.
        """
        q, q_cache = self.q_proj.forward(x)  # (N, T, C) -> (N, T, C), as k and v
        k, k_cache = self.k_proj.forward(x)
        v, v_cache = self.v_proj.forward(x)
        q_rel, q_rel_cache = self.q_proj.forward(relative)  # (M, C) -> (M, C), as k_rel
        k_rel, k_rel_cache = self.k_proj.forward(relative)
        q, k, v = (split_heads(a, self.n_head) for a in (q, k, v))  # (N, T, C) -> (N, H, T, K)
        q_rel, k_rel = (split_heads(a[None], self.n_head)[0] for a in (q_rel, k_rel))  # (M, C) -> (H, M, K)
        y, core = disentangled_attention_forward(q, k, v, q_rel, k_rel, distance_rows, padding_mask)  # (N, H, T, K)
        y, o_cache = self.o_proj.forward(merge_heads(y))  # (N, T, C)
        return y, DisentangledSelfAttentionCache(q_cache, k_cache, v_cache, q_rel_cache, k_rel_cache, core, o_cache)

    def backward(self, dy: Array, cache: DisentangledSelfAttentionCache) -> tuple[Array, Array]:
        """(N, T, C) -> (N, T, C), (M, C): dx and drelative"""
        # forward: y = o_proj(merge_heads(attention(q, k, v, q_rel, k_rel)))   so
        dy = split_heads(self.o_proj.backward(dy, cache.o_proj), self.n_head)  # (N, T, C) -> (N, H, T, K)
        dq, dk, dv, dq_rel, dk_rel = disentangled_attention_backward(dy, cache.core)
        dq, dk, dv = (merge_heads(d) for d in (dq, dk, dv))  # (N, H, T, K) -> (N, T, C)
        dq_rel, dk_rel = (merge_heads(d[None])[0] for d in (dq_rel, dk_rel))  # (H, M, K) -> (M, C)
        # forward: q = q_proj(x), k = k_proj(x), v = v_proj(x)   so   three gradients reach one x
        dx = self.q_proj.backward(dq, cache.q_proj)
        dx += self.k_proj.backward(dk, cache.k_proj)
        dx += self.v_proj.backward(dv, cache.v_proj)
        # forward: q_rel = q_proj(relative), k_rel = k_proj(relative)   so
        drelative = self.q_proj.backward(dq_rel, cache.q_proj_rel)
        drelative += self.k_proj.backward(dk_rel, cache.k_proj_rel)
        return dx, drelative

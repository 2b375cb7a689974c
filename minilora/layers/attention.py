"""Multi-head self-attention with separate projections W_q, W_k, W_v, W_o, each of which can be adapted by itself."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from minilora.arrays.backend import Array
from minilora.layers.linear import Linear
from minilora.ops.fast import attention_backward, attention_forward, rope_backward, rope_forward
from minilora.parameter import Module


def split_heads(x: Array, H: int) -> Array:
    """(N, T, H K) -> (N, H, T, K), a view"""
    N, T, HK = x.shape
    return x.reshape(N, T, H, HK // H).transpose(0, 2, 1, 3)


def merge_heads(x: Array) -> Array:
    """(N, H, T, K) -> (N, T, H K)"""
    N, H, T, K = x.shape
    return x.transpose(0, 2, 1, 3).reshape(N, T, H * K)


class KeyValueCache:
    """The keys and values of all positions so far, for one layer, so that generation need not recompute them.

    Parameters
    ----------
    keys, values : ndarray of shape (N, G, length, K)
        Memory for the longest sequence, to be filled by `append`.
    """

    def __init__(self, keys: Array, values: Array) -> None:
        self.keys = keys
        self.values = values
        self.length = 0

    def append(self, k: Array, v: Array) -> tuple[Array, Array]:
        """Keep k and v, (N, G, T_q, K), of the next T_q positions; return those of all T, (N, G, T, K)."""
        start, self.length = self.length, self.length + k.shape[2]
        self.keys[:, :, start : self.length] = k
        self.values[:, :, start : self.length] = v
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]


class SelfAttentionCache(NamedTuple):
    q_proj: Any
    k_proj: Any
    v_proj: Any
    core: Any  # an AttentionCache, the page's or the engine's
    o_proj: Any
    rope: Any = None  # a RopeCache, of q and of k alike; None without a rotation

    @property
    def probs(self) -> Array:
        """Who looks at whom: (N, H, T_q, T); each row sums to 1, and that of a query that sees no key to 0."""
        return self.core.probs


class SelfAttention(Module):
    """y = o_proj(attention(rope(q_proj(x)), rope(k_proj(x)), v_proj(x))), where only some models rotate.

    Parameters
    ----------
    q_proj : Linear, C -> H K
    k_proj, v_proj : Linear, C -> G K
    o_proj : Linear, H K -> C
    n_head : int
        H.
    causal : bool
        If True, as in a decoder, a position sees itself and earlier ones; in an encoder it sees all.
    n_kv_head : int, optional
        G, which divides H: query head h reads key-value head h // (H / G). H, if not given.
    """

    def __init__(
        self,
        q_proj: Linear,
        k_proj: Linear,
        v_proj: Linear,
        o_proj: Linear,
        n_head: int,
        causal: bool = True,
        n_kv_head: int | None = None,
    ) -> None:
        self.q_proj = q_proj
        self.k_proj = k_proj
        self.v_proj = v_proj
        self.o_proj = o_proj
        self.n_head = n_head
        self.n_kv_head = n_head if n_kv_head is None else n_kv_head
        self.causal = causal

    def forward(
        self,
        x: Array,
        past: KeyValueCache | None = None,
        padding_mask: Array | None = None,
        *,
        rotation: tuple[Array, Array] | None = None,
        text_lengths: Sequence[Sequence[int]] | None = None,
    ) -> tuple[Array, SelfAttentionCache]:
        """(N, T, C) -> (N, T, C).

        With `past`, a KeyValueCache, x continues the positions that it holds. Positions where `padding_mask`, boolean
        (N, T), is False are not seen. `rotation`, cos and sin of `rope_table`, rotates queries and keys. Row n holds
        several texts, of text_lengths[n]; none of them sees another.
        """
        q, q_cache = self.q_proj.forward(x)  # (N, T, C) -> (N, T, H K)
        k, k_cache = self.k_proj.forward(x)  # (N, T, C) -> (N, T, G K)
        v, v_cache = self.v_proj.forward(x)  # (N, T, C) -> (N, T, G K)
        q = split_heads(q, self.n_head)  # (N, T, H K) -> (N, H, T, K)
        k, v = (split_heads(a, self.n_kv_head) for a in (k, v))  # (N, T, G K) -> (N, G, T, K)
        rope = None
        if rotation is not None:
            q, rope = rope_forward(q, *rotation)  # (N, H, T, K)
            k, _ = rope_forward(k, *rotation)  # (N, G, T, K)
        if past is not None:
            k, v = past.append(k, v)  # (N, G, T, K), of earlier positions too
        y, core = attention_forward(q, k, v, padding_mask, causal=self.causal, text_lengths=text_lengths)
        y, o_cache = self.o_proj.forward(merge_heads(y))  # (N, H, T, K) -> (N, T, H K) -> (N, T, C)
        return y, SelfAttentionCache(q_cache, k_cache, v_cache, core, o_cache, rope)

    def backward(self, dy: Array, cache: SelfAttentionCache) -> Array:
        """(N, T, C) -> (N, T, C)"""
        if cache.core.k.shape[2] != dy.shape[1]:
            raise ValueError("cache was made with past; only a whole sequence can be differentiated")
        # forward: y = o_proj(merge_heads(attention(q, k, v)))   so
        dy = split_heads(self.o_proj.backward(dy, cache.o_proj), self.n_head)  # (N, T, C) -> (N, H, T, K)
        dq, dk, dv = attention_backward(dy, cache.core)  # (N, H, T, K), and twice (N, G, T, K)
        if cache.rope is not None:
            # forward: q = rope(q), k = rope(k)   so   both are rotated back
            dq, dk = (rope_backward(d, cache.rope) for d in (dq, dk))
        # forward: q = q_proj(x), k = k_proj(x), v = v_proj(x)   so   three gradients reach one x
        dx = self.q_proj.backward(merge_heads(dq), cache.q_proj)
        dx += self.k_proj.backward(merge_heads(dk), cache.k_proj)
        dx += self.v_proj.backward(merge_heads(dv), cache.v_proj)
        return dx

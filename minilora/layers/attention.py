"""Multi-head self-attention with separate projections W_q, W_k, W_v, W_o, each of which can be adapted by itself."""

from typing import Any, NamedTuple

from minilora.arrays.backend import Array
from minilora.layers.linear import Linear
from minilora.ops.fast import attention_backward, attention_forward
from minilora.parameter import Module


def split_heads(x: Array, H: int) -> Array:
    """(N, T, C) -> (N, H, T, K), a view"""
    N, T, C = x.shape
    return x.reshape(N, T, H, C // H).transpose(0, 2, 1, 3)


def merge_heads(x: Array) -> Array:
    """(N, H, T, K) -> (N, T, C)"""
    N, H, T, K = x.shape
    return x.transpose(0, 2, 1, 3).reshape(N, T, H * K)


class KeyValueCache:
    """The keys and values of all positions so far, for one layer, so that generation need not recompute them.

    Parameters
    ----------
    keys, values : ndarray of shape (N, H, n_positions, K)
        Memory for the longest sequence, to be filled by `append`.
    """

    def __init__(self, keys: Array, values: Array) -> None:
        self.keys = keys
        self.values = values
        self.length = 0

    def append(self, k: Array, v: Array) -> tuple[Array, Array]:
        """Keep k and v, (N, H, T_q, K), of the next T_q positions; return those of all T, (N, H, T, K)."""
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

    @property
    def probs(self) -> Array:
        """Who looks at whom: (N, H, T_q, T), each row sums to 1."""
        return self.core.probs


class SelfAttention(Module):
    """y = o_proj(attention(q_proj(x), k_proj(x), v_proj(x))).

    Parameters
    ----------
    q_proj, k_proj, v_proj, o_proj : Linear, C -> C
    n_head : int
        H, which divides C.
    causal : bool
        If True, as in a decoder, a position sees itself and earlier ones; in an encoder it sees all.
    """

    def __init__(
        self, q_proj: Linear, k_proj: Linear, v_proj: Linear, o_proj: Linear, n_head: int, causal: bool = True
    ) -> None:
        self.q_proj = q_proj
        self.k_proj = k_proj
        self.v_proj = v_proj
        self.o_proj = o_proj
        self.n_head = n_head
        self.causal = causal

    def forward(
        self, x: Array, past: KeyValueCache | None = None, padding_mask: Array | None = None
    ) -> tuple[Array, SelfAttentionCache]:
        """(N, T, C) -> (N, T, C).

        With `past`, a KeyValueCache, x continues the positions that it holds. Positions where `padding_mask`, boolean
        (N, T), is False are not seen.
        """
        q, q_cache = self.q_proj.forward(x)  # (N, T, C) -> (N, T, C), as k and v
        k, k_cache = self.k_proj.forward(x)
        v, v_cache = self.v_proj.forward(x)
        q, k, v = (split_heads(a, self.n_head) for a in (q, k, v))  # (N, T, C) -> (N, H, T, K)
        if past is not None:
            k, v = past.append(k, v)
        y, core = attention_forward(q, k, v, padding_mask, causal=self.causal)  # (N, H, T, K)
        y, o_cache = self.o_proj.forward(merge_heads(y))  # (N, T, C)
        return y, SelfAttentionCache(q_cache, k_cache, v_cache, core, o_cache)

    def backward(self, dy: Array, cache: SelfAttentionCache) -> Array:
        """(N, T, C) -> (N, T, C)"""
        if cache.core.k.shape[2] != dy.shape[1]:
            raise ValueError("cache was made with past; only a whole sequence can be differentiated")
        # forward: y = o_proj(merge_heads(attention(q, k, v)))   so
        dy = split_heads(self.o_proj.backward(dy, cache.o_proj), self.n_head)  # (N, T, C) -> (N, H, T, K)
        dq, dk, dv = (merge_heads(d) for d in attention_backward(dy, cache.core))  # (N, H, T, K) -> (N, T, C)
        # forward: q = q_proj(x), k = k_proj(x), v = v_proj(x)   so   three gradients reach one x
        dx = self.q_proj.backward(dq, cache.q_proj)
        dx += self.k_proj.backward(dk, cache.k_proj)
        dx += self.v_proj.backward(dv, cache.v_proj)
        return dx

"""GPT-2's architecture: learned positions, pre-LN blocks, and a head that is tied to the token embedding."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy

from minilora.arrays.backend import get_xp, on_host
from minilora.layers import MLP, Block, KeyValueCache, Prefix, SelfAttention
from minilora.layers.block import BlockCache
from minilora.models.initial import NewLayers
from minilora.models.model import lowest_to_differentiate
from minilora.models.shape import check_eps, check_heads, check_ids, check_sizes
from minilora.ops.fast import (
    EmbeddingCache,
    LayerNormCache,
    LinearCache,
    LinearCrossEntropyCache,
    PrefixCache,
    check_targets,
    linear_cross_entropy_backward,
    linear_cross_entropy_forward,
    linear_dW,
    linear_dx,
    linear_forward,
    rows,
)
from minilora.parameter import Module


@dataclass(frozen=True)
class GPTConfig:
    """The shape of a GPT.

    Parameters
    ----------
    vocab_size : int
        V.
    n_positions : int
        The longest sequence, T.
    n_layer : int
        L.
    d_model : int
        C.
    n_head : int
        H, which divides C.
    d_mlp : int, optional
        F; 4 C if not given.
    layer_norm_eps : float
    """

    vocab_size: int
    n_positions: int
    n_layer: int
    d_model: int
    n_head: int
    d_mlp: int | None = None
    layer_norm_eps: float = 1e-5

    def __post_init__(self):
        check_sizes(self, ("vocab_size", "n_positions", "n_layer", "d_model", "n_head"))
        if self.d_mlp is None:
            object.__setattr__(self, "d_mlp", 4 * self.d_model)
        check_sizes(self, ("d_mlp",))
        check_eps(self)
        check_heads(self)


class GPTCache(NamedTuple):
    wte: EmbeddingCache
    wpe: EmbeddingCache
    blocks: tuple[BlockCache, ...]
    ln_f: LayerNormCache
    head: LinearCache | None = None  # `hidden` has no head
    prefix: tuple[PrefixCache | None, ...] = ()  # one a block; None where the prefix replaces nothing


class GPTLossCache(NamedTuple):
    hidden: GPTCache
    counted: Any  # (M,) the positions that count, of N T; None if all do
    head: LinearCrossEntropyCache


class GPT(Module):
    """A decoder: ``logits, cache = model.forward(ids)``, then ``model.backward(dlogits, cache)``.

    Parameters
    ----------
    config : GPTConfig
    rng : numpy.random.Generator
        Weights are N(0, 0.02^2), those that end in the residual stream N(0, 0.02^2 / 2L), as GPT-2's.
    dtype : str
    device : {"cpu", "gpu", "auto"}

    Attributes
    ----------
    prefix : Prefix
        Trainable tokens with ids from V upwards; at first there are none. `loss` and `generate` put them in.
    """

    def __init__(self, config, rng, *, dtype="float32", device="cpu"):
        self.config = config
        C, F, eps = config.d_model, config.d_mlp, config.layer_norm_eps
        residual_std = 0.02 / math.sqrt(2 * config.n_layer)
        new = NewLayers(rng, dtype, device)

        def block():
            projections = *(new.linear(C, C) for _ in range(3)), new.linear(C, C, residual_std)
            attn = SelfAttention(*projections, config.n_head)
            mlp = MLP(new.linear(C, F), new.linear(F, C, residual_std))
            return Block(new.layernorm(C, eps), attn, new.layernorm(C, eps), mlp)

        self.wte = new.embedding(config.vocab_size, C)
        self.wpe = new.embedding(config.n_positions, C)
        self.blocks = [block() for _ in range(config.n_layer)]
        self.ln_f = new.layernorm(C, eps)
        self.prefix = Prefix([], 0, 0, config.vocab_size)
        self.name_parameters()

    @property
    def longest_input(self):
        """How many tokens a sequence may have: n_positions, less those of a prefix."""
        return self.config.n_positions - self.prefix.length

    def forward(self, ids, rng=None, past=None):
        """Logits for the token after each position.

        Parameters
        ----------
        ids : integer ndarray of shape (N, T)
        rng : numpy.random.Generator, optional
            Draws dropout, where an adapter has it. Without one there is no dropout.
        past : list of KeyValueCache, optional
            From `new_past`: `ids` continues the positions that it holds, and is added to it.

        Returns
        -------
        logits : ndarray of shape (N, T, V)
        cache : GPTCache
            Every intermediate value, by name: ``cache.blocks[1].attn.probs``.

        Raises
        ------
        ValueError
            If an id is out of range, the sequence too long, or `ids` on another device than the model.
        """
        x, cache = self.hidden(ids, rng, past)  # (N, T, C)
        logits, head_cache = linear_forward(x, self.wte.W.data)  # (N, T, C) -> (N, T, V)
        return logits, cache._replace(head=head_cache)

    def hidden(self, ids, rng=None, past=None):
        """What the head reads: (N, T) -> (N, T, C). Arguments and cache are those of `forward`, but for the head."""
        xp = get_xp(ids=ids, **{"the model": self.wte.W.data})
        start = past[0].length if past else 0
        self._check_ids(ids, start)
        if past and len(past) != len(self.blocks):
            raise ValueError(f"past was made for {len(past)} layers; the model has {len(self.blocks)}")
        if past and past[0].keys.shape[0] != len(ids):
            raise ValueError(f"past was made for {past[0].keys.shape[0]} sequences; ids had {len(ids)}")
        positions = xp.arange(start, start + ids.shape[1])
        tokens, wte_cache = self.wte.forward(self.prefix.known_ids(ids))  # (N, T) -> (N, T, C)
        tokens, prefix_cache = self.prefix.forward(tokens, ids, stage=0)
        places, wpe_cache = self.wpe.forward(positions)  # (T,) -> (T, C)
        x = tokens + places
        block_caches, prefix_caches = [], [prefix_cache]
        for i, block in enumerate(self.blocks):
            if i > 0:
                x, prefix_cache = self.prefix.forward(x, ids, stage=i)
                prefix_caches.append(prefix_cache)
            x, block_cache = block.forward(x, rng, past[i] if past else None)  # (N, T, C)
            block_caches.append(block_cache)
        x, ln_f_cache = self.ln_f.forward(x)
        return x, GPTCache(wte_cache, wpe_cache, tuple(block_caches), ln_f_cache, prefix=tuple(prefix_caches))

    def loss(self, ids, targets, mask, rng=None, need_grad=True):
        """The objective (the paper's equation 2): the mean of -log p(target) over the positions that count.

        The same as `forward` and `cross_entropy_forward`, but for what nobody needs: logits are computed where the
        mask is True only, and never of all positions at once.

        Parameters
        ----------
        ids, targets : integer ndarray of shape (N, T), on the host
        mask : boolean ndarray of shape (N, T), on the host
            True where a position counts. If none does, the loss is 0.
        rng : numpy.random.Generator, optional
            Draws dropout, where an adapter has it.
        need_grad : bool
            Whether `backward_loss` will be called.

        Returns
        -------
        loss : array scalar, in nats
        cache : GPTLossCache
        """
        for name, array in (("targets", targets), ("mask", mask)):
            if array.shape != ids.shape:
                raise ValueError(f"{name} had shape {array.shape}; ids had {ids.shape}")
        check_targets(targets, self.config.vocab_size)
        ids, targets, mask = self.prefix.insert(ids, targets, mask)
        x, cache = self.hidden(self.place_ids(ids), rng)  # (N, T, C)
        counted = None if mask.all() else self.xp.asarray(numpy.flatnonzero(mask))  # (M,)
        targets = self.xp.asarray(targets[mask])  # (M,)
        x = rows(x) if counted is None else rows(x)[counted]  # (M, C)
        need_dW = need_grad and self.wte.W.trainable
        loss, head_cache = linear_cross_entropy_forward(x, self.wte.W.data, targets, need_grad, need_dW)
        return loss, GPTLossCache(cache, counted, head_cache)

    def backward(self, dlogits, cache):
        """Add into the gradient of every trainable parameter; go no deeper than the lowest one."""
        if self.wte.W.trainable:
            self.wte.W.accumulate(linear_dW(dlogits, cache.head))
        self.backward_hidden(linear_dx(dlogits, cache.head), cache)  # (N, T, V) -> (N, T, C)

    def backward_loss(self, dloss, cache):
        """The same for a cache of `loss`; dloss is a Python float."""
        dx, dW = linear_cross_entropy_backward(dloss, cache.head)
        if dW is not None:
            self.wte.W.accumulate(dW)
        shape = cache.hidden.ln_f.xhat.shape
        if cache.counted is not None:
            # forward: x = rows(x)[counted]   so   every other row has gradient zero
            dx_all = self.xp.zeros((shape[0] * shape[1], shape[2]), dtype=dx.dtype)
            dx_all[cache.counted] = dx
            dx = dx_all
        self.backward_hidden(dx.reshape(shape), cache.hidden)

    def backward_hidden(self, dx, cache):
        """The same for the gradient of `hidden`'s result, (N, T, C)."""
        embeddings = self.wte.trainable or self.wpe.trainable or self.prefix.trainable
        dx = self.ln_f.backward(dx, cache.ln_f)
        for i in reversed(range(lowest_to_differentiate(self.blocks, embeddings), len(self.blocks))):
            dx = self.blocks[i].backward(dx, cache.blocks[i])
            if i > 0:
                dx = self.prefix.backward(dx, cache.prefix[i], stage=i)
        if embeddings:
            # forward: x = wte[ids] + wpe[positions]   so   dx reaches both; positions are shared by all N sequences
            self.wpe.backward(dx.sum(axis=0), cache.wpe)
            self.wte.backward(self.prefix.backward(dx, cache.prefix[0], stage=0), cache.wte)

    def new_past(self, N):
        """Empty memory for the keys and values of N sequences, one KeyValueCache a layer, for `forward`."""
        c, W = self.config, self.wte.W.data
        xp = get_xp(W=W)
        shape = (N, c.n_head, c.n_positions, c.d_model // c.n_head)
        return [KeyValueCache(xp.empty(shape, W.dtype), xp.empty(shape, W.dtype)) for _ in self.blocks]

    def place_ids(self, ids):
        """Token ids from the host, checked, where the model lives.

        They are looked at here because looking at them on a GPU would make every step wait for it.
        """
        if not on_host(ids):
            raise ValueError("ids lived on a device already; they must be a NumPy array")
        self._check_ids(ids, start=0)
        return self.xp.asarray(ids)

    def _check_ids(self, ids, start):
        limit, added = self.config.n_positions, self.prefix.length
        check_ids(ids, self.config.vocab_size + added)
        if start + ids.shape[1] > limit:
            of_prefix = f", {added} of them the prefix's" if added else ""
            raise ValueError(f"ids made a sequence of {start + ids.shape[1]} tokens{of_prefix}; n_positions is {limit}")
        self.prefix.check(ids, start)

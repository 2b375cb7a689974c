"""GPT-2's architecture: learned positions, pre-LN blocks, and a head that is tied to the token embedding."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy

from minilora.arrays.backend import Array, check_same_device, get_xp
from minilora.layers import MLP, Block, KeyValueCache, SelfAttention
from minilora.layers.block import BlockCache
from minilora.layers.linear import without_frozen
from minilora.models.checks import check_field, check_ids, check_on_host
from minilora.models.config import ModelConfig
from minilora.models.initial import Initializer, Uninitialized
from minilora.models.model import Model, fields_of, lowest_to_differentiate
from minilora.ops.fast import (
    EmbeddingCache,
    LayerNormCache,
    LinearCrossEntropyCache,
    TakeRowsCache,
    check_targets,
    linear_backward,
    linear_cross_entropy_backward,
    linear_cross_entropy_forward,
    linear_forward,
    take_rows_backward,
    take_rows_forward,
)

if TYPE_CHECKING:
    from minilora.data import LMBatch


@dataclass(frozen=True, kw_only=True)
class GPTConfig(ModelConfig):
    """The shape of a GPT: the fields of ModelConfig, and one more.

    Parameters
    ----------
    n_positions : int
        The longest sequence, T.
    """

    n_positions: int

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_sizes("n_positions")


class GPTCache(NamedTuple):
    wte: EmbeddingCache
    wpe: EmbeddingCache
    blocks: tuple[BlockCache, ...]
    ln_f: LayerNormCache
    head: Any = None  # a LinearCache; `hidden` has no head


class GPTLossCache(NamedTuple):
    hidden: GPTCache
    rows: TakeRowsCache  # the positions that count
    head: LinearCrossEntropyCache


class GPT(Model):
    """A decoder: ``logits, cache = model.forward(ids)``, then ``model.backward(dlogits, cache)``.

    Parameters
    ----------
    config : GPTConfig
    rng : numpy.random.Generator
        Weights are N(0, 0.02^2), and N(0, 0.02^2 / 2L) where they write to the residual stream, as in GPT-2.
    dtype : str
    device : {"cpu", "gpu", "auto"}
    """

    config: GPTConfig

    def __init__(
        self,
        config: GPTConfig,
        rng: numpy.random.Generator | Uninitialized,
        *,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> None:
        self.config = config
        C, F, eps = config.d_model, config.d_mlp, config.layer_norm_eps
        residual_std = 0.02 / math.sqrt(2 * config.n_layer)
        new = Initializer(rng, dtype, device)

        def block() -> Block:
            q, k, v = (new.linear(C, C) for _ in range(3))
            attn = SelfAttention(q, k, v, new.linear(C, C, residual_std), config.n_head)
            mlp = MLP(new.linear(C, F), new.linear(F, C, residual_std), "gelu_tanh")
            return Block(new.layernorm(C, eps), attn, new.layernorm(C, eps), mlp)

        self.wte = new.embedding(config.vocab_size, C)
        self.wpe = new.embedding(config.n_positions, C)
        self.blocks = [block() for _ in range(config.n_layer)]
        self.ln_f = new.layernorm(C, eps)
        self.name_parameters()

    def forward(self, ids: Array, past: list[KeyValueCache] | None = None) -> tuple[Array, GPTCache]:
        """Logits for the token after each position.

        Parameters
        ----------
        ids : integer ndarray of shape (N, T)
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
        x, cache = self.hidden(ids, past)  # (N, T, C)
        logits, head_cache = linear_forward(x, self.wte.W.data)  # (N, T, C) -> (N, T, V)
        return logits, cache._replace(head=without_frozen(head_cache, self.wte.W))

    def hidden(self, ids: Array, past: list[KeyValueCache] | None = None) -> tuple[Array, GPTCache]:
        """What the head reads: (N, T) -> (N, T, C). Arguments and cache are those of `forward`, without the head."""
        start = self.first_position(ids, past)
        tokens, wte_cache = self.wte.forward(ids)  # (N, T) -> (N, T, C)
        pos_emb, wpe_cache = self.wpe.forward(self.xp.arange(start, start + ids.shape[1]))  # (T,) -> (T, C)
        x, block_caches = tokens + pos_emb, []
        for i, block in enumerate(self.blocks):
            x, block_cache = block.forward(x, past[i] if past else None)  # (N, T, C)
            block_caches.append(block_cache)
        x, ln_f_cache = self.ln_f.forward(x)
        return x, GPTCache(wte_cache, wpe_cache, tuple(block_caches), ln_f_cache)

    def first_position(self, ids: Array, past: list[KeyValueCache] | None = None) -> int:
        """The position of the first of `ids`, after what `past` holds; ValueError if they do not fit together."""
        check_same_device(ids=ids, **{"the model": self.wte.W.data})
        start = past[0].length if past else 0
        self.check_inputs(ids, start=start)
        if past and len(past) != len(self.blocks):
            raise ValueError(f"past was made for {len(past)} layers; the model has {len(self.blocks)}")
        if past and past[0].keys.shape[0] != len(ids):
            raise ValueError(f"past was made for {past[0].keys.shape[0]} sequences; ids had {len(ids)}")
        return start

    def read_batch(self, batch: "LMBatch") -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
        """The ids, targets and loss_mask of an LMBatch, checked."""
        ids, targets, loss_mask = fields_of(batch, "ids", "targets", "loss_mask")
        check_on_host("ids", ids)
        check_ids(ids, self.config.vocab_size)
        check_field("targets", targets, ids.shape, "integers")
        check_field("loss_mask", loss_mask, ids.shape, "booleans")
        check_targets(targets, self.config.vocab_size)
        return ids, targets, loss_mask

    def read_prompt(self, prompt: numpy.ndarray) -> numpy.ndarray:
        """The tokens, (T,), that the model reads before it continues a prompt: here, the prompt itself."""
        return prompt

    def loss(self, batch: "LMBatch", *, need_grad: bool = True) -> tuple[Array, GPTLossCache]:
        """The objective (the paper's equation 2): the mean of -log p(target) over the positions that count.

        It equals `forward` and `cross_entropy_forward`, but computes logits only where loss_mask is True, and never for
        all positions at once.

        Parameters
        ----------
        batch : LMBatch
            ids and targets, integers (N, T), and loss_mask, booleans (N, T), True where a position counts: on the host.
            If no position counts, the loss is 0.
        need_grad : bool
            Whether `backward_loss` will be called.

        Returns
        -------
        loss : array scalar, in nats
        cache : GPTLossCache

        Raises
        ------
        TypeError, ValueError
            If the batch is of another kind, or a field of another type, shape or range.
        """
        ids, targets, loss_mask = self.read_batch(batch)
        xp = self.xp
        x, cache = self.hidden(xp.asarray(ids))  # (N, T, C)
        x, rows_cache = take_rows_forward(x, xp.asarray(numpy.flatnonzero(loss_mask)))  # (N, T, C) -> (M, C)
        targets = xp.asarray(targets[loss_mask])  # (M,)
        need_dW = need_grad and self.wte.W.trainable
        loss, head_cache = linear_cross_entropy_forward(x, self.wte.W.data, targets, need_grad, need_dW)
        return loss, GPTLossCache(cache, rows_cache, head_cache)

    def backward(self, dlogits: Array, cache: GPTCache) -> None:
        """Add to the gradient of every trainable parameter, going no deeper than the lowest one."""
        # forward: logits = x @ wte.T   so
        dx, dW, _ = linear_backward(dlogits, cache.head)  # (N, T, V) -> (N, T, C)
        self.wte.W.accumulate(dW)
        self.backward_hidden(dx, cache)

    def backward_loss(self, dloss: float, cache: GPTLossCache) -> None:
        """Backward of `loss`: add dloss * d(loss)/dp to every trainable p.grad; dloss is a Python float."""
        dx, dW = linear_cross_entropy_backward(dloss, cache.head)
        self.wte.W.accumulate(dW)
        self.backward_hidden(take_rows_backward(dx, cache.rows), cache.hidden)  # (M, C) -> (N, T, C)

    def backward_hidden(self, dx: Array, cache: GPTCache) -> None:
        """Backward of `hidden`: add to every trainable p.grad, given the gradient of its result, (N, T, C)."""
        embeddings = self.wte.trainable or self.wpe.trainable
        dx = self.ln_f.backward(dx, cache.ln_f)
        lowest = lowest_to_differentiate(self.blocks, embeddings)
        for block, block_cache in reversed([*zip(self.blocks, cache.blocks, strict=True)][lowest:]):
            dx = block.backward(dx, block_cache)
        if embeddings:
            # forward: x = wte[ids] + wpe[positions]   so   dx reaches both; positions are shared by all N sequences
            self.wpe.backward(dx.sum(axis=0), cache.wpe)
            self.wte.backward(dx, cache.wte)

    def new_past(self, N: int) -> list[KeyValueCache]:
        """Empty memory for the keys and values of N sequences, one KeyValueCache per layer, for `forward`."""
        c, W = self.config, self.wte.W.data
        xp = get_xp(W=W)
        shape = (N, c.n_head, c.n_positions, c.d_model // c.n_head)
        return [KeyValueCache(xp.empty(shape, W.dtype), xp.empty(shape, W.dtype)) for _ in self.blocks]

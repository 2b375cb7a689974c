"""What GPT and Llama have in common: blocks that look back only, and a head that says what comes next.

    x      = hidden(ids)                   (N, T) -> (N, T, C), each model's own: embeddings, blocks, a last norm
    logits = x W^T                         (N, T, C) -> (N, T, V), W the head's, or the token embedding's (a tied head)

A row can hold several texts, one after another (`text_lengths`): each is read by itself, from position 0.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy

from minilora.arrays.backend import Array, check_same_device
from minilora.layers import Embedding, KeyValueCache, Linear
from minilora.models.checks import check_field, check_ids, check_on_host
from minilora.models.model import Model, fields_of, lowest_to_differentiate
from minilora.models.recompute import backward_block, run_block
from minilora.ops.fast import (
    TakeRowsCache,
    check_targets,
    cross_entropy_backward,
    cross_entropy_forward,
    episode_weights,
    linear_cross_entropy_backward,
    linear_cross_entropy_forward,
    take_rows_backward,
    take_rows_forward,
)
from minilora.ops.text_lengths import check_text_lengths

if TYPE_CHECKING:
    from minilora.data import EpisodeBatch, LMBatch

TextLengths = Sequence[Sequence[int]] | None
Cache = TypeVar("Cache")  # what `hidden` keeps: a GPTCache or a LlamaCache


class HeadLossCache(NamedTuple):
    logits: Any  # what the head's forward keeps
    cross_entropy: Any


class DecoderLossCache(NamedTuple):
    hidden: Any  # a GPTCache or a LlamaCache
    rows: TakeRowsCache  # the positions that count
    head: Any  # a LinearCrossEntropyCache; of a head that is more than x W^T, a HeadLossCache


class Decoder(Model, Generic[Cache]):
    """A decoder: ``logits, cache = model.forward(ids)``, then ``model.backward(dlogits, cache)``.

    A subclass has `hidden` and `backward_hidden`, for which `run_blocks` and `backward_blocks` are there.
    """

    reads_several_texts = True

    config: Any  # a GPTConfig or LlamaConfig
    wte: Embedding
    blocks: list[Any]
    hidden: Callable[..., tuple[Array, Cache]]
    backward_hidden: Callable[[Array, Cache], None]

    @property
    def head(self) -> Any:
        """The Linear, C -> V, that gives the logits. A tied one holds the very Parameter of the token embedding."""
        return Linear(self.wte.W)

    def forward(
        self, ids: Array, past: list[KeyValueCache] | None = None, text_lengths: TextLengths = None
    ) -> tuple[Array, Cache]:
        """Logits for the token after each position.

        Parameters
        ----------
        ids : integer ndarray of shape (N, T)
        past : list of KeyValueCache, optional
            From `new_past`: `ids` continues the positions that it holds, and is added to it.
        text_lengths : sequence of N sequences of int, optional
            Row n holds texts of these lengths, which sum to T; each is read by itself. If not given, a row is one text.

        Returns
        -------
        logits : ndarray of shape (N, T, V)
        cache : GPTCache or LlamaCache
            Every intermediate value, by name: ``cache.blocks[1].attn.probs``.

        Raises
        ------
        ValueError
            If an id is out of range, the sequence too long, or `ids` on another device than the model; or if the
            lengths do not fit the rows, or come together with a past.
        """
        x, cache = self.hidden(ids, past, text_lengths)  # (N, T, C)
        logits, head_cache = self.head.forward(x)  # (N, T, C) -> (N, T, V)
        return logits, cache._replace(head=head_cache)  # type: ignore[attr-defined]

    def backward(self, dlogits: Array, cache: Cache) -> None:
        """Add to the gradient of every trainable parameter, going no deeper than the lowest one."""
        dx = self.head.backward(dlogits, cache.head)  # type: ignore[attr-defined]  # (N, T, V) -> (N, T, C)
        self.backward_hidden(dx, cache)

    def loss(self, batch: "LMBatch | EpisodeBatch", *, need_grad: bool = True) -> tuple[Array, DecoderLossCache]:
        """The objective (the paper's equation 2): the mean of -log p(target) over the positions that count.

        Of an EpisodeBatch, the loss whose gradient is the policy gradient (`ops/policy_gradient.py`).

        It equals `forward` and `cross_entropy_forward`, but computes logits only where loss_mask is True, and never for
        all positions at once.

        Parameters
        ----------
        batch : LMBatch or EpisodeBatch
            ids and targets, integers (N, T), and loss_mask, booleans (N, T), True where a position counts: on the host.
            If no position counts, the loss is 0. Its text_lengths, if it has any, are those of `forward`; its
            advantages, if it has any, are floats (N,).
        need_grad : bool
            Whether `backward_loss` will be called.

        Returns
        -------
        loss : array scalar, in nats
        cache : DecoderLossCache

        Raises
        ------
        TypeError, ValueError
            If the batch is of another kind, or a field of another type, shape or range.
        """
        ids, targets, loss_mask = self.read_batch(batch)
        xp, weight = self.xp, self.read_weights(batch, loss_mask)
        x, cache = self.hidden(xp.asarray(ids), text_lengths=getattr(batch, "text_lengths", None))  # (N, T, C)
        x, rows_cache = take_rows_forward(x, xp.asarray(numpy.flatnonzero(loss_mask)))  # (N, T, C) -> (M, C)
        targets, head = xp.asarray(targets[loss_mask]), self.head  # (M,)
        head_cache: Any
        if (W := head.only_W) is not None:
            loss, head_cache = linear_cross_entropy_forward(
                x, W.data, targets, need_grad, need_grad and W.trainable, weight
            )
        else:
            logits, logits_cache = head.forward(x)  # (M, C) -> (M, V)
            loss, loss_cache = cross_entropy_forward(logits, targets, weight=weight)
            head_cache = HeadLossCache(logits_cache, loss_cache)
        return loss, DecoderLossCache(cache, rows_cache, head_cache)

    def backward_loss(self, dloss: float, cache: DecoderLossCache) -> None:
        """Backward of `loss`: add dloss * d(loss)/dp to every trainable p.grad; dloss is a Python float."""
        if isinstance(cache.head, HeadLossCache):
            dx = self.head.backward(cross_entropy_backward(dloss, cache.head.cross_entropy), cache.head.logits)
        else:
            if self.head.only_W is None:
                raise ValueError("cache was of a loss before the head was adapted; it must be of the model as it is")
            dx, dW = linear_cross_entropy_backward(dloss, cache.head)
            self.head.only_W.accumulate(dW)
        self.backward_hidden(take_rows_backward(dx, cache.rows), cache.hidden)  # (M, C) -> (N, T, C)

    def run_blocks(self, x: Array, past: list[KeyValueCache] | None = None, **attention: Any) -> tuple[Array, tuple]:
        """All blocks, one after another: (N, T, C) -> (N, T, C), and a cache for each.

        `attention` is what the attention of every block takes next to x and the past, such as text_lengths.
        """
        caches = []
        for i in range(len(self.blocks)):
            x, cache = self.run_one(i, x, past, **attention)  # (N, T, C)
            caches.append(cache)
        return x, tuple(caches)

    def run_one(self, i: int, x: Array, past: list[KeyValueCache] | None, **attention: Any) -> tuple[Array, Any]:
        """Block i: (N, T, C) -> (N, T, C), and its cache."""
        if past:  # it grows, so there is no second forward
            return self.blocks[i].forward(x, past[i], **attention)
        return run_block(self, self.blocks[i], x, **attention)

    def backward_blocks(self, dx: Array, caches: tuple, below: bool) -> Array:
        """Backward of `run_blocks`, down to the lowest block that needs it; `below`: or through all of them."""
        lowest = lowest_to_differentiate(self.blocks, below)
        for block, cache in reversed([*zip(self.blocks, caches, strict=True)][lowest:]):
            dx = backward_block(block, dx, cache)
        return dx

    def positions(self, ids: Array, past: list[KeyValueCache] | None = None, text_lengths: TextLengths = None) -> Array:
        """The position of each token in its text: (T,), after what `past` holds; with `text_lengths`, (N, T).

        Raises
        ------
        ValueError
            If the ids, the past and the lengths do not fit each other or the model.
        """
        start = self.first_position(ids, past, text_lengths)
        if text_lengths is None:
            return self.xp.arange(start, start + ids.shape[1])
        rows = [numpy.concatenate([numpy.arange(length) for length in lengths]) for lengths in text_lengths]
        return self.xp.asarray(numpy.stack(rows))

    def first_position(
        self, ids: Array, past: list[KeyValueCache] | None = None, text_lengths: TextLengths = None
    ) -> int:
        """The position of the first of `ids`, after what `past` holds; ValueError if they do not fit together."""
        check_same_device(ids=ids, **{"the model": self.wte.W.data})
        start = past[0].length if past else 0
        self.check_inputs(ids, start=start, text_lengths=text_lengths)
        if not past:
            return start
        N, room, stop = past[0].keys.shape[0], past[0].keys.shape[2], start + ids.shape[1]
        if len(past) != len(self.blocks):
            raise ValueError(f"past was made for {len(past)} layers; the model has {len(self.blocks)}")
        if len(ids) != N:
            raise ValueError(f"past was made for {N} sequences; ids had {len(ids)}")
        if stop > room:
            raise ValueError(f"past was made for {room} positions; ids made a sequence of {stop} tokens")
        if text_lengths is not None:
            raise ValueError("text_lengths came with a past; a row that is continued must be one text")
        return start

    def check_inputs(self, ids: Array, *, start: int = 0, text_lengths: TextLengths = None) -> None:
        """Raise ValueError unless `forward` can take these ids after `start` earlier positions."""
        if text_lengths is None:
            return super().check_inputs(ids, start=start)
        check_ids(ids, self.config.vocab_size)
        check_text_lengths(text_lengths, *ids.shape)
        longest = max((max(lengths) for lengths in text_lengths), default=0)
        if longest > self.longest_input:
            raise ValueError(f"text_lengths had a text of {longest} tokens; n_positions is {self.longest_input}")

    def read_batch(self, batch: "LMBatch | EpisodeBatch") -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
        """The ids, targets and loss_mask of a batch, checked."""
        ids, targets, loss_mask = fields_of(batch, "ids", "targets", "loss_mask")
        check_on_host("ids", ids)
        check_ids(ids, self.config.vocab_size)
        check_field("targets", targets, ids.shape, "integers")
        check_field("loss_mask", loss_mask, ids.shape, "booleans")
        check_targets(targets, self.config.vocab_size)
        return ids, targets, loss_mask

    def read_weights(self, batch: "LMBatch | EpisodeBatch", loss_mask: numpy.ndarray) -> Array | None:
        """The weight of each position that counts, (M,), from the advantages of an EpisodeBatch; otherwise None."""
        if not hasattr(batch, "advantages"):
            return None
        (advantages,) = fields_of(batch, "advantages")
        check_field("advantages", advantages, loss_mask.shape[:1], "floats")
        return self.xp.asarray(episode_weights(advantages, loss_mask)[loss_mask])

    def read_prompt(self, prompt: numpy.ndarray) -> numpy.ndarray:
        """The tokens, (T,), that the model reads before it continues a prompt: here, the prompt itself."""
        return prompt

    def new_past(self, N: int, length: int | None = None) -> list[KeyValueCache]:
        """Empty memory for the keys and values of N sequences, one KeyValueCache per layer, for `forward`.

        Parameters
        ----------
        N : int
        length : int, optional
            The most positions that it will hold; n_positions, if not given.
        """
        W = self.wte.W.data
        shape = (N, *self.keys_shape(self.config.n_positions if length is None else length))
        return [KeyValueCache(self.xp.empty(shape, W.dtype), self.xp.empty(shape, W.dtype)) for _ in self.blocks]

    def keys_shape(self, length: int) -> tuple[int, int, int]:
        """The shape of a layer's keys, and of its values, for one sequence of this length: (G, length, K)."""
        c = self.config
        return c.n_head, length, c.d_model // c.n_head

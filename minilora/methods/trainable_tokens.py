"""Trainable tokens: the embeddings of a few tokens are trained, and everything else is frozen.

    E'[v] = P[s]     for v = tokens[s]         P (S, C), which starts as E[tokens]
    E'[v] = E[v]     for every other token

This is for tokens that are new to a model, such as a chat template's, or that should mean something else: S C numbers,
where training the whole embedding takes V C. If the head is tied, E' is read by both, and P gets the sum of two
gradients; LoRA on the embedding (`lora/embedding.py`) adapts the lookup alone. PEFT calls it trainable tokens, too.

The model starts as its base: to the bit, or with a tied head, whose products with P are taken apart, to rounding.
The lookup is `ops/prefix.py`, a choice between two arrays; the tied head is `ops/linear_rows.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from minilora.arrays.backend import Array, to_numpy
from minilora.limits import shown
from minilora.methods.lora.embedding import LoRAEmbedding, has_tied_head, token_embeddings
from minilora.methods.selection import copies, new_parameters
from minilora.methods.state import NamedAdapter, adapters_of
from minilora.methods.switching import (
    add_adapter,
    base_in_place,
    base_parameters,
    check_new_name,
    remove_adapter,
    set_adapter,
)
from minilora.models import GPT, Llama
from minilora.ops.fast import linear_rows_backward, linear_rows_forward, prefix_backward, prefix_forward
from minilora.parameter import Module, Parameter


@dataclass(frozen=True)
class TrainableTokensConfig:
    """Which tokens are trained.

    Parameters
    ----------
    tokens : sequence of int
        Their ids, each once.
    """

    tokens: Sequence[int] = (0,)

    def __post_init__(self) -> None:
        ids = list(self.tokens) if isinstance(self.tokens, (list, tuple)) else []
        right = all(isinstance(i, int) and not isinstance(i, bool) and i >= 0 for i in ids)
        if not ids or not right or len(set(ids)) < len(ids):
            raise ValueError(f"tokens was {shown(self.tokens)}; it must be several ids from 0 upwards, each once")
        object.__setattr__(self, "tokens", tuple(ids))


class TokenRows(Module):
    """An Embedding some of whose rows are trained.

    Parameters
    ----------
    base : Embedding
    P : Parameter of shape (S, C)
    tokens : integer ndarray of shape (S,)
    """

    def __init__(self, base: Any, P: Parameter, tokens: Array) -> None:
        self.base, self.P, self.tokens = base, P, tokens
        self.slots = base.xp.full(len(base.W.data), -1)  # (V,): s for a trained token, -1 for any other
        self.slots[tokens] = base.xp.arange(len(tokens))

    @property
    def W(self) -> Parameter:
        """The base's E, (V, C), which does not change."""
        return self.base.W

    def forward(self, ids: Array) -> tuple[Array, Any]:
        """Integers (...) -> (..., C)"""
        return prefix_forward(self.base.forward(ids)[0], self.P.data, self.slots[ids])

    def backward(self, dy: Array, cache: Any) -> None:
        """Add to P's gradient; E is frozen, and ids have none."""
        self.P.accumulate(prefix_backward(dy, cache)[1])


class TokenRowsHead(Module):
    """The head that is tied to a TokenRows: logits = x E'^T, (..., C) -> (..., V)."""

    only_W = None  # E' is no Parameter

    def __init__(self, embedding: TokenRows) -> None:
        self.embedding = embedding

    def forward(self, x: Array) -> tuple[Array, Any]:
        """(..., C) -> (..., V)"""
        e = self.embedding
        return linear_rows_forward(x, e.W.data, e.P.data, e.tokens)

    def backward(self, dy: Array, cache: Any) -> Array:
        """(..., V) -> (..., C)"""
        dx, dP = linear_rows_backward(dy, cache)
        self.embedding.P.accumulate(dP)
        return dx

    def products(self) -> tuple[list[tuple[Array, ...]], None]:
        """([(E',)], None), a new array; see `Linear.products`."""
        E = self.embedding.W.data.copy()
        E[self.embedding.tokens] = self.embedding.P.data
        return [(E,)], None


class TiedRows:
    """A decoder with a tied head, while some of its tokens are trained."""

    wte: Any

    @property
    def head(self) -> Any:
        """The TokenRowsHead that reads the same rows as the embedding."""
        return TokenRowsHead(self.wte)


class TokenRowsGPT(TiedRows, GPT):
    """What a GPT becomes."""

    after_prompt = GPT  # whose parts it has


class TokenRowsLlama(TiedRows, Llama):
    """What a Llama with a tied head becomes."""

    after_prompt = Llama  # whose parts it has


TIED = {GPT: TokenRowsGPT, Llama: TokenRowsLlama}


def apply_trainable_tokens(
    model: Module, config: TrainableTokensConfig, *, rng: Any = None, name: str = "trainable-tokens"
) -> None:
    """Train the embeddings of some tokens, in place, and freeze everything else.

    Parameters
    ----------
    model : Module
    config : TrainableTokensConfig
    rng : numpy.random.Generator, optional
        Not used: nothing is drawn.
    name : str

    Raises
    ------
    ValueError
        If the model has no such token, or a head that is tied otherwise than a decoder's; or an adapter of this name.
        The model is then unchanged.
    """
    check_new_name(model, name)
    with base_in_place(model):
        parts = token_parts(model, config)
    set_adapter(model, None)
    add_adapter(model, name, NamedAdapter(config, parts))


def token_parts(model: Any, config: TrainableTokensConfig, rows: Array | None = None) -> dict[str, Any]:
    """What an adapter puts into a model: the rows' start is E[tokens], or `rows`, (S, C)."""
    ((path, embedding),) = token_embeddings(model).items()
    V = model.config.vocab_size
    if isinstance(embedding, LoRAEmbedding):
        raise ValueError(f"{path} has a LoRA; an embedding of which tokens are trained must have no other adapter")
    if max(config.tokens) >= V:
        raise ValueError(f"tokens had {max(config.tokens):,}; each must be from 0 to {V - 1:,}, the model's last token")
    tied = has_tied_head(model)
    if tied and type(model) not in TIED:
        raise ValueError(f"model was a {type(model).__name__}, whose head is tied; it must be a GPT or a Llama")
    E, tokens = embedding.W.data, model.xp.asarray(numpy.array(config.tokens))
    P = E[tokens] if rows is None else model.xp.asarray(to_numpy(rows).astype(E.dtype))
    parts = copies(new_parameters(model)) | {path: TokenRows(embedding, Parameter(P), tokens)}
    return parts | ({"__class__": TIED[type(model)]} if tied else {})


def merge_tokens(model: Module) -> None:
    """Make E' the model's own embedding, for both uses of a tied one, and remove the adapter: E is gone then.

    A classifier's head, which the adapter has trained too, is the model's own from then on.

    Raises
    ------
    ValueError
        If no tokens are trained at the moment.
    """
    found = [module for _, module in model.named_modules() if isinstance(module, TokenRows)]
    if not found:
        raise ValueError("the model's active adapter trains no tokens; there is nothing to merge")
    (rows,), name = found, str(adapters_of(model).active)
    [(E,)], _ = TokenRowsHead(rows).products()
    parts = adapters_of(model).named[name].parts
    remove_adapter(model, name)
    rows.W.data = E
    base = base_parameters(model)
    for path, part in parts.items():
        if isinstance(part, Parameter):
            base[path].data = part.data

"""Prefix tuning (Li and Liang, 2021; the paper's section 5.1): freeze the model, and learn tokens that are not words.

    PreEmbed   |Theta| = d (lp + li)      the embeddings of lp tokens before the prompt and li tokens after it
    PreLayer   |Theta| = L d (lp + li)    the inputs of each of the L blocks at these positions

`prefixed.py` has the mathematics for decoders, `prefixed_encoder.py` for a RoBERTa, where the whole text is the prompt.
The tokens take up positions: a prompt can have n_positions - lp - li tokens. That is one of the two drawbacks that the
paper names (section 3); the other is that they are hard to optimise.
"""

from dataclasses import dataclass
from typing import Any

import numpy

from minilora.arrays.backend import Array
from minilora.layers import Embedding
from minilora.methods.prefix_tokens import Prefix
from minilora.methods.prefixed import PrefixedGPT, PrefixedLlama
from minilora.methods.prefixed_encoder import PrefixedRoberta
from minilora.methods.selection import check_integer, copies, new_parameters
from minilora.methods.state import NamedAdapter
from minilora.methods.switching import add_adapter, check_new_name, set_adapter
from minilora.models import GPT, Llama, Roberta
from minilora.models.encoder import EncoderWithHead
from minilora.models.model import Model

KINDS = ("embedding", "layer")
PREFIXED: dict[type, type] = {GPT: PrefixedGPT, Llama: PrefixedLlama, Roberta: PrefixedRoberta}


@dataclass(frozen=True)
class PrefixConfig:
    """The kind and size of a prefix.

    Parameters
    ----------
    kind : {"embedding", "layer"}
        PreEmbed, or PreLayer.
    before : int
        lp, the number of tokens before the prompt.
    after : int
        li, the number of tokens after it.
    """

    kind: str = "embedding"
    before: int = 5
    after: int = 5

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind was {self.kind!r}; it must be one of {', '.join(map(repr, KINDS))}")
        check_integer("before", self.before, least=0)
        check_integer("after", self.after, least=0)
        if self.before + self.after == 0:
            raise ValueError("before and after were 0; at least one of them must be above 0")


def apply_prefix(model: Model, config: PrefixConfig, *, rng: numpy.random.Generator, name: str = "prefix") -> None:
    """Give a model a prefix, in place, and freeze everything else; a classifier gets its own copy of the head as well.

    Parameters
    ----------
    model : GPT, Llama, Roberta, or a head on a Roberta
    config : PrefixConfig
    rng : numpy.random.Generator
        Draws tokens of the vocabulary, whose activations the prefix starts with.
    name : str

    Raises
    ------
    ValueError
        If the model is of another kind, has no room for the prefix, or has an adapter of this name. The model is then
        unchanged.
    """
    check_prefix(model, config)
    check_new_name(model, name)
    set_adapter(model, None)
    add_adapter(model, name, NamedAdapter(config, copies(new_parameters(model)) | prefix_parts(model, config, rng)))


def check_prefix(model: Model, config: PrefixConfig) -> None:
    """Raise ValueError unless a model can have the prefix, and has room for it."""
    _, reader = _reader(model)
    if not isinstance(reader, GPT | Llama | Roberta):
        raise ValueError(f"model was a {type(model).__name__}; prefix tuning needs a GPT, a Llama, or a RoBERTa")
    n, limit = config.before + config.after, reader.config.n_positions
    if n >= limit:
        raise ValueError(f"before + after was {n}; it must be from 1 to {limit - 1}, because n_positions is {limit}")


def prefix_parts(
    model: Any, config: PrefixConfig, rng: numpy.random.Generator, start: numpy.ndarray | None = None
) -> dict[str, Any]:
    """What an adapter with a prefix puts into a model without one; it starts as these tokens, (T,), or drawn ones.

    While it is active, a GPT is a PrefixedGPT that has a prefix; switched off, it is a GPT again.
    """
    path, reader = _reader(model)
    ids = _drawn(reader, config.before + config.after, rng) if start is None else start
    tables = _start(reader, ids)
    tables = tables[:1] if config.kind == "embedding" else tables
    prefix = Prefix([Embedding(P) for P in tables], config.before, config.after, reader.config.vocab_size)
    return {f"{path}prefix": prefix, f"{path}__class__": PREFIXED[type(reader)]}


def _reader(model: Any) -> tuple[str, Any]:
    """What reads a model's ids, and the path to it: the encoder below a head, or the model itself."""
    return ("encoder.", model.encoder) if isinstance(model, EncoderWithHead) else ("", model)


def _drawn(model: Any, n: int, rng: numpy.random.Generator) -> numpy.ndarray:
    """Tokens of the vocabulary, (n,), none of which is padding."""
    V = model.config.vocab_size
    if not isinstance(model, Roberta):
        return rng.integers(0, V, n)
    ids = rng.integers(0, V - 1, n)
    return ids + (ids >= model.config.pad_id)


def _start(model: Any, ids: numpy.ndarray) -> list[Array]:
    """The embeddings of some tokens, (T,), and their inputs to blocks 1 to L - 1: L arrays (T, C)."""
    xp, T = model.xp, len(ids)
    tokens, _ = model.wte.forward(xp.asarray(ids))  # (T, C)
    tables, x, attention = [tokens], tokens[None], {}  # (1, T, C)
    if isinstance(model, Llama):
        attention = {"rotation": model.rotation(xp.arange(T))}
    elif isinstance(model, Roberta):
        first = model.config.pad_id + 1
        x, _ = model.ln_e.forward(x + model.wtt.W.data[0] + model.wpe.W.data[first : first + T])
    else:
        x = x + model.wpe.W.data[:T]
    for block in model.blocks[:-1]:
        x, _ = block.forward(x, **attention)
        tables.append(x[0].copy())
    return tables

"""Prompt tuning (Lester et al., 2021): trained embeddings in front of the input, and a frozen model.

    x = [P; E[ids]]      P (n, C), for every input the same; |Theta| = n C

That is `prefix-embedding` of `methods/prefix.py` with all of its tokens before the prompt (PreEmbed with li = 0), and
nothing else: this module has the name, the one setting, and a start from a text. Lester et al. find that it matters
less the larger the model is, and that for a small one it is best to start from words (their section 3.2).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy

from minilora.limits import shown
from minilora.methods.prefix import PrefixConfig, check_prefix, prefix_parts
from minilora.methods.selection import check_integer
from minilora.methods.state import NamedAdapter
from minilora.methods.switching import add_adapter, check_new_name, set_adapter
from minilora.models import Decoder
from minilora.models.model import Model


@dataclass(frozen=True)
class PromptTuningConfig:
    """How many embeddings are trained, and what they start as.

    Parameters
    ----------
    length : int
        n.
    start : sequence of int, optional
        Ids of a text, whose embeddings P starts as: cut to n, or repeated up to n, as in PEFT. If not given, n tokens
        of the vocabulary are drawn.
    """

    length: int = 20
    start: Sequence[int] | None = None

    def __post_init__(self) -> None:
        check_integer("length", self.length)
        if self.start is None:
            return
        ids = list(self.start) if isinstance(self.start, (list, tuple)) else []
        if not ids or not all(isinstance(i, int) and not isinstance(i, bool) and i >= 0 for i in ids):
            raise ValueError(f"start was {shown(self.start)}; it must be the ids of a text, or None")
        object.__setattr__(self, "start", tuple(ids))

    @property
    def prefix(self) -> PrefixConfig:
        """The prefix that this is: every token is before the prompt, and has an embedding and nothing else."""
        return PrefixConfig("embedding", before=self.length, after=0)


def apply_prompt_tuning(
    model: Model, config: PromptTuningConfig, *, rng: numpy.random.Generator, name: str = "prompt-tuning"
) -> None:
    """Give a decoder trained embeddings in front of its input, in place, and freeze everything else.

    Parameters
    ----------
    model : GPT or Llama
    config : PromptTuningConfig
    rng : numpy.random.Generator
        Draws tokens, if `config.start` is None.
    name : str

    Raises
    ------
    ValueError
        If the model is not a decoder, has no room for the embeddings or no such token, or has an adapter of this name.
        The model is then unchanged.
    """
    if not isinstance(model, Decoder):  # PEFT lets a classifier's head read the first of the new embeddings
        raise ValueError(f"model was a {type(model).__name__}; prompt tuning needs a decoder, a GPT or a Llama")
    check_prefix(model, config.prefix)
    check_new_name(model, name)
    start = None
    if config.start is not None:
        V = model.config.vocab_size
        if max(config.start) >= V:
            raise ValueError(f"start had {max(config.start):,}; each id must be from 0 to {V - 1:,}")
        start = numpy.resize(numpy.array(config.start), config.length)  # repeated, or cut
    set_adapter(model, None)
    add_adapter(model, name, NamedAdapter(config, prefix_parts(model, config.prefix, rng, start)))

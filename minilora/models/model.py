"""What all models have in common: a configuration, inputs that come from the host, and one `loss(batch)`."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from minilora.arrays.backend import Array
from minilora.models.checks import check_ids, check_on_host
from minilora.models.config import ModelConfig
from minilora.parameter import Module


class Model(Module):
    """A network that can be trained: ``loss, cache = model.loss(batch)``, then ``model.backward_loss(1.0, cache)``.

    Each kind of model knows the fields of its batch: LMBatch, EpisodeBatch, ClassificationBatch or MaskedBatch.

    Attributes
    ----------
    config : ModelConfig
    recompute : bool
        Whether a forward keeps only each block's input, and the backward makes the rest again: see `recompute.py`.
    reads_several_texts : bool
        Whether `loss` takes the text_lengths of an LMBatch, with which a row holds several texts.
    """

    reads_several_texts = False

    config: ModelConfig
    recompute: bool = False
    forward: Callable[..., tuple[Array, Any]]
    backward: Callable[..., None]
    loss: Callable[..., tuple[Array, Any]]  # an encoder without a head has no loss
    backward_loss: Callable[..., None]

    @property
    def longest_input(self) -> float:
        """The most tokens that a sequence can have; infinite if positions have no embeddings of their own."""
        return getattr(self.config, "n_positions", math.inf)

    def check_inputs(self, ids: Array, *, start: int = 0) -> None:
        """Raise ValueError unless `forward` can take these ids after `start` earlier positions."""
        check_ids(ids, self.config.vocab_size)
        if start + ids.shape[1] > self.longest_input:
            T, limit = start + ids.shape[1], self.longest_input
            raise ValueError(f"ids made a sequence of {T} tokens; n_positions is {limit}")

    def to_model(self, ids: Array) -> Any:
        """Check token ids on the host, and move them to the model, for `forward`.

        They are checked here because reading them on a GPU would make every step wait for it.
        """
        check_on_host("ids", ids)
        self.check_inputs(ids)
        return self.xp.asarray(ids)


def fields_of(batch: Any, *names: str) -> list[Any]:
    """The fields of a batch; TypeError if it is a batch of another kind."""
    if missing := [name for name in names if not hasattr(batch, name)]:
        was = f"a {type(batch).__name__}, which has no {missing[0]}"
        raise TypeError(f"batch was {was}; it must have the fields {', '.join(names)}")
    return [getattr(batch, name) for name in names]


def lowest_to_differentiate(blocks: Sequence[Module], below: bool) -> int:
    """The index of the lowest block that needs a gradient: the first one with trainable parameters.

    Parameters
    ----------
    blocks : sequence of Module
    below : bool
        Whether anything below the blocks is trainable; the gradient then goes through all of them.

    Returns
    -------
    int
        From 0 to len(blocks), which means that no block needs a gradient.
    """
    return 0 if below else next((i for i, block in enumerate(blocks) if block.trainable), len(blocks))

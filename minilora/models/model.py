"""What all models have in common."""

from collections.abc import Sequence

from minilora.parameter import Module


def lowest_to_differentiate(blocks: Sequence[Module], below: bool) -> int:
    """The index of the lowest block through which a gradient has to go: the first one that learns.

    Parameters
    ----------
    blocks : sequence of Module
    below : bool
        Whether anything below the blocks learns; a gradient then goes through them all.

    Returns
    -------
    int
        From 0 to len(blocks), which means that no block needs a gradient.
    """
    return 0 if below else next((i for i, block in enumerate(blocks) if block.trainable), len(blocks))

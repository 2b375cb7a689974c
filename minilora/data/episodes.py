"""Answers that a model drew itself, each with what it was worth: what a policy gradient is estimated from.

An episode is a prompt, the answer that was drawn after it, and one reward for the whole.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minilora.data.batches import row_batch


class EpisodeBatch(NamedTuple):
    """N episodes of T tokens.

    Attributes
    ----------
    ids : ndarray of shape (N, T), int64
        What the model reads.
    targets : ndarray of shape (N, T), int64
        targets[n, t] is the token that follows ids[n, t].
    loss_mask : ndarray of shape (N, T), bool
        True where that token was drawn; False in the prompt and in the padding.
    advantages : ndarray of shape (N,), float64
        The reward of each answer minus its baseline; see `minilora.ops.policy_gradient`.
    """

    ids: np.ndarray
    targets: np.ndarray
    loss_mask: np.ndarray
    advantages: np.ndarray

    @property
    def n_targets(self) -> int:
        """Over how many answers the loss is a mean."""
        return len(self.ids)


def episode_batch(
    prompts: Sequence[np.ndarray], answers: Sequence[np.ndarray], advantages: np.ndarray, *, padding: int
) -> EpisodeBatch:
    """Episodes as a batch, padded to the longest.

    Parameters
    ----------
    prompts, answers : sequence of N integer ndarrays
        The tokens of each; an answer's are those that were drawn, with the end of text if it was.
    advantages : ndarray of shape (N,)
    padding : int
        The token that fills a short row.

    Raises
    ------
    ValueError
        If there are not as many of each, or a prompt or an answer has no token.
    """
    counts = {"answers": len(answers), "advantages": len(advantages)}
    for name, count in counts.items():
        if count != len(prompts):
            raise ValueError(f"{name} were {count}; they must be {len(prompts)}, one for each of the prompts")
    for name, texts in (("prompts", prompts), ("answers", answers)):
        if not texts or not all(map(len, texts)):
            raise ValueError(f"{name} had an empty one, or none; each must have at least 1 token")
    pairs = zip(prompts, answers, strict=True)
    rows = ((np.concatenate([x, y]), np.arange(len(x) + len(y)) >= len(x)) for x, y in pairs)
    ids, targets, loss_mask, _ = row_batch(rows, padding=padding)
    return EpisodeBatch(ids, targets, loss_mask, np.asarray(advantages, dtype=np.float64))

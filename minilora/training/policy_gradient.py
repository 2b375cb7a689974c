"""Episodes for REINFORCE: a model draws answers, they get rewards, and the answers become a batch like any other.

    trainer = Trainer(model, lambda rng: draw_episodes(model, prompts(rng), reward, n_samples=8, ...).batch, config)

Each batch is drawn by the model as it is at that step, and used for that one step: the policy that drew the tokens is
the policy that is trained. So there is nothing to correct for, no ratio of two probabilities and no clipping.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy

from minilora.data.episodes import EpisodeBatch, episode_batch
from minilora.models.decoder import Decoder
from minilora.models.generation import generate
from minilora.ops import leave_one_out

Reward = Callable[[int, list[int]], float]


class Episodes(NamedTuple):
    """What was drawn."""

    batch: EpisodeBatch
    rewards: numpy.ndarray  # (n_prompts, n_samples)


def draw_episodes(
    model: Decoder,
    prompts: Sequence[numpy.ndarray],
    reward: Reward,
    *,
    n_samples: int,
    max_tokens: int,
    end_of_text: int,
    rng: numpy.random.Generator,
) -> Episodes:
    """Draw answers at temperature 1, the model's own probabilities, and reward them.

    Parameters
    ----------
    model : GPT or Llama
    prompts : sequence of integer ndarray
    reward : callable
        ``reward(i, answer) -> float`` for an answer to prompt i, a list of tokens without the end of text.
    n_samples : int
        Answers to each prompt, at least 2: the mean reward of the others is the baseline of each.
    max_tokens : int
        The most tokens of an answer, its end of text included.
    end_of_text : int
    rng : numpy.random.Generator

    Returns
    -------
    Episodes

    Raises
    ------
    ValueError
        If n_samples is less than 2, a reward is not a finite number, or `generate` refuses an argument.
    """
    if not isinstance(n_samples, int) or n_samples < 2:
        raise ValueError(f"n_samples was {n_samples!r}; it must be an integer of at least 2")
    rows = [prompt for prompt in prompts for _ in range(n_samples)]
    drawn = generate(model, rows, max_tokens=max_tokens, temperature=1.0, stop=end_of_text, rng=rng)
    rewards = numpy.array([reward(n // n_samples, answer) for n, answer in enumerate(drawn)], dtype=numpy.float64)
    if not numpy.isfinite(rewards).all():
        raise ValueError(f"a reward was {rewards[~numpy.isfinite(rewards)][0]}; it must be a finite number")
    rewards = rewards.reshape(len(prompts), n_samples)
    answers = []
    for prompt, answer in zip(rows, drawn, strict=True):
        ended = len(answer) < min(max_tokens, model.longest_input - len(prompt))  # the end of text was drawn, too
        answers.append(numpy.array([*answer, end_of_text] if ended else answer))
    batch = episode_batch(rows, answers, leave_one_out(rewards).ravel(), padding=end_of_text)
    return Episodes(batch, rewards)

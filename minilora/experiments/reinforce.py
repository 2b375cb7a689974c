"""A decoder that writes mini-E2E's sentences already, and gets better at it by trial and error: REINFORCE.

The parser that scores the sentences is the reward. Nothing shows the decoder a right sentence any more: it draws
several answers to each prompt, and those that are better than the others become likelier (`ops/policy_gradient.py`).
"""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy

from minilora.accounting import count_parameters
from minilora.data import encode_example, parse_source, slot_errors
from minilora.experiments.adapt import DecoderRun, adapted_decoder, base_and_task, save_unless_infinite
from minilora.experiments.measure import LONGEST_ANSWER, measure, read
from minilora.experiments.sweep import Sweep, produces_file
from minilora.methods import apply_method
from minilora.training import Diverged, TrainConfig, Trainer, draw_episodes

TASK = "mini-e2e"


def exact(mr, sentence):
    """1 for a sentence that says every attribute once and nothing else, 0 for any other: at most a bit."""
    return float(slot_errors(mr, sentence).exact)


def slots(mr, sentence):
    """1 minus the slot error rate: what a sentence says counts, whether its grammar is right does not."""
    return 1.0 - slot_errors(mr, sentence).n_errors / len(mr)


REWARDS = {"exact": exact, "slots": slots}


@dataclass(frozen=True)
class ReinforceConfig:
    """A decoder's second training, from rewards.

    Parameters
    ----------
    start : DecoderRun
        Its first training, by full fine-tuning on mini-E2E: a base for LoRA as well as for full fine-tuning. The
        prompts of its valid and test are answered greedily when the decoder is measured.
    method : str
        A name in `minilora.methods.METHODS`.
    settings : dataclass, optional
        The method's configuration.
    train : TrainConfig
        Of the second training; batch_size counts answers. It is measured every eval_every steps.
    reward : str
        A name in REWARDS.
    n_samples : int
        Answers to each prompt; batch_size must be a multiple of it.
    """

    start: DecoderRun
    method: str = "lora"
    settings: Any = None
    train: TrainConfig = field(default_factory=TrainConfig)
    reward: str = "exact"
    n_samples: int = 8

    def __post_init__(self):
        if (self.start.task, self.start.method) != (TASK, "full"):
            raise ValueError(
                f"start was {self.start.method!r} on {self.start.task!r}; it must be 'full' on {TASK!r}, so that what "
                "it learned is part of the base"
            )
        if self.reward not in REWARDS:
            raise ValueError(f"reward was {self.reward!r}; it must be one of {', '.join(map(repr, REWARDS))}")
        if self.n_samples < 2 or self.train.batch_size % self.n_samples:
            raise ValueError(
                f"n_samples was {self.n_samples}, for a batch_size of {self.train.batch_size}; it must be at least 2, "
                "and divide it"
            )


@produces_file(".safetensors")
def reinforce(config, path):
    """Continue a decoder's training from rewards, and write what was learned to a file.

    Parameters
    ----------
    config : ReinforceConfig
        The same `Sweep` must have the run of `adapt_and_keep` that it starts from.
    path : Path
        The file in the sweep's folder.

    Returns
    -------
    dict
        trainable; seconds, of training and drawing; drawn, the mean reward of each step's answers; bits, at most how
        many the rewards of all episodes carried; path, what `measured` gave at the start and on the way; valid, the
        mean reward of the greedy answers at the end, None if training diverged; before and test, what `measured` gave
        on test at the start and at the end.
    """
    model = adapted_decoder(Sweep(path.parents[1]), config.start)
    _, task = base_and_task(config.start)
    apply_method(model, config.settings, rng=numpy.random.default_rng(config.train.seed))
    max_tokens = math.ceil(LONGEST_ANSWER / task.bytes_per_token("valid"))
    drawn, bits, course = [], [], []

    def sample_batch(rng):
        episodes = draw_on_task(model, task, config, rng, max_tokens)
        drawn.append(float(episodes.rewards.mean()))
        bits.append(episodes.rewards.size * entropy(episodes.rewards.ravel().tolist()))
        return episodes.batch

    def validate():
        found = measured(model, task, config, "valid")
        if math.isfinite(found["loss"]):  # otherwise the Trainer says that it has diverged
            course.append({"step": trainer.step, **found})
        return found["loss"]

    trainer = Trainer(model, sample_batch, config.train, validate=validate)
    before = measured(model, task, config, "test")
    validate()
    valid = test = None
    try:
        trainer.run(progress=False)
        valid, test = course[-1]["reward"], measured(model, task, config, "test")
    except Diverged:
        pass
    save_unless_infinite(model, path)
    return {
        "trainable": count_parameters(model).trainable,
        "seconds": trainer.history.seconds,
        "drawn": drawn,
        "bits": sum(bits),
        "path": course,
        "valid": valid,
        "before": before,
        "test": test,
    }


def draw_on_task(model, task, config, rng, max_tokens=LONGEST_ANSWER):
    """The episodes of one step: prompts of mini-E2E's train, each with several answers.

    Parameters
    ----------
    model : GPT
    task : PairTask
    config : ReinforceConfig
    rng : numpy.random.Generator
    max_tokens : int
        The most of an answer.

    Returns
    -------
    Episodes
    """
    train, reward = task.splits["train"], REWARDS[config.reward]
    chosen = [train[i] for i in rng.integers(0, len(train), config.train.batch_size // config.n_samples)]
    encoded = [encode_example(example, task.tokenizer) for example in chosen]
    mrs = [parse_source(example.source) for example in chosen]
    return draw_episodes(
        model,
        [ids[:n_source] for ids, n_source in encoded],
        lambda i, answer: reward(mrs[i], read(task.tokenizer, answer)),
        n_samples=config.n_samples,
        max_tokens=max_tokens,
        end_of_text=task.tokenizer.end_of_text,
        rng=rng,
    )


def measured(model, task, config, split):
    """What the greedy answers to a split's prompts are worth.

    Returns
    -------
    dict
        reward, their mean reward; slot_exact and slot_error_rate, see `slot_scores`; and loss, of the split's own
        sentences, in nats per token.
    """
    found = measure(model, task, split=split, n_prompts=config.start.n_held_out)
    reward, samples = REWARDS[config.reward], found["samples"]
    rewards = [reward(parse_source(sample["prompt"].strip()), sample["answer"]) for sample in samples]
    scores = {name: found[name] for name in ("slot_exact", "slot_error_rate", "loss")}
    return {"reward": sum(rewards) / len(rewards), **scores}


def entropy(values):
    """The entropy of the distribution of some values, in bits: what a further one tells at most, on average."""
    shares = [count / len(values) for count in Counter(values).values()]
    return -sum(share * math.log2(share) for share in shares)

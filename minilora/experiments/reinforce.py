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
        prompts of its valid and test are those that the decoder is measured on.
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
        many the rewards of all episodes carried; path, what `greedy` gave on valid at the start and on the way; valid,
        the `expected_reward` there at the end, None if training diverged; and test, what `measured` gave at the end.
    """
    model = adapted_decoder(Sweep(path.parents[1]), config.start)
    _, task = base_and_task(config.start)
    apply_method(model, config.settings, rng=numpy.random.default_rng(config.train.seed))
    n_prompts, train = config.train.batch_size // config.n_samples, task.splits["train"]
    drawn, bits, course = [], [], []

    def sample_batch(rng):
        chosen = [train[i] for i in rng.integers(0, len(train), n_prompts)]
        episodes = draw_answers(model, task, config, chosen, rng)
        drawn.append(float(episodes.rewards.mean()))
        bits.append(episodes.rewards.size * entropy(episodes.rewards.ravel().tolist()))
        return episodes.batch

    def validate():
        found = greedy(model, task, config, "valid")
        if math.isfinite(found["loss"]):  # otherwise the Trainer says that it has diverged
            course.append({"step": trainer.step, **found})
        return found["loss"]

    trainer = Trainer(model, sample_batch, config.train, validate=validate)
    validate()
    valid = test = None
    try:
        trainer.run(progress=False)
        valid, test = expected_reward(model, task, config, "valid"), measured(model, task, config)
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
        "test": test,
    }


def draw_answers(model, task, config, examples, rng):
    """Several answers to the prompt of each example, with their rewards.

    Parameters
    ----------
    model : GPT
    task : PairTask
    config : ReinforceConfig
    examples : sequence of Example
        Of mini-E2E; each gets `config.n_samples` answers.
    rng : numpy.random.Generator

    Returns
    -------
    Episodes
    """
    reward = REWARDS[config.reward]
    encoded = [encode_example(example, task.tokenizer) for example in examples]
    mrs = [parse_source(example.source) for example in examples]
    return draw_episodes(
        model,
        [ids[:n_source] for ids, n_source in encoded],
        lambda i, answer: reward(mrs[i], read(task.tokenizer, answer)),
        n_samples=config.n_samples,
        max_tokens=math.ceil(LONGEST_ANSWER / task.bytes_per_token("valid")),
        end_of_text=task.tokenizer.end_of_text,
        rng=rng,
    )


def expected_reward(model, task, config, split):
    """J, which REINFORCE maximises, on a split's prompts: the mean reward of `config.n_samples` answers to each.

    They are drawn at temperature 1, as those that the model learns from, and always with the same random numbers.
    """
    examples, rng = task.splits[split][: config.start.n_held_out], numpy.random.default_rng(0)
    together = config.train.batch_size // config.n_samples
    starts = range(0, len(examples), together)
    drawn = [draw_answers(model, task, config, examples[i : i + together], rng).rewards for i in starts]
    return float(numpy.concatenate(drawn).mean())


def greedy(model, task, config, split):
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


def measured(model, task, config):
    """What `greedy` gives on test, and under "expected" the `expected_reward` there."""
    return {"expected": expected_reward(model, task, config, "test"), **greedy(model, task, config, "test")}


def entropy(values):
    """The entropy of the distribution of some values, in bits: what a further one tells at most, on average."""
    shares = [count / len(values) for count in Counter(values).values()]
    return -sum(share * math.log2(share) for share in shares)

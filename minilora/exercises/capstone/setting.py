"""What the capstone trains on: mini-E2E's shortest lists, and sentences of one kind, so that few steps are enough."""

import json
import random
from typing import NamedTuple

import numpy

from minilora.data import ByteTokenizer
from minilora.data.batches import encode_example, pair_batch
from minilora.data.example import Example
from minilora.data.mini_e2e import combination_key, combinations_by_size, realise, source_text
from minilora.data.mini_e2e_grammar import SLOTS
from minilora.exercises.runner.capstone import Setting
from minilora.exercises.runner.decoder import Batch
from minilora.models import GPT, load_bundled

STEPS, BATCH_SIZE, RANK, RATE, WARMUP, SEED = 100, 4, 8, 1e-2, 5, 0
N_PROMPTS = 24
ADAMW = {"beta1": 0.9, "beta2": 0.999, "adam_eps": 1e-8, "weight_decay": 0.01}
FACTS = 1  # besides name and type
OPENING = "There is a"  # of the sentences that are trained on: one of mini-E2E's four plans


class Capstone(NamedTuple):
    """The run, and what it is measured with."""

    setting: Setting
    prompts: list[numpy.ndarray]
    sources: list[str]  # of the prompts, for the parser


def capstone(steps: int = STEPS, model: GPT | None = None) -> Capstone:
    """The run of a number of steps, on the bundled decoder."""
    model = model or load_bundled("decoder")
    tokenizer, config = ByteTokenizer(), model.config
    chosen = shortest_examples("train", steps * BATCH_SIZE)
    of_steps = [chosen[i : i + BATCH_SIZE] for i in range(0, len(chosen), BATCH_SIZE)]
    batches = [Batch(*pair_batch(some, tokenizer, max_length=config.n_positions)[:3]) for some in of_steps]
    numbers = {
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "eps": config.layer_norm_eps,
        "rank": RANK,
        "alpha": 2.0 * RANK,
        "seed": SEED,
        **ADAMW,
    }
    weights = {name: numpy.asarray(p.data, numpy.float64) for name, p in model.named_parameters()}
    held_out = shortest_examples("valid", N_PROMPTS)
    encoded = [encode_example(example, tokenizer) for example in held_out]
    prompts = [ids[:n_source] for ids, n_source in encoded]
    return Capstone(Setting(weights, batches, rates(steps), numbers), prompts, [e.source for e in held_out])


def rates(steps: int) -> numpy.ndarray:
    """The learning rate of each step: up over the first few, then down to zero in a line."""
    n = numpy.arange(steps)
    return RATE * numpy.minimum(1.0, (n + 1) / WARMUP) * (1.0 - n / steps)


def shortest_examples(split: str, n: int) -> list[Example]:
    """Lists with a name, a type and one fact; and one sentence each, which begins as all others do."""
    rng = random.Random(f"capstone {split}")
    (combinations,) = [some for some in combinations_by_size(split) if some and len(some[0]) == 1 + FACTS]
    return [_sentence({"name": rng.choice(SLOTS["name"]), **rng.choice(combinations)}, rng) for _ in range(n)]


def _sentence(mr, rng):
    while True:
        text = realise(mr, rng)
        if text.startswith(OPENING) and text.count(".") == 1:
            return Example(source_text(mr), text, combination_key(mr))


def save(path: str, setting: Setting, files: dict[str, str]) -> None:
    """Write all that the run is given, as `runner/capstone.py` reads it; `files` says which file has a function."""
    held: dict[str, numpy.ndarray] = {f"W:{name}": W.astype(numpy.float32) for name, W in setting.weights.items()}
    for n, batch in enumerate(setting.batches):
        held |= {f"{part}:{n}": array for part, array in batch._asdict().items()}
    numbers = numpy.array(json.dumps({**setting.numbers, "files": files}))
    numpy.savez(path, rates=setting.rates, numbers=numbers, **held)  # type: ignore[arg-type]

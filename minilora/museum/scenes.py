"""The training runs that show what a wrong gradient does: 100 steps of a small model, the same for right and wrong."""

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy

from minilora.data import LMBatch, load_task
from minilora.data.tasks import TextTask
from minilora.methods import LoRAConfig, apply_lora
from minilora.models import GPT, GPTConfig, Llama, LlamaConfig, load_bundled
from minilora.models.model import Model
from minilora.ops import Llama3Scaling
from minilora.training import Diverged, TrainConfig, Trainer, evaluate_loss

STEPS = 100
STEPS_BEFORE = 400  # right ones, of a model that starts from nothing: so it has something to lose
TARGETS = ("q_proj", "v_proj", "fc_in", "fc_out")
HELD_OUT = 2  # batches of 16


class Scene(NamedTuple):
    """A training run.

    Attributes
    ----------
    about : str
        What is trained, on what.
    model : callable
        ``model(seed, dtype)``: the model before its first step, or before `STEPS_BEFORE`.
    task : callable
        ``task()``: where the batches come from.
    config : TrainConfig
        All but the seed.
    from_nothing : bool
        Whether the model's weights are random, and trained for `STEPS_BEFORE` steps first.
    """

    about: str
    model: Callable[[int, str], Model]
    task: Callable[[], Any]
    config: TrainConfig
    from_nothing: bool = False


class Outcome(NamedTuple):
    """What 100 steps came to.

    Attributes
    ----------
    losses : list of float
        The loss of each step, as the program that trains reports it; shorter if it diverged.
    held_out : float or None
        The loss of the trained weights on held-out text, in the right program; None if they are not finite.
    """

    losses: list[float]
    held_out: float | None


def adapted(seed: int, dtype: str, *, dropout: float = 0.0, dora: bool = False) -> Model:
    """The bundled decoder with a new adapter of rank 4 in every block."""
    model = load_bundled("decoder", dtype=dtype)
    config = LoRAConfig(rank=4, alpha=8, targets=TARGETS, dropout=dropout, dora=dora, dora_exact=dora)
    apply_lora(model, config, rng=numpy.random.default_rng(seed))
    return model


def small_gpt(seed: int, dtype: str, *, n_positions: int = 64) -> Model:
    """GPT-2's architecture, two blocks of 64 channels, all weights random."""
    config = GPTConfig(vocab_size=256, n_positions=n_positions, n_layer=2, d_model=64, n_head=4)
    return GPT(config, numpy.random.default_rng(seed), dtype=dtype)


def small_llama(seed: int, dtype: str) -> Model:
    """Llama's architecture, two blocks of 64 channels, four heads in two groups, all weights random."""
    config = LlamaConfig(
        vocab_size=256,
        n_positions=64,
        n_layer=2,
        d_model=64,
        n_head=4,
        n_kv_head=2,
        d_mlp=128,
        rope_scaling=Llama3Scaling(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_n_positions=16),
        tied_head=True,
    )
    return Llama(config, numpy.random.default_rng(seed), dtype=dtype)


@functools.cache
def pairs() -> Any:
    """Mini-E2E: records, and the sentences that say them; only the sentences count, and their lengths differ."""
    return load_task("mini-e2e", length=256, n_held_out=32)


@functools.cache
def windows(length: int) -> Any:
    """Mini-E2E's sentences alone, as running text, byte by byte."""
    texts = {split: [" ".join(e.target for e in examples)] for split, examples in pairs().splits.items()}
    return TextTask("sentences of mini-E2E", texts, length)


ADAPTING = TrainConfig(steps=STEPS, batch_size=4, lr=5e-3, accumulation=2, threads=1)
ALL_WEIGHTS = TrainConfig(steps=STEPS, batch_size=8, lr=2e-3, accumulation=2, threads=1, weight_decay=0.1)
SHORT, LONG = functools.partial(windows, 32), functools.partial(windows, 64)

SCENES = {
    "gpt": Scene("a small GPT-2, all weights, on sentences", small_gpt, LONG, ALL_WEIGHTS, True),
    "llama": Scene("a small Llama, all weights, on sentences", small_llama, LONG, ALL_WEIGHTS, True),
    "pairs": Scene(
        "a small GPT-2, all weights, on records and their sentences",
        functools.partial(small_gpt, n_positions=256),
        pairs,
        TrainConfig(steps=STEPS, batch_size=4, lr=2e-3, accumulation=4, threads=1),
        True,
    ),
    "lora": Scene("LoRA (r = 4) in the bundled decoder, on sentences", adapted, SHORT, ADAPTING),
    "dropout": Scene(
        "LoRA (r = 4, dropout 0.5) in the bundled decoder, on sentences",
        functools.partial(adapted, dropout=0.5),
        SHORT,
        ADAPTING,
    ),
    "dora": Scene(
        "DoRA (r = 4) in the bundled decoder, on sentences", functools.partial(adapted, dora=True), SHORT, ADAPTING
    ),
}


@functools.cache
def weights_before(name: str) -> dict[str, numpy.ndarray]:
    """The weights that every run of a scene from nothing begins with; none for the others.

    They come from `STEPS_BEFORE` steps with one seed, whatever the run's seed. Call it before a function is exchanged.
    """
    scene = SCENES[name]
    if not scene.from_nothing:
        return {}
    task, model = scene.task(), scene.model(0, "float32")
    config = replace(scene.config, steps=STEPS_BEFORE, accumulation=1, seed=1000)
    Trainer(model, lambda rng: task.sample_batch(rng, config.batch_size), config).run(progress=False)
    return {path: p.data for path, p in model.named_parameters()}


def model_of(name: str, seed: int) -> Model:
    """A scene's model, as a run of it begins."""
    model, before = SCENES[name].model(seed, "float32"), weights_before(name)
    for path, p in model.named_parameters() if before else ():
        p.data[...] = before[path]
    return model


def held_out(scene: Scene) -> list[LMBatch]:
    """The first batches of the scene's valid split."""
    batches = scene.task().batches("valid", batch_size=16)
    return [batch for batch, _ in zip(batches, range(HELD_OUT), strict=False)]


def train(name: str, seed: int) -> tuple[Model, list[float]]:
    """Train a scene's model; the losses of the steps are those that it reports itself.

    Parameters
    ----------
    name : str
        A name in `SCENES`.
    seed : int
        Draws an adapter's random numbers, and the batches.
    """
    scene = SCENES[name]
    task, model = scene.task(), model_of(name, seed)
    config = TrainConfig(**(vars(scene.config) | {"seed": seed}))
    trainer = Trainer(model, lambda rng: task.sample_batch(rng, config.batch_size), config)
    with numpy.errstate(all="ignore"):
        try:
            trainer.run(progress=False)
        except Diverged:
            pass
    return model, trainer.history.losses


def judged(name: str, seed: int, model: Model) -> float | None:
    """The held-out loss of a trained model's weights in the right program: in a new model, which gets its arrays."""
    scene = SCENES[name]
    right = model_of(name, seed)
    trained = {path: p for path, p in model.named_parameters()}
    for path, p in right.named_parameters():
        if p.trainable:
            p.data[...] = trained[path].data
    with numpy.errstate(all="ignore"):
        loss = evaluate_loss(right, held_out(scene))
    return loss if math.isfinite(loss) else None

"""What the run must give: minilora's own model, adapter, optimizer and step, on the same batches in float64."""

from typing import NamedTuple

import numpy

from minilora.arrays.threads import one_blas_thread
from minilora.data import LMBatch
from minilora.exercises.runner.capstone import Setting
from minilora.exercises.runner.decoder import PROJECTIONS
from minilora.methods import LoRAConfig, apply_lora
from minilora.models import GPT, load_bundled
from minilora.training import AdamW
from minilora.training.step import train_step


class Reference(NamedTuple):
    """The losses before each step, and A and B at the end, by name."""

    losses: numpy.ndarray
    arrays: dict[str, numpy.ndarray]


def minilora_run(setting: Setting) -> Reference:
    """Train with minilora."""
    numbers, model = setting.numbers, adapted_decoder(setting)
    betas = (numbers["beta1"], numbers["beta2"])
    optimizer = AdamW(
        model.trainable_parameters(),
        lr=float(setting.rates[0]),
        betas=betas,
        eps=numbers["adam_eps"],
        weight_decay=numbers["weight_decay"],
    )
    losses = []
    with one_blas_thread():
        for batch, rate in zip(setting.batches, setting.rates, strict=True):
            loss, _ = train_step(model, optimizer, LMBatch(*batch), lr=float(rate))
            losses.append(loss)
    return Reference(numpy.array(losses), {p.name: p.data for p in model.trainable_parameters()})


def adapted_decoder(setting: Setting, arrays: dict[str, numpy.ndarray] | None = None) -> GPT:
    """The bundled decoder in float64 with the run's adapter: as it is at the start, or with these A and B."""
    numbers, model = setting.numbers, load_bundled("decoder", dtype="float64")
    targets = tuple(name.rpartition(".")[2] for name in PROJECTIONS)
    config = LoRAConfig(rank=numbers["rank"], alpha=numbers["alpha"], targets=targets)
    apply_lora(model, config, rng=numpy.random.default_rng(numbers["seed"]))
    if arrays is not None:
        for p in model.trainable_parameters():
            p.data[...] = arrays[p.name]
    return model

"""Pretraining the bundled models on the English prose that every Python installation carries.

What both kinds have in common: a corpus, windows of it, a run that resumes where it stopped, and a recipe. What each
reads, and what its bits per byte are compared with, is in `pretrain_decoder.py` and `pretrain_encoder.py`.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy

from minilora.data.corpora import load_corpus
from minilora.data.vocabulary import Tokenizer, check_vocabulary
from minilora.distributed import SINGLE_PROCESS
from minilora.experiments.record import provenance
from minilora.files import write_json
from minilora.models import GPTConfig, RobertaConfig, save_model
from minilora.training import TrainConfig, Trainer, evaluate_loss, resume_newest


@dataclass(frozen=True)
class PretrainConfig:
    """What is pretrained, and how."""

    model: GPTConfig | RobertaConfig
    train: TrainConfig
    corpus: str = "prose"


class Kind(NamedTuple):
    """A kind of model, and how it reads."""

    name: str  # of the files
    config: PretrainConfig  # the bundled model's
    new_model: Callable  # new_model(config, rng, device=)
    tokenizer: Tokenizer
    encode: Callable  # encode(texts): all their tokens in one array
    sample: Callable  # sample(tokens, rng, batch_size=, length=): a training batch
    held_out: Callable  # held_out(tokens, length=, batch_size=): batches that cover the tokens
    rival: str  # what the model's bits per byte are compared with
    rival_bits: Callable  # rival_bits(training tokens, held-out tokens)


def run(kind, config, folder, *, checkpoint_every=250, device="cpu", command=None, ranks=SINGLE_PROCESS):
    """Pretrain, or continue where a run in `folder` stopped.

    Parameters
    ----------
    kind : Kind
    config : PretrainConfig
    folder : str or Path
        Gets checkpoints on the way (the newest two are kept); at the end, for a decoder, ``decoder.safetensors``
        (float16), its recipe ``decoder.json`` and its loss curve ``decoder.png``.
    checkpoint_every : int
    device : {"auto", "cpu", "gpu"}
    command : str, optional
        The command line, for the record.
    ranks : SingleProcess or Ranks, optional
        The job that this process belongs to. All its ranks train; only the first writes, and measures at the end.

    Returns
    -------
    recipe : dict
        What ``decoder.json`` holds: configuration, corpus, loss curve, and bits per byte on held-out text, and
        the rival's.
    """
    folder, corpus = Path(folder), load_corpus(config.corpus)
    tokens = {split: kind.encode(corpus.texts(split)) for split in ("train", "valid", "test")}
    length = config.model.n_positions
    model = kind.new_model(config.model, numpy.random.default_rng(config.train.seed), device=device)
    check_vocabulary(model, kind.tokenizer)

    def sample_batch(rng):
        return kind.sample(tokens["train"], rng, batch_size=config.train.batch_size, length=length)

    def loss_on(split, ranks=SINGLE_PROCESS, progress=None):
        batches = kind.held_out(tokens[split], length=length, batch_size=16)
        return evaluate_loss(model, batches, ranks, progress=progress)

    trainer = Trainer(
        model,
        sample_batch,
        config.train,
        validate=lambda: loss_on("valid", ranks),
        folder=folder,
        checkpoint_every=checkpoint_every,
        about={**asdict(config.model), "corpus": config.corpus, "corpus_id": corpus.id},
        ranks=ranks,
    )

    def measured_and_kept(history):
        held_out = ("valid", "test")
        rival_bits = {split: kind.rival_bits(tokens["train"], tokens[split]) for split in held_out}
        recipe = {
            "command": command,
            "config": asdict(config),
            "corpus": {"id": corpus.id, "bytes": {split: len(t) for split, t in tokens.items()}},
            "tokens_seen": history.tokens,
            "seconds": round(history.seconds),
            "bits_per_byte": {split: loss_on(split, progress=split) / math.log(2) for split in held_out},
            f"{kind.rival}_bits_per_byte": rival_bits,
            "validation": [{"step": s, "bits_per_byte": loss / math.log(2)} for s, loss in history.validation],
            "train_bits_per_byte": mean_of_runs([loss / math.log(2) for loss in history.losses], 100),
            **provenance(),
        }
        trainer.check_folder()
        save_model(model, folder / f"{kind.name}.safetensors", dtype="float16", corpus=corpus.id, command=command)
        write_json(folder / f"{kind.name}.json", recipe)
        draw(kind.name, history, folder / f"{kind.name}.png")
        return recipe

    with trainer.folder_to_itself():
        resume_newest(trainer, folder)
        history = trainer.run("pretraining")
        return ranks.bcast_from_root(lambda: measured_and_kept(history))


def draw(name, history, path):
    """The loss curve."""
    from minilora import plots

    losses = numpy.array(history.losses) / math.log(2)
    validation = [(step, loss / math.log(2)) for step, loss in history.validation]
    plots.save(plots.loss_curves({name: (losses, validation)}), path)


def mean_of_runs(values, n):
    """The means of n values at a time: a curve that is short and smooth enough to keep."""
    return [round(float(numpy.mean(values[i : i + n])), 4) for i in range(0, len(values), n)]

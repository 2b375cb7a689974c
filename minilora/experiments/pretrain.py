"""Pretraining the bundled decoder: a byte-level GPT on the English prose that every Python installation carries."""

import gzip
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy

from minilora.data.batches import encode_documents, window_batch, windows
from minilora.data.corpora import load_corpus
from minilora.data.tokenizer import ByteTokenizer
from minilora.experiments.record import provenance
from minilora.files import write_json
from minilora.models import GPT, GPTConfig, save_model
from minilora.training import TrainConfig, Trainer, evaluate_loss, resume_run
from minilora.training.checkpoint import CHECKPOINT


@dataclass(frozen=True)
class PretrainConfig:
    """What is pretrained, and how."""

    model: GPTConfig = GPTConfig(vocab_size=256, n_positions=256, n_layer=4, d_model=192, n_head=4)
    train: TrainConfig = TrainConfig(
        steps=8000,
        batch_size=8,
        lr=2e-3,
        betas=(0.9, 0.99),
        weight_decay=0.1,
        warmup=0.02,
        schedule="cosine",
        eval_every=500,
    )
    corpus: str = "prose"


def run(config, folder, *, checkpoint_every=250, device="cpu", command=None):
    """Pretrain, or continue where a run in `folder` stopped.

    Parameters
    ----------
    config : PretrainConfig
    folder : str or Path
        Gets ``checkpoint.safetensors`` on the way; at the end ``decoder.safetensors`` (float16), its recipe
        ``decoder.json`` and its loss curve ``decoder.png``.
    checkpoint_every : int
    device : {"auto", "cpu", "gpu"}
    command : str, optional
        The command line, for the record.

    Returns
    -------
    recipe : dict
        What ``decoder.json`` holds: configuration, corpus, loss curve, and bits a byte on held-out text beside gzip's.
    """
    tokenizer = ByteTokenizer()
    corpus = load_corpus(config.corpus)
    tokens = {split: encode_documents(corpus.texts(split), tokenizer) for split in ("train", "valid", "test")}
    length = config.model.n_positions

    model = GPT(config.model, numpy.random.default_rng(config.train.seed), device=device)

    def sample_batch(rng):
        return window_batch(tokens["train"], rng, batch_size=config.train.batch_size, length=length)

    def loss_on(split):
        return evaluate_loss(model, windows(tokens[split], length=length, batch_size=16))

    return train_and_record(
        model,
        config,
        folder,
        name="decoder",
        sample_batch=sample_batch,
        loss_on=loss_on,
        corpus={"id": corpus.id, "bytes": {split: len(t) for split, t in tokens.items()}},
        baseline={"gzip_bits_per_byte": {split: gzip_bits_per_byte(tokens[split]) for split in ("valid", "test")}},
        checkpoint_every=checkpoint_every,
        command=command,
    )


def train_and_record(
    model, config, folder, *, name, sample_batch, loss_on, corpus, baseline, checkpoint_every, command
):
    """Train a new model, or go on where a run in `folder` stopped, and write it down.

    Parameters
    ----------
    model : Module
    config : PretrainConfig or EncoderPretrainConfig
    folder : str or Path
    name : str
        Of the files: ``<name>.safetensors`` (float16), its recipe ``<name>.json``, its loss curve ``<name>.png``.
    sample_batch : callable
        ``sample_batch(rng)``, a new training batch at every call.
    loss_on : callable
        ``loss_on(split)``, the mean loss on "valid" or "test", in nats.
    corpus : dict
        What was read: its id, and how much.
    baseline : dict
        What stands beside the model's bits a byte.
    checkpoint_every : int
    command : str or None

    Returns
    -------
    recipe : dict
    """
    folder = Path(folder)
    trainer = Trainer(
        model,
        sample_batch,
        config.train,
        validate=lambda: loss_on("valid"),
        folder=folder,
        checkpoint_every=checkpoint_every,
        about={**asdict(config.model), "corpus": config.corpus, "corpus_id": corpus["id"]},
    )
    if (folder / CHECKPOINT).exists():
        resume_run(trainer, folder / CHECKPOINT)
    history = trainer.run("pretraining")

    recipe = {
        "command": command,
        "config": asdict(config),
        "corpus": corpus,
        "tokens_seen": history.tokens,
        "seconds": round(history.seconds),
        "bits_per_byte": {split: loss_on(split) / math.log(2) for split in ("valid", "test")},
        **baseline,
        "validation": [{"step": s, "bits_per_byte": loss / math.log(2)} for s, loss in history.validation],
        "train_bits_per_byte": mean_of_runs([loss / math.log(2) for loss in history.losses], 100),
        **provenance(),
    }
    save_model(model, folder / f"{name}.safetensors", dtype="float16", corpus=corpus["id"], command=command)
    write_json(folder / f"{name}.json", recipe)
    draw(name, history, folder / f"{name}.png")
    return recipe


def draw(name, history, path):
    """The loss curve."""
    from minilora import plots

    losses = numpy.array(history.losses) / math.log(2)
    validation = [(step, loss / math.log(2)) for step, loss in history.validation]
    plots.save(plots.loss_curves({name: (losses, validation)}), path)


def gzip_bits_per_byte(tokens):
    """What the general-purpose compressor needs for the same bytes."""
    data = tokens.astype(numpy.uint8).tobytes()
    return 8 * len(gzip.compress(data, 9)) / len(data)


def mean_of_runs(values, n):
    """The means of n values at a time: a curve that is short and smooth enough to keep."""
    return [round(float(numpy.mean(values[i : i + n])), 4) for i in range(0, len(values), n)]

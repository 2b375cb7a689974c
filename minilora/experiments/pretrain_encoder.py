"""Pretraining the bundled encoder: a byte-level RoBERTa, on masked bytes of the prose that the decoder reads.

Of the bytes, 15 % are chosen, most of them hidden, and the model says what each was (`data/masked.py`). Its bits a byte
are those of the chosen bytes, each told from what stands on both sides; beside them stands what a byte costs to one who
only knows how frequent each is.
"""

import math
from dataclasses import dataclass

import numpy

from minilora.data.corpora import load_corpus
from minilora.data.encoder_tokenizer import FIRST_BYTE, PAD, EncoderTokenizer
from minilora.data.masked import encode_text_rows, masked_window_batch, masked_windows
from minilora.experiments.pretrain import train_and_record
from minilora.models import RobertaConfig, RobertaForMaskedLM
from minilora.training import TrainConfig, evaluate_loss


@dataclass(frozen=True)
class EncoderPretrainConfig:
    """What is pretrained, and how."""

    model: RobertaConfig = RobertaConfig(
        vocab_size=EncoderTokenizer.vocab_size, n_positions=256, n_layer=4, d_model=128, n_head=4, pad_id=PAD
    )
    train: TrainConfig = TrainConfig(
        steps=12000,
        batch_size=8,
        lr=1e-3,
        betas=(0.9, 0.98),
        weight_decay=0.01,
        warmup=0.06,
        schedule="linear",
        eval_every=500,
    )
    corpus: str = "prose"


def run(config, folder, *, checkpoint_every=250, device="cpu", command=None):
    """Pretrain, or continue where a run in `folder` stopped.

    Parameters
    ----------
    config : EncoderPretrainConfig
    folder : str or Path
        Gets ``checkpoint.safetensors`` on the way; at the end ``encoder.safetensors`` (float16), its recipe
        ``encoder.json`` and its loss curve ``encoder.png``.
    checkpoint_every : int
    device : {"auto", "cpu", "gpu"}
    command : str, optional
        The command line, for the record.

    Returns
    -------
    recipe : dict
        What ``encoder.json`` holds: configuration, corpus, loss curve, and bits a byte on held-out text.
    """
    corpus = load_corpus(config.corpus)
    tokens = {split: encode_text_rows(corpus.texts(split)) for split in ("train", "valid", "test")}
    length = config.model.n_positions
    model = RobertaForMaskedLM(config.model, numpy.random.default_rng(config.train.seed), device=device)

    def sample_batch(rng):
        return masked_window_batch(tokens["train"], rng, batch_size=config.train.batch_size, length=length)

    def loss_on(split):
        return evaluate_loss(model, masked_windows(tokens[split], length=length, batch_size=16))

    frequencies = {split: unigram_bits_per_byte(tokens["train"], tokens[split]) for split in ("valid", "test")}
    return train_and_record(
        model,
        config,
        folder,
        name="encoder",
        sample_batch=sample_batch,
        loss_on=loss_on,
        corpus={"id": corpus.id, "bytes": {split: len(t) for split, t in tokens.items()}},
        baseline={"unigram_bits_per_byte": frequencies},
        checkpoint_every=checkpoint_every,
        command=command,
    )


def unigram_bits_per_byte(train, held_out):
    """What a byte of `held_out` costs on average to one who knows how often each byte came in `train`."""
    seen, new = (numpy.bincount(t[t >= FIRST_BYTE], minlength=EncoderTokenizer.vocab_size) for t in (train, held_out))
    seen = seen[FIRST_BYTE:] + 1  # a byte that never came is not impossible
    return float(new[FIRST_BYTE:] @ -numpy.log(seen / seen.sum()) / math.log(2) / new.sum())

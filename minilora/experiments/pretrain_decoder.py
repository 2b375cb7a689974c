"""The bundled decoder: a byte-level GPT, which predicts each next byte. It is compared with gzip."""

import gzip
from functools import partial

import numpy

from minilora.data.batches import encode_documents, window_batch, windows
from minilora.data.tokenizer import ByteTokenizer
from minilora.experiments.pretrain import Kind, PretrainConfig
from minilora.models import GPT, GPTConfig
from minilora.training import TrainConfig


def gzip_bits_per_byte(train, held_out):
    """What a general-purpose compressor, which knows nothing of `train`, needs for the same bytes."""
    data = held_out.astype(numpy.uint8).tobytes()
    return 8 * len(gzip.compress(data, 9)) / len(data)


DECODER = Kind(
    name="decoder",
    config=PretrainConfig(
        model=GPTConfig(vocab_size=256, n_positions=256, n_layer=4, d_model=192, n_head=4),
        train=TrainConfig(
            steps=8000,
            batch_size=8,
            lr=2e-3,
            betas=(0.9, 0.99),
            weight_decay=0.1,
            warmup=0.02,
            schedule="cosine",
            eval_every=500,
        ),
    ),
    new_model=GPT,
    tokenizer=ByteTokenizer(),
    encode=lambda texts: encode_documents(texts, ByteTokenizer()),
    sample=window_batch,
    held_out=partial(windows, end_of_text=ByteTokenizer.end_of_text),
    rival="gzip",
    rival_bits=gzip_bits_per_byte,
)

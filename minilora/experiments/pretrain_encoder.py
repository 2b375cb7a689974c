"""The bundled encoder: a byte-level RoBERTa, on masked bytes of the prose that the decoder reads.

Of the bytes, 15 % are chosen, most of them hidden, and the model says what each was (`data/masked.py`). Its bits a byte
are those of the chosen bytes, each told from what stands on both sides; beside them stands what a byte costs to one who
only knows how frequent each is.
"""

import math

import numpy

from minilora.data.encoder_tokenizer import FIRST_BYTE, PAD, EncoderTokenizer
from minilora.data.masked import encode_text_rows, masked_window_batch, masked_windows
from minilora.experiments.pretrain import Kind, PretrainConfig
from minilora.models import RobertaConfig, RobertaForMaskedLM
from minilora.training import TrainConfig


def unigram_bits_per_byte(train, held_out):
    """What a byte of `held_out` costs on average to one who knows how often each byte came in `train`."""
    seen, new = (numpy.bincount(t[t >= FIRST_BYTE], minlength=EncoderTokenizer.vocab_size) for t in (train, held_out))
    seen = seen[FIRST_BYTE:] + 1  # a byte that never came is not impossible
    return float(new[FIRST_BYTE:] @ -numpy.log(seen / seen.sum()) / math.log(2) / new.sum())


ENCODER = Kind(
    name="encoder",
    config=PretrainConfig(
        model=RobertaConfig(
            vocab_size=EncoderTokenizer.vocab_size, n_positions=256, n_layer=4, d_model=128, n_head=4, pad_id=PAD
        ),
        train=TrainConfig(
            steps=12000,
            batch_size=8,
            lr=1e-3,
            betas=(0.9, 0.98),
            weight_decay=0.01,
            warmup=0.06,
            schedule="linear",
            eval_every=500,
        ),
    ),
    model_class=RobertaForMaskedLM,
    encode=encode_text_rows,
    sample=masked_window_batch,
    held_out=masked_windows,
    rival="unigram",
    rival_bits=unigram_bits_per_byte,
)

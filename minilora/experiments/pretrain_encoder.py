"""The bundled encoder: a byte-level RoBERTa, on masked bytes of the prose that the decoder reads.

15 % of the bytes are chosen, most of these are hidden, and the model predicts what each was (`data/masked.py`). Its
bits per byte are those of the chosen bytes, each predicted from both sides. They are compared with the cost of a byte
under the unigram distribution, which only knows how frequent each byte is.

A single byte says little, and a hidden one nothing: at first, all that the model can use is how frequent each byte is,
until it has discovered that neighbours matter. With random position embeddings and windows of 256, it had not after
1,800 steps. Two things let it discover this within some hundreds:

- Position embeddings start as sinusoids (Vaswani et al., 2017, section 3.5), and are trained from there. The embedding
  of position p + k is the same linear function of that of p for every p, so that "look one to the left" has to be
  learned once, not once for each position.
- Most windows have 32 tokens, and some 64, 128 or 256: while attention is still uniform, each neighbour contributes
  1 / T of what a position reads, and so of the learning signal. What is learned in short windows carries over to
  long ones.
"""

import math

import numpy

from minilora.data.encoder_tokenizer import FIRST_BYTE, PAD, EncoderTokenizer
from minilora.data.masked import encode_text_rows, masked_window_batch, masked_windows
from minilora.experiments.pretrain import Kind, PretrainConfig
from minilora.models import RobertaConfig, RobertaForMaskedLM
from minilora.training import TrainConfig


def unigram_bits_per_byte(train, held_out):
    """Bits per byte of `held_out` under the byte frequencies of `train`."""
    seen, new = (numpy.bincount(t[t >= FIRST_BYTE], minlength=EncoderTokenizer.vocab_size) for t in (train, held_out))
    seen = seen[FIRST_BYTE:] + 1  # no byte is impossible, even if `train` lacks it
    return float(new[FIRST_BYTE:] @ -numpy.log(seen / seen.sum()) / math.log(2) / new.sum())


def sinusoids(n_positions, C):
    """Vaswani et al. (2017): at position p, sin(p w_k) and cos(p w_k) side by side, w_k = 10000^(-2 k / C): (n, C)."""
    angles = numpy.arange(n_positions)[:, None] * 10000.0 ** (-numpy.arange(0, C, 2) / C)  # (n, C / 2)
    return numpy.stack((numpy.sin(angles), numpy.cos(angles)), axis=-1).reshape(n_positions, C)


def new_encoder(config, rng, device="cpu"):
    """A RobertaForMaskedLM whose position embeddings are sinusoids, with the variance of the random ones."""
    model = RobertaForMaskedLM(config, rng, device=device)
    wpe = model.encoder.wpe.W.data
    wpe[:] = model.xp.asarray(0.02 * math.sqrt(2) * sinusoids(*wpe.shape))
    return model


def windows_of_some_length(tokens, rng, *, batch_size, length):
    """A batch of windows, mostly an eighth of `length` long, sometimes longer; every batch has equally many tokens."""
    parts = int(rng.choice((8, 4, 2, 1), p=(0.7, 0.1, 0.1, 0.1)))
    return masked_window_batch(tokens, rng, batch_size=batch_size * parts, length=length // parts)


ENCODER = Kind(
    name="encoder",
    config=PretrainConfig(
        model=RobertaConfig(
            vocab_size=EncoderTokenizer.vocab_size, n_positions=256, n_layer=4, d_model=128, n_head=4, pad_id=PAD
        ),
        train=TrainConfig(
            steps=8000,
            batch_size=8,
            lr=1e-3,
            betas=(0.9, 0.98),
            weight_decay=0.01,
            warmup=0.06,
            schedule="linear",
            eval_every=500,
        ),
    ),
    new_model=new_encoder,
    tokenizer=EncoderTokenizer(),
    encode=encode_text_rows,
    sample=windows_of_some_length,
    held_out=masked_windows,
    rival="unigram",
    rival_bits=unigram_bits_per_byte,
)

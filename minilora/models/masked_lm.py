"""Which tokens were hidden? RoBERTa's pretraining: some positions are masked, and the head says what stood there.

The head is dense, GELU, LayerNorm, and a linear map into the vocabulary whose W is the token embedding (tied), with a
bias of its own. Its W is one Parameter in two places: the gradients of both uses add up.
"""

from typing import Any, NamedTuple

import numpy

from minilora.models.encoder import EncoderWithHead
from minilora.models.roberta import Roberta, RobertaCache
from minilora.ops.fast import (
    CrossEntropyCache,
    GeluCache,
    LayerNormCache,
    LinearCache,
    check_targets,
    cross_entropy_backward,
    cross_entropy_forward,
    gelu_exact_backward,
    gelu_exact_forward,
    linear_dbias,
    linear_dW,
    linear_dx,
    linear_forward,
    rows,
)
from minilora.parameter import Module, Parameter


class MaskedLMHeadCache(NamedTuple):
    dense: LinearCache
    gelu: GeluCache
    ln: LayerNormCache
    decoder: LinearCache


class MaskedLMHead(Module):
    """logits = ln(gelu(dense(x))) W^T + bias: (..., C) -> (..., V).

    Parameters
    ----------
    dense : Linear, C -> C
    ln : LayerNorm
    W : Parameter of shape (V, C)
        The token embedding's own.
    bias : ndarray of shape (V,)
    """

    def __init__(self, dense, ln, W, bias):
        self.dense = dense
        self.ln = ln
        self.W = W
        self.bias = Parameter(bias)

    def forward(self, x, rng=None):
        """(..., C) -> (..., V)"""
        h, dense_cache = self.dense.forward(x, rng)  # (..., C) -> (..., C)
        h, gelu_cache = gelu_exact_forward(h)
        h, ln_cache = self.ln.forward(h)
        logits, decoder_cache = linear_forward(h, self.W.data, self.bias.data)  # (..., C) -> (..., V)
        return logits, MaskedLMHeadCache(dense_cache, gelu_cache, ln_cache, decoder_cache)

    def backward(self, dlogits, cache):
        """(..., V) -> (..., C)"""
        # forward: logits = h @ W.T + bias, h = ln(gelu(dense(x)))   so
        if self.W.trainable:
            self.W.accumulate(linear_dW(dlogits, cache.decoder))
        if self.bias.trainable:
            self.bias.accumulate(linear_dbias(dlogits, cache.decoder))
        dh = linear_dx(dlogits, cache.decoder)  # (..., V) -> (..., C)
        dh = self.ln.backward(dh, cache.ln)
        dh = gelu_exact_backward(dh, cache.gelu)
        return self.dense.backward(dh, cache.dense)


class MaskedLMLossCache(NamedTuple):
    encoder: RobertaCache
    counted: Any  # (M,) the positions that count, of N T
    head: MaskedLMHeadCache
    cross_entropy: CrossEntropyCache


class RobertaForMaskedLM(EncoderWithHead):
    """RoBERTa with its masked-language-model head; arguments are those of `EncoderWithHead`."""

    encoder_class = Roberta

    def new_head(self, new):
        """The head, of new layers."""
        C = self.config.d_model
        dense, ln = new.linear(C, C), new.layernorm(C, self.config.layer_norm_eps)
        return MaskedLMHead(dense, ln, self.encoder.wte.W, new.constant(0.0, self.config.vocab_size))

    def loss(self, ids, mask, targets, counted, rng=None, need_grad=True):
        """The mean of -log p(target) over the positions that count. The head works at those positions alone.

        Parameters
        ----------
        ids : integer ndarray of shape (N, T), on the host
            What the model reads: some of it masked.
        mask : boolean ndarray of shape (N, T), on the host
            False where there is padding.
        targets : integer ndarray of shape (N, T), on the host
            What stood there.
        counted : boolean ndarray of shape (N, T), on the host
            True where the model is asked. If it is so nowhere, the loss is 0.
        rng : numpy.random.Generator, optional
            Draws dropout, where an adapter has it.
        need_grad : bool
            Whether `backward_loss` will be called. Here it makes no difference.

        Returns
        -------
        loss : array scalar, in nats
        cache : MaskedLMLossCache
        """
        for name, array in (("targets", targets), ("counted", counted)):
            if array.shape != ids.shape:
                raise ValueError(f"{name} had shape {array.shape}; ids had {ids.shape}")
        check_targets(targets, self.config.vocab_size)
        x, encoder_cache = self.hidden(*self.place(ids, mask), rng)  # (N, T, C)
        counted = numpy.flatnonzero(counted)  # (M,)
        targets = self.xp.asarray(targets.reshape(-1)[counted])
        counted = self.xp.asarray(counted)
        logits, head_cache = self.head.forward(rows(x)[counted], rng)  # (M, C) -> (M, V)
        loss, loss_cache = cross_entropy_forward(logits, targets)
        return loss, MaskedLMLossCache(encoder_cache, counted, head_cache, loss_cache)

    def backward_loss(self, dloss, cache):
        """Like `backward`, for a cache of `loss`; dloss is a Python float."""
        dlogits = cross_entropy_backward(dloss, cache.cross_entropy)  # (M, V)
        dx = self.head.backward(dlogits, cache.head)  # (M, C)
        if self.encoder.trainable:
            # forward: the head reads rows(x)[counted]   so   every other row has gradient zero
            shape = cache.encoder.ln_e.xhat.shape  # (N, T, C)
            dx_all = self.xp.zeros((shape[0] * shape[1], shape[2]), dtype=dx.dtype)
            dx_all[cache.counted] = dx
            self.encoder.backward_hidden(dx_all.reshape(shape), cache.encoder)

"""Which tokens were hidden? RoBERTa's pretraining: some positions are masked, and the head predicts their tokens.

The head is dense, GELU, LayerNorm, and a linear map into the vocabulary whose W is the token embedding (tied), with a
bias of its own. W is one Parameter in two places: the gradients of both uses add up.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy

from minilora.arrays.backend import Array
from minilora.layers import Activation
from minilora.layers.layernorm import LayerNorm
from minilora.layers.linear import Linear, without_frozen
from minilora.models.checks import check_field
from minilora.models.encoder import EncoderWithHead
from minilora.models.initial import Initializer
from minilora.models.model import fields_of
from minilora.models.roberta import Roberta, RobertaCache
from minilora.ops.fast import (
    CrossEntropyCache,
    GeluCache,
    LayerNormCache,
    LinearCache,
    TakeRowsCache,
    check_targets,
    cross_entropy_backward,
    cross_entropy_forward,
    linear_backward,
    linear_forward,
    take_rows_backward,
    take_rows_forward,
)
from minilora.parameter import Module, Parameter

if TYPE_CHECKING:
    from minilora.data import MaskedBatch


class MaskedLMHeadCache(NamedTuple):
    dense: LinearCache
    activation: GeluCache
    ln: LayerNormCache
    decoder: LinearCache


class MaskedLMHead(Module):
    """logits = ln(gelu(dense(x))) W^T + bias: (..., C) -> (..., V).

    Parameters
    ----------
    dense : Linear, C -> C
    ln : LayerNorm
    W : Parameter of shape (V, C)
        The token embedding's own Parameter.
    bias : ndarray of shape (V,)
    """

    def __init__(self, dense: Linear, ln: LayerNorm, W: Parameter, bias: Array) -> None:
        self.dense = dense
        self.activation = Activation("gelu")
        self.ln = ln
        self.W = W
        self.bias = Parameter(bias)

    def forward(self, x: Array) -> tuple[Array, MaskedLMHeadCache]:
        """(..., C) -> (..., V)"""
        h, dense_cache = self.dense.forward(x)  # (..., C) -> (..., C)
        h, activation_cache = self.activation.forward(h)
        h, ln_cache = self.ln.forward(h)
        logits, decoder_cache = linear_forward(h, self.W.data, self.bias.data)  # (..., C) -> (..., V)
        decoder_cache = without_frozen(decoder_cache, self.W, self.bias)
        return logits, MaskedLMHeadCache(dense_cache, activation_cache, ln_cache, decoder_cache)

    def backward(self, dlogits: Array, cache: MaskedLMHeadCache) -> Array:
        """(..., V) -> (..., C)"""
        # forward: logits = h @ W.T + bias, h = ln(gelu(dense(x)))   so
        dh, dW, dbias = linear_backward(dlogits, cache.decoder)  # (..., V) -> (..., C)
        self.W.accumulate(dW)
        self.bias.accumulate(dbias)
        dh = self.ln.backward(dh, cache.ln)
        dh = self.activation.backward(dh, cache.activation)
        return self.dense.backward(dh, cache.dense)


class MaskedLMLossCache(NamedTuple):
    encoder: RobertaCache
    rows: TakeRowsCache  # the positions that count
    head: MaskedLMHeadCache
    cross_entropy: CrossEntropyCache


class RobertaForMaskedLM(EncoderWithHead):
    """RoBERTa with its masked-language-model head; arguments are those of `EncoderWithHead`."""

    encoder_class = Roberta

    def new_head(self, new: Initializer) -> MaskedLMHead:
        """A new head."""
        C = self.config.d_model
        dense, ln = new.linear(C, C), new.layernorm(C, self.config.layer_norm_eps)
        return MaskedLMHead(dense, ln, self.encoder.wte.W, new.constant(0.0, self.config.vocab_size))

    def loss(self, batch: "MaskedBatch", *, need_grad: bool = True) -> tuple[Array, MaskedLMLossCache]:
        """The mean of -log p(target) over the positions that count. The head computes only those positions.

        Parameters
        ----------
        batch : MaskedBatch
            ids, integers (N, T), what the model reads, some of it hidden; padding_mask, booleans (N, T), False at
            padding, or None; targets, integers (N, T), the original tokens; and loss_mask, booleans (N, T), True where
            the loss counts: on the host. If it counts nowhere, the loss is 0.
        need_grad : bool
            Whether `backward_loss` will be called. Here it makes no difference.

        Returns
        -------
        loss : array scalar, in nats
        cache : MaskedLMLossCache

        Raises
        ------
        TypeError, ValueError
            If the batch is of another kind, or a field of another type, shape or range.
        """
        ids, padding_mask, targets, loss_mask = fields_of(batch, "ids", "padding_mask", "targets", "loss_mask")
        ids, padding_mask = self.to_model(ids, padding_mask)
        check_field("targets", targets, ids.shape, "integers")
        check_field("loss_mask", loss_mask, ids.shape, "booleans")
        check_targets(targets, self.config.vocab_size)
        x, encoder_cache = self.hidden(ids, padding_mask)  # (N, T, C)
        counted = self.xp.asarray(numpy.flatnonzero(loss_mask))  # (M,)
        x, rows_cache = take_rows_forward(x, counted)  # (N, T, C) -> (M, C)
        logits, head_cache = self.head.forward(x)  # (M, C) -> (M, V)
        loss, loss_cache = cross_entropy_forward(logits, self.xp.asarray(targets[loss_mask]))
        return loss, MaskedLMLossCache(encoder_cache, rows_cache, head_cache, loss_cache)

    def backward_loss(self, dloss: float, cache: MaskedLMLossCache) -> None:
        """Backward of `loss`: add dloss * d(loss)/dp to every trainable p.grad; dloss is a Python float."""
        dlogits = cross_entropy_backward(dloss, cache.cross_entropy)  # (M, V)
        dx = self.head.backward(dlogits, cache.head)  # (M, C)
        if self.encoder.trainable:
            self.encoder.backward_hidden(take_rows_backward(dx, cache.rows), cache.encoder)

"""Which class does a sequence belong to? The head reads the first token: dense, an activation, out_proj.

RoBERTa's activation is tanh. DeBERTa calls dense and its activation, the exact GELU, the context pooler.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy

from minilora.arrays.backend import Array, on_host
from minilora.layers import Activation
from minilora.layers.linear import Linear
from minilora.models.checks import check_field
from minilora.models.deberta import Deberta
from minilora.models.encoder import EncoderCache, EncoderWithHead
from minilora.models.initial import Initializer
from minilora.models.model import Model, fields_of
from minilora.models.roberta import Roberta
from minilora.ops.fast import (
    CrossEntropyCache,
    GeluCache,
    LinearCache,
    TanhCache,
    check_targets,
    cross_entropy_backward,
    cross_entropy_forward,
)
from minilora.parameter import Module

if TYPE_CHECKING:
    from minilora.data import ClassificationBatch


class ClassificationHeadCache(NamedTuple):
    shape: tuple[int, ...]  # (N, T, C)
    dense: LinearCache
    activation: TanhCache | GeluCache
    out_proj: LinearCache


class ClassificationHead(Module):
    """logits = out_proj(activation(dense(x[:, 0]))): (N, T, C) -> (N, n_classes).

    Parameters
    ----------
    dense : Linear, C -> C
    out_proj : Linear, C -> n_classes
    activation : str
        "tanh", RoBERTa's, or "gelu", DeBERTa's.
    """

    def __init__(self, dense: Linear, out_proj: Linear, activation: str) -> None:
        self.dense = dense
        self.activation = Activation(activation)
        self.out_proj = out_proj

    def forward(self, x: Array) -> tuple[Array, ClassificationHeadCache]:
        """(N, T, C) -> (N, n_classes)"""
        h, dense_cache = self.dense.forward(x[:, 0])  # (N, T, C) -> (N, C)
        h, activation_cache = self.activation.forward(h)
        logits, out_cache = self.out_proj.forward(h)  # (N, C) -> (N, n_classes)
        return logits, ClassificationHeadCache(x.shape, dense_cache, activation_cache, out_cache)

    def backward(self, dlogits: Array, cache: ClassificationHeadCache) -> Array:
        """(N, n_classes) -> (N, T, C)"""
        # forward: logits = out_proj(activation(dense(x[:, 0])))   so
        dh = self.out_proj.backward(dlogits, cache.out_proj)  # (N, n_classes) -> (N, C)
        dh = self.activation.backward(dh, cache.activation)
        dx = self.xp.zeros(cache.shape, dtype=dh.dtype)  # (N, T, C), zero at every position but the first
        dx[:, 0] = self.dense.backward(dh, cache.dense)
        return dx


class ClassificationLossCache(NamedTuple):
    model: EncoderCache
    cross_entropy: CrossEntropyCache


class EncoderForClassification(EncoderWithHead):
    """An encoder whose head gives (N, n_classes) logits, and its loss."""

    activation: str

    def new_head(self, new: Initializer) -> ClassificationHead:
        """A new head."""
        C = self.config.d_model
        return ClassificationHead(new.linear(C, C), new.linear(C, self.config.n_classes), self.activation)

    def to_model(  # type: ignore[override]
        self, ids: Array, padding_mask: Array | None
    ) -> tuple[Array, Array | None]:
        """See the encoder's `to_model`; also refuses a mask that hides a row's first position, which the head reads."""
        placed = super().to_model(ids, padding_mask)
        check_first_position(padding_mask)
        return placed

    def hidden(self, ids: Array, padding_mask: Array | None = None) -> tuple[Array, Any]:
        """See the encoder's `hidden`; also refuses a mask on the host that hides a row's first position."""
        x_and_cache = super().hidden(ids, padding_mask)
        check_first_position(padding_mask)
        return x_and_cache

    def loss(self, batch: "ClassificationBatch", *, need_grad: bool = True) -> tuple[Array, ClassificationLossCache]:
        """The mean over sequences of -log p(label).

        Parameters
        ----------
        batch : ClassificationBatch
            ids, integers (N, T); padding_mask, booleans (N, T), False at padding, which must follow the tokens, or
            None; and labels, integers (N,): on the host.
        need_grad : bool
            Whether `backward_loss` will be called. Here it makes no difference.

        Returns
        -------
        loss : array scalar, in nats
        cache : ClassificationLossCache

        Raises
        ------
        TypeError, ValueError
            If the batch is of another kind, or a field of another type, shape or range.
        """
        ids, padding_mask, labels = fields_of(batch, "ids", "padding_mask", "labels")
        ids, padding_mask = self.to_model(ids, padding_mask)
        check_field("labels", labels, ids.shape[:1], "integers")
        check_targets(labels, self.config.n_classes)
        logits, cache = self.forward(ids, padding_mask)  # (N, n_classes)
        loss, loss_cache = cross_entropy_forward(logits, self.xp.asarray(labels))
        return loss, ClassificationLossCache(cache, loss_cache)

    def backward_loss(self, dloss: float, cache: ClassificationLossCache) -> None:
        """Backward of `loss`: add dloss * d(loss)/dp to every trainable p.grad; dloss is a Python float."""
        self.backward(cross_entropy_backward(dloss, cache.cross_entropy), cache.model)


class RobertaForClassification(EncoderForClassification):
    """RoBERTa with a head for `config.n_classes` classes; arguments are those of `EncoderWithHead`."""

    encoder_class = Roberta
    activation = "tanh"


class DebertaForClassification(EncoderForClassification):
    """DeBERTa with its pooler and a classifier for `config.n_classes` classes; arguments: `EncoderWithHead`."""

    encoder_class = Deberta
    activation = "gelu"


CLASSIFIERS: dict[Any, type[EncoderForClassification]] = {
    kind.encoder_class: kind for kind in (RobertaForClassification, DebertaForClassification)
}


def new_classifier(model: Model, n_classes: int, rng: numpy.random.Generator) -> EncoderForClassification:
    """A classifier with a new head on a pretrained encoder, which is used itself, not copied.

    Parameters
    ----------
    model : Roberta, Deberta, or a model with a head on one of them
        A model whose own head, if it has one, is dropped.
    n_classes : int
    rng : numpy.random.Generator
        Draws the head's weights.

    Returns
    -------
    RobertaForClassification or DebertaForClassification

    Raises
    ------
    ValueError
        If the model has no encoder.
    """
    encoder: Any = getattr(model, "encoder", model)
    if type(encoder) not in CLASSIFIERS:
        possible = " or ".join(encoder_class.__name__ for encoder_class in CLASSIFIERS)
        raise ValueError(f"model was a {type(model).__name__}; a classifier needs an encoder, a {possible}")
    return CLASSIFIERS[type(encoder)](replace(encoder.config, n_classes=n_classes), rng, encoder=encoder)


def check_first_position(padding_mask: Array | None) -> None:
    """Raise a ValueError if a mask on the host hides the first position of a row."""
    if padding_mask is not None and on_host(padding_mask) and not padding_mask[:, 0].all():
        row = int(padding_mask[:, 0].argmin())
        raise ValueError(f"padding_mask hid position 0 of row {row}, which the head reads; padding must come after it")

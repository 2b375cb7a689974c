"""Encoders, which see a whole sequence at once, and models that have a head on top of one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy

from minilora.arrays.backend import Array, on_host
from minilora.layers import Embedding
from minilora.models.checks import check_on_host
from minilora.models.initial import Initializer, Uninitialized
from minilora.models.model import Model


class Encoder(Model):
    """What RoBERTa and DeBERTa have in common, apart from their `hidden` and `backward_hidden`."""

    config: Any  # a RobertaConfig or DebertaConfig
    wte: Embedding
    hidden: Callable[..., tuple[Array, Any]]
    backward_hidden: Callable[..., None]

    def forward(self, ids: Array, padding_mask: Array | None = None) -> tuple[Array, Any]:
        """The forward pass: without a head, the result is that of `hidden`, which a head would read."""
        return self.hidden(ids, padding_mask)

    def backward(self, dx: Array, cache: Any) -> None:
        """The backward pass: without a head, dx is the gradient of `hidden`'s result."""
        self.backward_hidden(dx, cache)

    def check_inputs(  # type: ignore[override]  # a decoder takes no mask, and an encoder no start
        self, ids: Array, padding_mask: Array | None = None
    ) -> None:
        """Raise a ValueError unless `forward` can take these."""
        super().check_inputs(ids)
        if padding_mask is not None and (padding_mask.shape != ids.shape or padding_mask.dtype.kind not in "biu"):
            was = f"had shape {padding_mask.shape} and dtype {padding_mask.dtype}"
            raise ValueError(f"padding_mask {was}; it must be booleans of ids' shape, {ids.shape}")

    def to_model(  # type: ignore[override]
        self, ids: Array, padding_mask: Array | None
    ) -> tuple[Array, Array | None]:
        """Check ids and padding_mask on the host, and move them to the model; a mask that hides nothing becomes None.

        They are checked here because reading them on a GPU would make every step wait for it.
        """
        check_on_host("ids", ids)
        if padding_mask is not None:
            check_on_host("padding_mask", padding_mask)
        self.check_inputs(ids, padding_mask)
        hides = padding_mask is not None and not padding_mask.all()
        return self.xp.asarray(ids), self.xp.asarray(padding_mask) if hides else None


class EncoderCache(NamedTuple):
    encoder: Any
    head: Any


class EncoderWithHead(Model):
    """``logits, cache = model.forward(ids, padding_mask)``, then ``model.backward(dlogits, cache)``.

    A subclass says which `encoder_class` it is for, and makes its head: ``logits, cache = head.forward(x)`` for x
    of shape (N, T, C).

    Parameters
    ----------
    config : RobertaConfig or DebertaConfig
        The encoder's configuration.
    rng : numpy.random.Generator
        Weights are N(0, 0.02^2).
    dtype : str
    device : {"cpu", "gpu", "auto"}
    encoder : Encoder, optional
        A pretrained encoder, to get a new head. It is used itself, not copied; dtype and device are then its own.

    Raises
    ------
    ValueError
        If the given encoder does not have the shape in `config`.
    """

    config: Any  # that of its encoder
    encoder_class: Any
    new_head: Callable[[Initializer], Any]

    def __init__(
        self,
        config: Any,
        rng: numpy.random.Generator | Uninitialized,
        *,
        dtype: str = "float32",
        device: str = "cpu",
        encoder: Encoder | None = None,
    ) -> None:
        if encoder is None:
            encoder = self.encoder_class(config, rng, dtype=dtype, device=device)
        elif replace(encoder.config, n_classes=config.n_classes) != config:
            raise ValueError(
                f"config was {config}; it must equal the encoder's, {encoder.config}, except for n_classes"
            )
        W = encoder.wte.W.data
        self.config = config
        self.encoder = encoder
        self.head = self.new_head(Initializer(rng, W.dtype, "cpu" if on_host(W) else "gpu"))
        self.name_parameters()

    @property
    def longest_input(self) -> float:
        """The most tokens that a sequence can have: the encoder's."""
        return self.encoder.longest_input

    @property
    def recompute(self) -> bool:
        """Whether the encoder keeps only each block's input, and makes the rest again in the backward."""
        return self.encoder.recompute

    @recompute.setter
    def recompute(self, value: bool) -> None:
        self.encoder.recompute = value

    def to_model(  # type: ignore[override]
        self, ids: Array, padding_mask: Array | None
    ) -> tuple[Array, Array | None]:
        """Check ids and padding_mask on the host, and move them to the model: see the encoder's `to_model`."""
        return self.encoder.to_model(ids, padding_mask)

    def hidden(self, ids: Array, padding_mask: Array | None = None) -> tuple[Array, Any]:
        """What the head reads, (N, T) -> (N, T, C), and its cache."""
        return self.encoder.hidden(ids, padding_mask)

    def forward(self, ids: Array, padding_mask: Array | None = None) -> tuple[Array, EncoderCache]:
        """Logits; arguments and errors are those of the encoder's `hidden`."""
        x, encoder_cache = self.hidden(ids, padding_mask)  # (N, T, C)
        logits, head_cache = self.head.forward(x)
        return logits, EncoderCache(encoder_cache, head_cache)

    def backward(self, dlogits: Array, cache: EncoderCache) -> None:
        """Add to the gradient of every trainable parameter, going no deeper than the lowest one."""
        dx = self.head.backward(dlogits, cache.head)
        if self.encoder.trainable:
            self.encoder.backward_hidden(dx, cache.encoder)

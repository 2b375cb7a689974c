"""Encoders, which see a whole sequence at once, and models that have a head on top of one."""

import math
from dataclasses import replace
from typing import Any, NamedTuple

from minilora.arrays.backend import on_host
from minilora.models.initial import NewLayers
from minilora.models.shape import check_ids
from minilora.parameter import Module


class Encoder(Module):
    """What RoBERTa and DeBERTa have in common, beside their `hidden` and `backward_hidden`."""

    def forward(self, ids, mask=None, rng=None):
        """Without a head, a model's result is what a head would read: `hidden`."""
        return self.hidden(ids, mask, rng)

    def backward(self, dx, cache):
        """The same as `backward_hidden`."""
        self.backward_hidden(dx, cache)

    @property
    def longest_input(self):
        """The longest sequence that the model takes: infinite, if no position has an embedding of its own."""
        return getattr(self.config, "n_positions", math.inf)

    def place(self, ids, mask):
        """ids and mask from the host, checked, where the model lives; a mask that hides nothing becomes None.

        They are looked at here because looking at them on a GPU would make every step wait for it.
        """
        for name, array in (("ids", ids), ("mask", mask)):
            if array is not None and not on_host(array):
                raise ValueError(f"{name} lived on a device already; it must be a NumPy array")
        self._check_inputs(ids, mask)
        return self.xp.asarray(ids), None if mask is None or mask.all() else self.xp.asarray(mask)

    def _check_inputs(self, ids, mask):
        check_ids(ids, self.config.vocab_size)
        if mask is not None and (mask.shape != ids.shape or mask.dtype.kind not in "biu"):
            raise ValueError(
                f"mask had shape {mask.shape} and dtype {mask.dtype}; it may be booleans of ids' shape, {ids.shape}"
            )


class EncoderCache(NamedTuple):
    encoder: Any
    head: Any


class EncoderWithHead(Module):
    """``logits, cache = model.forward(ids, mask)``, then ``model.backward(dlogits, cache)``.

    A subclass says which `encoder_class` it is for, and makes its head: ``logits, cache = head.forward(x, rng)`` for x
    of shape (N, T, C).

    Parameters
    ----------
    config : RobertaConfig or DebertaConfig
        That of the encoder.
    rng : numpy.random.Generator
        Weights are N(0, 0.02^2).
    dtype : str
    device : {"cpu", "gpu", "auto"}
    encoder : Encoder, optional
        A pretrained one, to get a new head. It is used as it is, not copied; dtype and device are its own then.

    Raises
    ------
    ValueError
        If the given encoder has another shape than `config` says.
    """

    def __init__(self, config, rng, *, dtype="float32", device="cpu", encoder=None):
        if encoder is None:
            encoder = self.encoder_class(config, rng, dtype=dtype, device=device)
        elif replace(encoder.config, n_classes=config.n_classes) != config:
            raise ValueError(
                f"config was {config}; it may differ from the encoder's, {encoder.config}, in n_classes alone"
            )
        W = encoder.wte.W.data
        self.config = config
        self.encoder = encoder
        self.head = self.new_head(NewLayers(rng, W.dtype, "cpu" if on_host(W) else "gpu"))
        self.name_parameters()

    @property
    def longest_input(self):
        """The encoder's own."""
        return self.encoder.longest_input

    def place(self, ids, mask):
        """ids and mask from the host, checked, where the model lives: those of the encoder's `place`."""
        return self.encoder.place(ids, mask)

    def hidden(self, ids, mask=None, rng=None):
        """What the head reads, (N, T) -> (N, T, C), and its cache."""
        return self.encoder.hidden(ids, mask, rng)

    def forward(self, ids, mask=None, rng=None):
        """Logits; arguments and errors are those of the encoder's `hidden`."""
        x, encoder_cache = self.hidden(ids, mask, rng)  # (N, T, C)
        logits, head_cache = self.head.forward(x, rng)
        return logits, EncoderCache(encoder_cache, head_cache)

    def backward(self, dlogits, cache):
        """Add into the gradient of every trainable parameter; go no deeper than the lowest one."""
        dx = self.head.backward(dlogits, cache.head)
        if self.encoder.trainable:
            self.encoder.backward_hidden(dx, cache.encoder)

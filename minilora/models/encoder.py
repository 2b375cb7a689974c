"""An encoder with a head on top: what RoBERTa's models for this task and that have in common."""

from typing import Any, NamedTuple

from minilora.parameter import Module


class EncoderCache(NamedTuple):
    encoder: Any
    head: Any


class EncoderWithHead(Module):
    """``logits, cache = model.forward(ids, mask)``, then ``model.backward(dlogits, cache)``.

    Parameters
    ----------
    config : object
        The configuration of the whole.
    encoder : Module
        With `hidden` and `backward_hidden`, such as a Roberta.
    head : Module
        ``logits, cache = head.forward(x, rng)`` for x of shape (N, T, C).
    """

    def __init__(self, config, encoder, head):
        self.config = config
        self.encoder = encoder
        self.head = head
        self.name_parameters()

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
        dx = self.head.backward(dlogits, cache.head, need_dx=self.encoder.trainable)
        if dx is not None:
            self.encoder.backward_hidden(dx, cache.encoder)

"""Which class is a sequence of? RoBERTa's head reads the first token: dense, tanh, out_proj."""

from typing import NamedTuple

from minilora.backend import get_xp
from minilora.models.encoder import EncoderCache, EncoderWithHead
from minilora.models.roberta import encoder_and_new_layers
from minilora.ops import (
    CrossEntropyCache,
    LinearCache,
    TanhCache,
    check_targets,
    cross_entropy_backward,
    cross_entropy_forward,
    tanh_backward,
    tanh_forward,
)
from minilora.parameter import Module


class ClassificationHeadCache(NamedTuple):
    shape: tuple  # (N, T, C)
    dense: LinearCache
    tanh: TanhCache
    out_proj: LinearCache


class ClassificationHead(Module):
    """logits = out_proj(tanh(dense(x[:, 0]))): (N, T, C) -> (N, n_classes).

    Parameters
    ----------
    dense : Linear, C -> C
    out_proj : Linear, C -> n_classes
    """

    def __init__(self, dense, out_proj):
        self.dense = dense
        self.out_proj = out_proj

    def forward(self, x, rng=None):
        """(N, T, C) -> (N, n_classes)"""
        h, dense_cache = self.dense.forward(x[:, 0], rng)  # (N, T, C) -> (N, C)
        h, tanh_cache = tanh_forward(h)
        logits, out_cache = self.out_proj.forward(h, rng)  # (N, C) -> (N, n_classes)
        return logits, ClassificationHeadCache(x.shape, dense_cache, tanh_cache, out_cache)

    def backward(self, dlogits, cache, need_dx=True):
        """(N, n_classes) -> (N, T, C)"""
        below_tanh = need_dx or self.dense.trainable
        dh = self.out_proj.backward(dlogits, cache.out_proj, need_dx=below_tanh)
        if not below_tanh:
            return None
        dh = tanh_backward(dh, cache.tanh)
        dh = self.dense.backward(dh, cache.dense, need_dx)
        if not need_dx:
            return None
        # forward: the head reads x[:, 0]   so   every other position has gradient zero
        dx = get_xp(dh=dh).zeros(cache.shape, dtype=dh.dtype)
        dx[:, 0] = dh
        return dx


class ClassificationLossCache(NamedTuple):
    model: EncoderCache
    cross_entropy: CrossEntropyCache


class EncoderForClassification(EncoderWithHead):
    """An encoder whose head gives (N, n_classes) logits, and its loss."""

    new_parts = ("head",)  # no pretraining has seen it: every method of adaptation trains it

    def loss(self, ids, mask, labels, rng=None, need_grad=True):
        """The mean over sequences of -log p(label).

        Parameters
        ----------
        ids : integer ndarray of shape (N, T), on the host
        mask : boolean ndarray of shape (N, T), on the host
            False where there is padding.
        labels : integer ndarray of shape (N,), on the host
        rng : numpy.random.Generator, optional
            Draws dropout, where an adapter has it.
        need_grad : bool
            Whether `backward_loss` will be called. Here it makes no difference.

        Returns
        -------
        loss : array scalar, in nats
        cache : ClassificationLossCache
        """
        if labels.shape != ids.shape[:1]:
            raise ValueError(f"labels had shape {labels.shape}; ids had {len(ids)} rows")
        check_targets(labels, self.config.n_classes)
        logits, cache = self.forward(*self.encoder.place(ids, mask), rng)  # (N, n_classes)
        loss, loss_cache = cross_entropy_forward(logits, self.xp.asarray(labels))
        return loss, ClassificationLossCache(cache, loss_cache)

    def backward_loss(self, dloss, cache):
        """Like `backward`, for a cache of `loss`; dloss is a Python float."""
        self.backward(cross_entropy_backward(dloss, cache.cross_entropy), cache.model)


class RobertaForClassification(EncoderForClassification):
    """RoBERTa with a classification head for `config.n_classes` classes.

    Parameters
    ----------
    config : RobertaConfig
    rng : numpy.random.Generator
        Weights are N(0, 0.02^2).
    dtype : str
    device : {"cpu", "gpu", "auto"}
    encoder : Roberta, optional
        A pretrained one, to get a new head. It is used as it is, not copied; dtype and device are its own then.
    """

    def __init__(self, config, rng, *, dtype="float32", device="cpu", encoder=None):
        encoder, new = encoder_and_new_layers(config, rng, dtype, device, encoder)
        C = config.d_model
        super().__init__(config, encoder, ClassificationHead(new.linear(C, C), new.linear(C, config.n_classes)))

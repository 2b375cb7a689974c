"""DeBERTa's classifier: the context pooler reads the first token, dense and GELU, and a linear map follows."""

from dataclasses import replace
from typing import NamedTuple

from minilora.backend import get_xp, on_host
from minilora.models.classification import EncoderForClassification
from minilora.models.deberta import Deberta
from minilora.models.initial import NewLayers
from minilora.ops import GeluCache, LinearCache, gelu_exact_backward, gelu_exact_forward
from minilora.parameter import Module


class PoolerHeadCache(NamedTuple):
    shape: tuple  # (N, T, C)
    dense: LinearCache
    gelu: GeluCache
    out_proj: LinearCache


class PoolerHead(Module):
    """logits = out_proj(gelu(dense(x[:, 0]))): (N, T, C) -> (N, n_classes).

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
        h, gelu_cache = gelu_exact_forward(h)
        logits, out_cache = self.out_proj.forward(h, rng)  # (N, C) -> (N, n_classes)
        return logits, PoolerHeadCache(x.shape, dense_cache, gelu_cache, out_cache)

    def backward(self, dlogits, cache, need_dx=True):
        """(N, n_classes) -> (N, T, C)"""
        below_gelu = need_dx or self.dense.trainable
        dh = self.out_proj.backward(dlogits, cache.out_proj, need_dx=below_gelu)
        if not below_gelu:
            return None
        dh = gelu_exact_backward(dh, cache.gelu)
        dh = self.dense.backward(dh, cache.dense, need_dx)
        if not need_dx:
            return None
        # forward: the head reads x[:, 0]   so   every other position has gradient zero
        dx = get_xp(dh=dh).zeros(cache.shape, dtype=dh.dtype)
        dx[:, 0] = dh
        return dx


class DebertaForClassification(EncoderForClassification):
    """DeBERTa with a pooler and a classifier for `config.n_classes` classes.

    Parameters
    ----------
    config : DebertaConfig
    rng : numpy.random.Generator
        Weights are N(0, 0.02^2).
    dtype : str
    device : {"cpu", "gpu", "auto"}
    encoder : Deberta, optional
        A pretrained one, to get a new head. It is used as it is, not copied; dtype and device are its own then.

    Raises
    ------
    ValueError
        If the given encoder has another shape than `config` says.
    """

    def __init__(self, config, rng, *, dtype="float32", device="cpu", encoder=None):
        if encoder is None:
            encoder = Deberta(config, rng, dtype=dtype, device=device)
        elif replace(encoder.config, n_classes=config.n_classes) != config:
            raise ValueError(
                f"config was {config}; it may differ from the encoder's, {encoder.config}, in n_classes alone"
            )
        W, C = encoder.wte.W.data, config.d_model
        new = NewLayers(rng, W.dtype, "cpu" if on_host(W) else "gpu")
        super().__init__(config, encoder, PoolerHead(new.linear(C, C), new.linear(C, config.n_classes)))

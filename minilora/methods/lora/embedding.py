"""LoRA on the token embedding: a frozen Embedding with low-rank adapters next to it, as a LoRALinear has them.

A head that is tied to it reads the frozen E: an adapter on one use of a matrix does not reach the other, as in PEFT. It
cannot be merged then, because E + delta_E would be the head's, too; `merge_lora` says so. What adapts both uses at once
is `methods/trainable_tokens.py`.
"""

from typing import Any

from minilora.arrays.backend import Array
from minilora.layers import Embedding
from minilora.methods.lora.layer import AdaptedCache, LoRAFactors, LoRALinear
from minilora.ops.fast import lora_embedding_backward, lora_embedding_forward
from minilora.parameter import Module, Parameter


class LoRAEmbeddingFactors(LoRAFactors):
    """One adapter's part in an embedding: A (r, V), B (C, r), and delta_E = (scale B A)^T. It has no dropout."""

    def forward(self, x: Array, base: Any) -> tuple[Array, Any]:
        """Integers (...) -> (..., C)"""
        return lora_embedding_forward(x, base.W.data, self.A.data, self.B.data, self.scale)

    def backward(self, dy: Array, cache: Any) -> None:
        """Add to the gradients of A and B; ids have none."""
        dA, dB = lora_embedding_backward(dy, cache)
        self.A.accumulate(dA)
        self.B.accumulate(dB)

    def low_rank(self) -> Any:
        """A^T, B^T and scale, such that scale * A^T @ B^T is delta_E, (V, C)."""
        return self.A.data.T, self.B.data.T, self.scale


class LoRAEmbedding(LoRALinear):
    """y = E[ids] + scale (A^T)[ids] B^T, with E that of `base`, which does not change.

    Parameters
    ----------
    base : Embedding
    """

    base: Any

    def __init__(self, base: Embedding) -> None:
        super().__init__(base)  # type: ignore[arg-type]  # it has a W, as a Linear has

    @property
    def W(self) -> Parameter:
        """The base's E, (V, C): what a tied head reads."""
        return self.base.W

    @property
    def frozen_bias(self) -> None:
        """None: an embedding has no bias."""

    @property
    def only_W(self) -> None:
        """None: it is no linear map of its input."""

    def backward(self, dy: Array, cache: AdaptedCache) -> None:
        """Add to the gradients of A and B."""
        self.check_cache(cache)
        cache.owner.backward(dy, cache.inner)


def token_embeddings(model: Module) -> dict[str, Any]:
    """The embeddings that LoRA can adapt, or has adapted, by path: the tokens', "wte"."""
    found = {path: layer for path, layer in model.named_modules() if path.rpartition(".")[2] == "wte"}
    return {path: layer for path, layer in found.items() if isinstance(layer, Embedding | LoRAEmbedding)}


def has_tied_head(model: Any) -> bool:
    """Whether a model's head reads the very Parameter of the token embedding."""
    head, embeddings = getattr(model, "head", None), token_embeddings(model).values()
    own = {id(layer.W) for layer in embeddings}
    return isinstance(head, Module) and any(id(p) in own for p in head.parameters())

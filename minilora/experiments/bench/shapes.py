"""What is measured: shapes of models and batches, and the matrix products that a training step of each consists of."""

from dataclasses import dataclass
from typing import NamedTuple

from minilora.models import GPTConfig, LlamaConfig
from minilora.ops.fast.attention_tiles import QUERIES

RANK = 8  # LoRA's, on W_q and W_v


@dataclass(frozen=True)
class Shape:
    """A GPT and a batch, in the letters of the notation; or with G and F a Llama, whose head is its embedding."""

    L: int
    C: int
    T: int
    N: int
    V: int
    H: int
    G: int | None = None
    F: int | None = None

    @property
    def config(self):
        """The GPTConfig or the LlamaConfig of this shape."""
        sizes = {"vocab_size": self.V, "n_positions": max(self.T, 256), "n_layer": self.L, "d_model": self.C}
        if self.G is None:
            return GPTConfig(**sizes, n_head=self.H)
        return LlamaConfig(**sizes, n_head=self.H, n_kv_head=self.G, d_mlp=self.F, tied_head=True)


SHAPES = {
    "S1": Shape(L=4, C=128, T=64, N=16, V=256, H=4),
    "S2": Shape(L=4, C=256, T=128, N=8, V=256, H=4),
    "S3": Shape(L=6, C=384, T=256, N=4, V=256, H=6),
    "gpt2-small": Shape(L=12, C=768, T=256, N=2, V=50257, H=12),
    "smollm2": Shape(L=30, C=576, T=256, N=2, V=49152, H=9, G=3, F=1536),
}


class Product(NamedTuple):
    """`times` products (m, k) @ (k, n); `batch` of them are made in one call."""

    times: int
    m: int
    k: int
    n: int
    batch: int = 1

    @property
    def flops(self):
        """Multiplications and additions, of all of them."""
        return 2 * self.times * self.batch * self.m * self.k * self.n


def products_of_step(shape, method, rank=RANK):
    """The matrix products of one training step: forward, and the backward that the method needs.

    Parameters
    ----------
    shape : Shape
        All N T rows go through each product at once.
    method : {"lora", "full"}
        LoRA of this rank on q_proj and v_proj has no dW; full fine-tuning has all.
    rank : int

    Returns
    -------
    list of Product
    """
    L, C, T, N, V, H = (getattr(shape, letter) for letter in "LCTNVH")
    M, K, G = N * T, C // H, shape.G or H
    if shape.G is None:
        F = 4 * C
        weights = [(4 * L, C, C), (L, C, F), (L, F, C), (1, C, V)]  # (how many, I, O): q, k, v, o; fc_in; fc_out; head
    else:
        F = shape.F  # q, o; k, v; gate, up; down; head
        weights = [(2 * L, C, C), (2 * L, C, G * K), (2 * L, C, F), (L, F, C), (1, C, V)]
    products = [Product(times, M, I, O) for times, I, O in weights]  # y = x W^T
    products += [Product(times, M, O, I) for times, I, O in weights]  # dx = dy W
    if method == "full":
        products += [Product(times, O, M, I) for times, I, O in weights]  # dW = dy^T x
    else:
        r = rank
        for O in (C, G * K):  # of q_proj and v_proj
            # h = x A^T and h B^T; dh = dy B, dB = dy^T h, dA = dh^T x, and dh A
            products += [Product(L, M, C, r), Product(L, M, r, O)]
            products += [Product(L, M, O, r), Product(L, O, M, r), Product(L, r, M, C)]
            products += [Product(L, M, r, C)]
    for start in range(0, T, QUERIES):
        i, j = min(QUERIES, T - start), min(start + QUERIES, T)  # queries of a tile, keys that they can see
        i *= H // G  # the heads of a group are one product
        # q k^T, dy v^T; probs v, dscores k; probs^T dy, dscores^T q
        for m, k, n in ((i, K, j), (i, j, K), (j, i, K)):
            products.append(Product(2 * L, m, k, n, batch=N * G))
        products.append(Product(L, i, K, j, batch=N * G))  # q k^T again, in the backward
    return products


def flops_of_step(shape, method, rank=RANK):
    """The multiplications and additions in the matrix products of one training step."""
    return sum(product.flops for product in products_of_step(shape, method, rank))

"""What is measured: shapes of GPTs and batches, and the matrix products that a training step of each consists of."""

from dataclasses import dataclass
from typing import NamedTuple

from minilora.models import GPTConfig
from minilora.ops.fast.attention_tiles import QUERIES

RANK = 8  # LoRA's, on W_q and W_v


@dataclass(frozen=True)
class Shape:
    """A GPT and a batch, in the letters of the notation."""

    L: int
    C: int
    T: int
    N: int
    V: int
    H: int

    @property
    def config(self):
        """The GPTConfig of this shape."""
        return GPTConfig(vocab_size=self.V, n_positions=max(self.T, 256), n_layer=self.L, d_model=self.C, n_head=self.H)


SHAPES = {
    "S1": Shape(L=4, C=128, T=64, N=16, V=256, H=4),
    "S2": Shape(L=4, C=256, T=128, N=8, V=256, H=4),
    "S3": Shape(L=6, C=384, T=256, N=4, V=256, H=6),
    "gpt2-small": Shape(L=12, C=768, T=256, N=2, V=50257, H=12),
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
    M, F, K = N * T, 4 * C, C // H
    weights = [(4 * L, C, C), (L, C, F), (L, F, C), (1, C, V)]  # (how many, I, O): q, k, v, o; fc_in; fc_out; head
    products = [Product(times, M, I, O) for times, I, O in weights]  # y = x W^T
    products += [Product(times, M, O, I) for times, I, O in weights]  # dx = dy W
    if method == "full":
        products += [Product(times, O, M, I) for times, I, O in weights]  # dW = dy^T x
    else:
        r = rank
        # h = x A^T and h B^T; dh = dy B, dB = dy^T h, dA = dh^T x, and dh A
        products += [Product(2 * L, M, C, r), Product(2 * L, M, r, C)]
        products += [Product(2 * L, M, C, r), Product(2 * L, C, M, r), Product(2 * L, r, M, C)]
        products += [Product(2 * L, M, r, C)]
    for start in range(0, T, QUERIES):
        i, j = min(QUERIES, T - start), min(start + QUERIES, T)  # queries of a tile, keys that they can see
        # q k^T, dy v^T; probs v, dscores k; probs^T dy, dscores^T q
        for m, k, n in ((i, K, j), (i, j, K), (j, i, K)):
            products.append(Product(2 * L, m, k, n, batch=N * H))
        products.append(Product(L, i, K, j, batch=N * H))  # q k^T again, in the backward
    return products


def flops_of_step(shape, method, rank=RANK):
    """The multiplications and additions in the matrix products of one training step."""
    return sum(product.flops for product in products_of_step(shape, method, rank))

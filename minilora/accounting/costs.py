"""What training costs, by formula: floating-point operations per token, bytes of a checkpoint, bytes of memory.

Operations. A product of (M, I) with (I, O) takes 2 M I O: a multiplication and an addition each. Only such products
are counted, as is usual (Kaplan et al., 2020): the elementwise rest is smaller by a factor of C. For a token of T,

    forward     2 (4 C^2 + 2 C F) L      the six maps of each block; of Llama's seven, 2 (2 C H K + 2 C G K + 3 C F) L
                + 4 S C L                q k^T and probs v, with the S keys that a query is compared with; C is H K
                + 2 V C                  the head of a decoder
                + 2 (added matrices, trained or not)
    dx          the same for the maps, the head and what is added, and 10 S C for the attention (both of its products
                have two arguments, and q k^T is computed again), but only in the blocks that the backward goes through
    dW          2 (trained matrix elements)

A frozen W needs no dW: LoRA costs 4 instead of 6 operations per weight and token, two thirds. It is no less because dx
still goes through every frozen W (https://github.com/microsoft/LoRA/issues/24). The lowest of those blocks is counted
whole.

DeBERTa adds a convolution, 2 S C^2, and in each block two products, of queries and of keys with the 2T distances
(He et al., 2021, equation 4), 4 (2T) C; projecting its table of relative positions, once per batch, is not counted.

Memory, in values of `bytes_each` bytes, for N sequences of T tokens:

    weights     all of the model's, and what is added; where the blocks' matrices are kept in 4 bits (NF4) or 8 (Q8_0),
                4 + 8/64 + 32/(64 256) = 4.127 or 8.5 bits for each of their numbers, and the rest as it is
    gradients   one for each trained parameter
    optimizer   two for each with AdamW, m and v; one with SGD, the velocity
    activations what the forward keeps for the backward, per token:

        block   5 C + F + H + 2
                xhat of two LayerNorms and 1 / deviation (2 C + 2), q, k and v (3 C), a number for each query (H) from
                which probs are made again, and GELU's slope (F); DeBERTa keeps its probs, H T in place of H
                of Llama: 2 C + H K + 2 G K + 2 F + H + 2
                xhat of two RMSNorms and 1 / rms, q (H K), k and v (2 G K), and what enters the gate (2 F)
        around  C + 1 of the embeddings' or the last LayerNorm, and C between the blocks and the head
        trained what a trained or adapted matrix reads, for its dW or dA: C for q_proj, k_proj and v_proj together, H K
                for o_proj, C for fc_in, F for fc_out; in a Llama o_proj's alone, because the others' is made again
                (`layers/made_again.py`); and what a method adds

    Recomputed, they are C for each block, and `block` and `trained` of one block alone (`models/recompute.py`).

    workspace   the largest temporary: a block of logits, at most LOGITS_BYTES, at the end of the forward; or
                2 F + 3 C values per token, the gradients on their way through an MLP; 4 F + 5 C through a gated one.
                Of quantised matrices, the largest one in numbers comes in addition

Of the activations, LoRA saves only some of the last kind; where activations dominate, that is little
(https://github.com/huggingface/peft/issues/1514). DeBERTa's convolution and relative positions are not included.
"""

import math
import re
from typing import Any, NamedTuple

from minilora.accounting.adaptations import Adaptation, inputs
from minilora.accounting.architectures import GATED_TARGETS, TARGETS, Architecture, architecture_of
from minilora.accounting.parameters import count_parameters
from minilora.ops.fast.attention_tiles import QUERIES
from minilora.ops.fast.linear_cross_entropy import LOGITS_BYTES

BITS_PER_NUMBER = {4: 4 + 8 / 64 + 32 / (64 * 256), 8: 8 + 16 / 32}  # NF4 with double quantisation, and Q8_0
OPTIMIZER_VALUES = {"sgd": 1, "adamw": 2}  # kept for each trained parameter
MAP_OF_A_BLOCK = re.compile(rf"blocks\.(\d+)\..*\b({'|'.join((*TARGETS, *GATED_TARGETS))})\b")


class Flops(NamedTuple):
    """Floating-point operations per token."""

    forward: float
    dx: float
    dW: float

    @property
    def training(self) -> float:
        """The operations of one training step, per token."""
        return self.forward + self.dx + self.dW


class MemoryEstimate(NamedTuple):
    """The memory of one training step, in bytes."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    workspace: int

    @property
    def total(self) -> int:
        """The sum of all parts."""
        return sum(self)


def compared_keys(T: int, causal: bool) -> float:
    """S, the mean number of keys that a query is compared with.

    All T, or, with a causal mask, those up to the end of the query's tile of 64 queries: `ops/fast/attention.py`
    computes no tile of scores above the diagonal on a CPU. (On a GPU, one tile holds all queries, and S = T.)
    """
    if not causal:
        return float(T)
    return sum(min(query - query % QUERIES + QUERIES, T) for query in range(T)) / T


def flops_per_token(architecture: Architecture, adaptation: Adaptation, length: int) -> Flops:
    """The operations of a training step, for each token of the text; see the module for formulas and sources.

    Parameters
    ----------
    architecture : Architecture
    adaptation : Adaptation
    length : int
        T. Positions that a prefix adds are computed as well, and counted with the T tokens.

    Returns
    -------
    Flops
    """
    a, (own_matrices, added_matrices, depth) = architecture, adaptation[2:5]
    C, L, V = a.d_model, a.n_layer, a.vocab_size
    T = length + adaptation.prefix
    attention = 4 * compared_keys(T, a.causal) * a.n_head * a.head_size
    again = 0 if a.family == "deberta" else attention / 2  # q k^T, in the backward
    maps = 2 * a.block_matrices
    head = 2 * V * C if a.causal else 0
    conv = 2 * a.conv_width * C * C
    if a.family == "deberta":
        attention += 4 * 2 * T * C
    added = 2 * (added_matrices + adaptation.constant_matrices)
    forward = L * (maps + attention) + head + conv + added
    dx = depth * (maps + 2 * attention + again) + head + (conv if depth == L else 0) + added
    times = T / length
    return Flops(times * forward, times * dx, times * 2 * (own_matrices + added_matrices))


def checkpoint_bytes(adaptation: Adaptation, bytes_each: int = 4) -> int:
    """The bytes of what was trained, in a file without its header; 4 per value for float32, 2 for float16."""
    return adaptation.trainable * bytes_each


def memory_estimate(
    architecture: Architecture,
    adaptation: Adaptation,
    *,
    batch_size: int,
    length: int,
    optimizer: str = "adamw",
    bytes_each: int = 4,
    recompute: bool = False,
    bits: int | None = None,
) -> MemoryEstimate:
    """The memory of one training step; see the module for the formulas and what they count.

    Parameters
    ----------
    architecture : Architecture
    adaptation : Adaptation
    batch_size, length : int
        N and T.
    optimizer : {"adamw", "sgd"}
    bytes_each : int
        4 for float32, in which minilora trains; 8 for float64.
    recompute : bool
        Whether only what enters each block is kept, and the rest made again in the backward.
    bits : {4, 8}, optional
        The bits in which the blocks' matrices are kept, if they are quantised.

    Returns
    -------
    MemoryEstimate

    Raises
    ------
    ValueError
        If a size is not positive, or the optimizer or bits are unknown.
    """
    for name, value in (("batch_size", batch_size), ("length", length), ("bytes_each", bytes_each)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} was {value!r}; it must be an integer of at least 1")
    if optimizer not in OPTIMIZER_VALUES:
        raise ValueError(f"optimizer was {optimizer!r}; it must be one of {', '.join(OPTIMIZER_VALUES)}")
    if bits is not None and bits not in BITS_PER_NUMBER:
        raise ValueError(f"bits was {bits!r}; it must be one of {', '.join(map(str, BITS_PER_NUMBER))}, or None")
    a, trainable = architecture, adaptation.trainable
    C, F, T = a.d_model, a.d_mlp, length + adaptation.prefix
    q, kv = a.n_head * a.head_size, a.n_kv_head * a.head_size
    of_queries = a.n_head * (T if a.family == "deberta" else 1)
    block = 2 * C + q + 2 * kv + (2 * F if a.gated else F) + 2 + of_queries
    blocks: float = a.n_layer * block + adaptation.kept
    if recompute:
        blocks = a.n_layer * C + block + adaptation.kept / a.n_layer
    kept = blocks + 2 * C + 1
    logits = batch_size * length * a.vocab_size * bytes_each if a.causal else 0
    gradients_on_their_way = batch_size * T * (4 * F + 5 * C if a.gated else 2 * F + 3 * C) * bytes_each
    packed = 0 if bits is None else a.n_layer * a.block_matrices
    packed_bytes = math.ceil(packed * BITS_PER_NUMBER[bits] / 8) if bits is not None else 0
    unpacked = 0 if bits is None else max(O * I for O, I in a.linear_shapes.values()) * bytes_each
    return MemoryEstimate(
        weights=(a.n_parameters - packed + adaptation.added + adaptation.held) * bytes_each + packed_bytes,
        gradients=trainable * bytes_each,
        optimizer=OPTIMIZER_VALUES[optimizer] * trainable * bytes_each,
        activations=round(batch_size * T * kept * bytes_each),
        workspace=max(min(logits, LOGITS_BYTES), gradients_on_their_way) + unpacked,
    )


def step_estimate(model: Any, *, batch_size: int, length: int, optimizer: str = "adamw") -> MemoryEstimate:
    """`memory_estimate` of a model in memory, from its trainable parameters, whatever the method.

    What bottlenecks, prefixes, random subspaces and the r values of x A^T keep in addition is not counted.

    Parameters
    ----------
    model : GPT, Llama, or a model of RoBERTa or DeBERTa
        With ``model.recompute``, its activations are those of recomputation.
    batch_size, length : int
        N and T.
    optimizer : {"adamw", "sgd"}

    Returns
    -------
    MemoryEstimate
    """
    a, count = architecture_of(model.config), count_parameters(model)
    added = count.total - a.n_parameters
    matrices = [name for name, p in model.named_parameters() if p.trainable and len(p.shape) == 2]
    # B's gradient needs x A^T, and only A's needs x
    trained = {match.groups() for name in matrices if not name.endswith(".B") if (match := MAP_OF_A_BLOCK.search(name))}
    kept = sum(inputs(a, {target for block, target in trained if int(block) == i}) for i in range(a.n_layer))
    adaptation = Adaptation(count.trainable - added, added, 0, 0, a.n_layer, kept)
    bytes_each = model.parameters()[0].dtype.itemsize
    sizes = {"batch_size": batch_size, "length": length, "bytes_each": bytes_each}
    estimate = memory_estimate(a, adaptation, **sizes, optimizer=optimizer, recompute=model.recompute)
    packed = [p.size for p in model.parameters() if p.nbytes < p.size * p.dtype.itemsize]
    return estimate._replace(
        weights=sum(p.nbytes for p in model.parameters()),
        workspace=estimate.workspace + max(packed, default=0) * bytes_each,
    )

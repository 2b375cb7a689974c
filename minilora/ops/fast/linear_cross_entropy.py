"""The vocabulary's map and its cross-entropy (`ops/linear_cross_entropy.py`), a chunk of rows at a time.

GPT-2 has V = 50257, so the logits of a batch are by far the largest array of a training step. But row m of dlogits
depends only on row m of logits. So a chunk of rows goes all the way from x to dx before the next one begins, and the
logits of all rows never exist at once; and a few rows of it, which fit the processor's cache, go from logits to dlogits
before the next few. On a GPU, one kernel makes the loss and dlogits of a chunk.
"""

from minilora.arrays.backend import Array, get_xp, on_host
from minilora.arrays.chunks import l2_chunks, row_chunks
from minilora.arrays.kernels import fused
from minilora.arrays.products import product
from minilora.ops import linear_cross_entropy as page
from minilora.ops.cross_entropy import check_positions, check_targets
from minilora.ops.linear_cross_entropy import LinearCrossEntropyCache
from minilora.ops.plain import engine_of

LOGITS_BYTES = 24 * 1024 * 1024  # of one chunk: many rows, because W is read once per chunk
LOGITS_BYTES_ON_GPU = 512 * 1024 * 1024  # products of a few rows would leave most of the GPU idle


@engine_of(page.linear_cross_entropy_forward)
def linear_cross_entropy_forward(
    x: Array,
    W: Array,
    targets: Array,
    need_dx: bool = True,
    need_dW: bool = True,
    weight: Array | None = None,
) -> tuple[Array, LinearCrossEntropyCache]:
    xp = get_xp(x=x, W=W, targets=targets, weight=weight)
    M, V = len(x), len(W)
    check_positions((M,), targets, weight=weight)
    check_targets(targets, V)
    losses = xp.empty((M, 1), dtype=x.dtype)
    dx = xp.empty_like(x) if need_dx else None
    dW = xp.zeros_like(W) if need_dW else None
    need_dlogits = need_dx or need_dW
    count = max(M, 1) if weight is None else 1  # what the mean, or the sum with given weights, divides by
    weights = None if weight is None else weight.astype(x.dtype)[:, None]  # (M, 1)
    for chunk in row_chunks(M, V * x.itemsize, LOGITS_BYTES if on_host(x) else LOGITS_BYTES_ON_GPU):
        # The logits, which dlogits will overwrite.
        dlogits = product(x[chunk], W.T)  # (m, C) @ (C, V) -> (m, V)
        for i in l2_chunks(len(dlogits), V * x.itemsize, xp):
            losses[chunk][i], _ = _losses_and_dlogits(dlogits[i], targets[chunk][i], 1.0 / count, need_dlogits)
        if weights is not None:
            losses[chunk] *= weights[chunk]
            dlogits *= weights[chunk]
        # forward: logits = x @ W.T   so
        if dx is not None:
            product(dlogits, W, out=dx[chunk])  # (m, V) @ (V, C) -> (m, C)
        if dW is not None:
            dW += product(dlogits.T, x[chunk])  # (V, m) @ (m, C) -> (V, C)
    return losses.sum() / count, LinearCrossEntropyCache(dx, dW)


@fused(
    "logits[m; V], targets[m], weight, need_dlogits -> loss[m; 1], logits[m; V]",
    """
    const long long target = targets[row];
    const real z_target = 0 <= target && target < V ? logits[target] : LOWEST;  // read before it is overwritten
    const real largest = MAX(v, logits[v]);
    EACH(v) logits[v] = exp(logits[v] - largest);
    const real sum = SUM(v, logits[v]);
    *loss = log(sum) - (z_target - largest);
    if (need_dlogits) EACH(v) logits[v] = weight * (logits[v] / sum - (v == target));
    """,
)
def _losses_and_dlogits(logits: Array, targets: Array, weight: float, need_dlogits: bool) -> tuple[Array, Array]:
    """The loss of each row, (m, 1), and weight * (probs - onehot(targets)), in the memory of the logits."""
    xp = get_xp(logits=logits)
    at_target = xp.arange(len(logits)), targets
    logits -= logits.max(axis=-1, keepdims=True)
    z_target = logits[at_target]  # (m,)
    exps = xp.exp(logits, out=logits)
    sums = exps.sum(axis=-1)  # (m,)
    losses = xp.log(sums) - z_target
    # forward: loss = log(sum) - z_target   so
    if need_dlogits:
        dlogits = xp.multiply(exps, weight / sums[:, None], out=exps)  # (m, V)
        dlogits[at_target] -= weight
    return losses[:, None], logits

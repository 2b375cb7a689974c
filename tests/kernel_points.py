"""Every formula that has a CUDA kernel, and arguments for it with rows of C numbers: on the host, in float64."""

import numpy as np

from minilora.ops.fast import adamw, attention, gelu, layernorm, linear_cross_entropy, rmsnorm, rope, silu, softmax

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
SIZES = (1, 2, 31, 32, 33, 128, 257, 4500)  # of C: of less and more than a warp, of several, and of a whole block


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def some_probs(*shape):
    return softmax.softmax_inplace.formula(3.0 * normal(*shape, seed=1))


def some_mask(N, C):
    """In the last sequence, nobody may see any key."""
    mask = np.random.default_rng(2).random((N, C)) < 0.7
    mask[-1] = False
    return mask


def some_targets(C):
    return np.random.default_rng(3).integers(0, C, 5)


def attention_scores(C):
    """Of the last three queries of C positions; three sequences, two heads."""
    return 3.0 * normal(3, 2, min(3, C), C) + 1000.0


def blind(x):
    """A row of nothing but -inf, which has nothing to choose from."""
    x[1] = -np.inf
    return x


def adamw_arguments(C):
    data, grad, m, v = (normal(3, C, seed=seed) for seed in range(4))
    return data, grad, m, v * v, 0.9, 0.1, 0.999, 0.001, 0.01, 3.0, 1e-8


POINTS = {
    "softmax": (softmax.softmax_inplace, lambda C: (blind(5.0 * normal(3, C) + 1000.0),)),
    "softmax, backward": (softmax._dx, lambda C: (normal(2, 3, C), some_probs(2, 3, C))),
    "layernorm": (layernorm._normalise, lambda C: (normal(2, 3, C) + 4.0, normal(C, seed=1), normal(C, seed=2), 1e-5)),
    "layernorm, backward": (
        layernorm._dx,
        lambda C: (normal(2, 3, C), normal(2, 3, C, seed=1), normal(2, 3, 1, seed=2), normal(C, seed=3)),
    ),
    "attention": (attention._masked_softmax, lambda C: (attention_scores(C), None, False)),
    "attention, causal": (attention._masked_softmax, lambda C: (attention_scores(C), None, True)),
    "attention, padding": (attention._masked_softmax, lambda C: (attention_scores(C), some_mask(3, C), False)),
    "attention, causal, padding": (attention._masked_softmax, lambda C: (attention_scores(C), some_mask(3, C), True)),
    "attention, again": (
        attention._probs_again,
        lambda C: (attention_scores(C), some_mask(3, C), True, 1005.0 + normal(3, 2, min(3, C), 1, seed=5)),
    ),
    "attention, backward": (attention._dscores, lambda C: (normal(2, 3, 5, C), some_probs(2, 3, 5, C))),
    "cross-entropy": (
        linear_cross_entropy._losses_and_dlogits,
        lambda C: (5.0 * normal(5, C), some_targets(C), 0.2, True),
    ),
    "cross-entropy, no gradient": (
        linear_cross_entropy._losses_and_dlogits,
        lambda C: (5.0 * normal(5, C), some_targets(C), 0.2, False),
    ),
    "cross-entropy, short integers": (
        linear_cross_entropy._losses_and_dlogits,
        lambda C: (5.0 * normal(5, C), some_targets(C).astype("int32"), 0.2, True),
    ),
    "gelu, tanh": (gelu._gelu_tanh, lambda C: (3.0 * normal(3, C), normal(3, C), normal(3, C))),
    "gelu, exact": (gelu._gelu_exact, lambda C: (3.0 * normal(3, C), normal(3, C), normal(3, C))),
    "rmsnorm": (rmsnorm._normalise, lambda C: (normal(2, 3, C) + 4.0, normal(C, seed=1), 1e-5)),
    "rmsnorm, backward": (
        rmsnorm._dx,
        lambda C: (normal(2, 3, C), normal(2, 3, C, seed=1), normal(2, 3, 1, seed=2), normal(C, seed=3)),
    ),
    "rope": (rope._rotate, lambda C: (normal(2, 3, 4, 2 * C), normal(4, C, seed=1), normal(4, C, seed=2))),
    "rope, positions by row": (
        rope._rotate,
        lambda C: (normal(2, 3, 4, 2 * C), normal(2 * 4, C, seed=1), normal(2 * 4, C, seed=2)),
    ),
    "silu": (silu._silu, lambda C: (3.0 * normal(3, C), normal(3, C), normal(3, C))),
    "silu_gate": (silu._silu_gate, lambda C: (3.0 * normal(3, C), normal(3, C, seed=1), normal(3, C))),
    "silu_gate, backward": (
        silu._dgate_and_dup,
        lambda C: (normal(3, C), 3.0 * normal(3, C, seed=1), normal(3, C, seed=2), normal(3, C), normal(3, C)),
    ),
    "adamw": (adamw._adamw, adamw_arguments),
}


def cast(args, dtype):
    return [a.astype(dtype) if isinstance(a, np.ndarray) and a.dtype == np.float64 else a for a in args]

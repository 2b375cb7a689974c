"""The gradient check is itself checked: each backward below is wrong, and must not pass."""

import math

import numpy as np
import pytest

from minilora.gradcheck import GradientError, check_op
from minilora.ops import AttentionCache as PageAttentionCache
from minilora.ops import fast as ops
from minilora.ops.fast import rows
from ops.cases import (
    Case,
    attention_cases,
    conv1d_cases,
    disentangled_attention_cases,
    grouped_attention_cases,
    policy_gradient_cases,
    rope_cases,
    row_cases,
)

ROWS = row_cases(2, 3)
POINTS = (
    ROWS
    | attention_cases()
    | grouped_attention_cases()
    | disentangled_attention_cases()
    | rope_cases()
    | conv1d_cases()
    | policy_gradient_cases()
).items()


@pytest.fixture
def computed_by():
    """Not twice: it is the gradient check that is looked at."""


# ---- wrong in the same way for every op and every gradient


def off_in_one_entry(grad):
    wrong = grad.copy()
    wrong.flat[-1] += 1e-5 * np.linalg.norm(grad)
    return wrong


BLUNDERS = {
    "zero": lambda grad: 0.0 * grad,
    "a part in a million too large": lambda grad: (1.0 + 1e-6) * grad,
    "of the wrong sign": lambda grad: -grad,
    "off in one entry": off_in_one_entry,
    "not finite": lambda grad: grad * math.nan,
}


@pytest.mark.parametrize("blunder", BLUNDERS.values(), ids=BLUNDERS.keys())
@pytest.mark.parametrize(
    ("case", "wrong"),
    [pytest.param(case, wrong, id=f"{name}, d{wrong}") for name, case in POINTS for wrong in case.names],
)
def test_a_wrong_gradient_fails_and_is_named(case, wrong, blunder):
    def backward(dy, cache):
        grads = case.gradients(dy, cache)
        return tuple(blunder(grad) if name == wrong else grad for name, grad in zip(case.names, grads, strict=True))

    with pytest.raises(GradientError, match=f"the gradient of {wrong} is"):
        case.check(check_op, backward)


# ---- mistakes that people make


def changed(backward, *names):
    """Make wrong backwards of a right one: `change`, given dy, the cache c and the right gradients by name, returns
    those that it replaces."""

    def make(change):
        def mutant(dy, cache):
            right = dict(zip(names, backward(dy, cache), strict=True))
            return tuple((right | change(dy=dy, c=cache, **right)).values())

        return mutant

    return make


subspace = changed(lambda dy, cache: (ops.random_subspace_backward(dy, cache),), "dtheta")
lora_embedding = changed(ops.lora_embedding_backward, "dA", "dB")
linear_rows = changed(ops.linear_rows_backward, "dx", "dP")
rescale = changed(ops.rescale_backward, "dx", "dl")
linear = changed(ops.linear_backward, "dx", "dW", "dbias")
lora = changed(ops.lora_linear_backward, "dx", "dA", "dB")
lora_fa = changed(ops.lora_fa_linear_backward, "dx", "dB")
vera = changed(ops.vera_linear_backward, "dx", "dd", "db")
adalora = changed(ops.adalora_linear_backward, "dx", "dP", "dlam", "dQ")
penalty = changed(ops.orthogonality_backward, "dP", "dQ")
dora = changed(ops.dora_linear_backward, "dx", "dA", "dB", "dm")
prefix = changed(ops.prefix_backward, "dx", "dP")
layernorm = changed(ops.layernorm_backward, "dx", "dgain", "dbias")
rmsnorm = changed(ops.rmsnorm_backward, "dx", "dgain")
silu_gate = changed(ops.silu_gate_backward, "dgate", "dup")
attention = changed(ops.attention_backward, "dq", "dk", "dv")
disentangled = changed(ops.disentangled_attention_backward, "dq", "dk", "dv", "dq_rel", "dk_rel")
conv1d = changed(ops.conv1d_backward, "dx", "dW", "dbias")


def layernorm_without_the_mean(dy, c, **_):
    dxhat = dy * c.gain
    return {"dx": c.inv_std * (dxhat - c.xhat * (dxhat * c.xhat).mean(axis=-1, keepdims=True))}


def layernorm_without_xhat(dy, c, **_):
    dxhat = dy * c.gain
    return {"dx": c.inv_std * (dxhat - dxhat.mean(axis=-1, keepdims=True))}


def layernorm_of_constant_statistics(dy, c, **_):
    return {"dx": c.inv_std * dy * c.gain}


def rmsnorm_dx(dy, c, C, power):
    """dx with its parts open: the divisor C, and the power of 1 / rms before the second term."""
    dxhat, x = dy * c.gain, c.xhat / c.inv_rms
    return {"dx": c.inv_rms * dxhat - c.inv_rms**power * x * (dxhat * x).sum(axis=-1, keepdims=True) / C}


def rmsnorm_with_layernorms_mean(dx, dy, c, **_):
    return {"dx": dx - c.inv_rms * (dy * c.gain).mean(axis=-1, keepdims=True)}


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def silu_gate_with_the_sigmoids_slope(dy, c, **_):
    s = sigmoid(c.gate)
    return {"dgate": dy * c.up * s * (1.0 - s)}


def silu_gate_without_the_sigmoids_slope(dy, c, **_):
    return {"dgate": dy * c.up * sigmoid(c.gate)}


def silu_gate_with_the_factors_exchanged(dy, c, **_):
    """What silu(up) * gate would give."""
    dup, dgate = ops.silu_gate_backward(dy, c._replace(gate=c.up, up=c.gate))
    return {"dgate": dgate, "dup": dup}


def rope_of_neighbours(dy, c):
    order = np.arange(dy.shape[-1]).reshape(2, -1).T.reshape(-1)  # 0, K/2, 1, K/2 + 1, ...
    wrong = np.empty_like(dy)
    wrong[..., order] = ops.rope_backward(dy[..., order], c)
    return wrong


def of_copies(dy, c):
    """dk and dv of each head, as if k and v were copies of its own: (N, H, T, K)."""
    k, v = (a.repeat(2, axis=1) for a in (c.k, c.v))
    _, dk, dv = ops.attention_backward(dy, PageAttentionCache(c.q, k, v, c.probs))
    return dk, dv


def one_copys_gradient(dy, c, **_):
    return dict(zip(("dk", "dv"), (grad[:, ::2] for grad in of_copies(dy, c))))


def the_groups_mean(dk, dv, **_):
    return {"dk": dk / 2.0, "dv": dv / 2.0}


def groups_of_distant_heads(dy, c, **_):
    """Head h reads h % G, not h // (H / G)."""
    return dict(zip(("dk", "dv"), (grad[:, :3] + grad[:, 3:] for grad in of_copies(dy, c))))


def leaking_over_the_border(dy, c, **_):
    _, leaking = ops.attention_forward(c.q, c.k, c.v)
    return dict(zip(("dq", "dk", "dv"), ops.attention_backward(dy, leaking)))


def cross_entropy_without_the_target(dloss, cache):
    return dloss * cache.weight.reshape(*cache.targets.shape, 1) * cache.probs


def cross_entropy_without_the_mask(dloss, cache):
    everywhere = np.full(cache.weight.shape, 1.0 / cache.weight.size)
    return ops.cross_entropy_backward(dloss, cache._replace(weight=everywhere))


def policy_gradient_with_weights(weights):
    """A backward whose weight of each token is ``weights(cache's weights)``, right where it is the identity."""
    return lambda dloss, c: ops.policy_gradient_backward(dloss, c._replace(weight=weights(c.weight)))


def policy_gradient_of_the_rewards(weight):
    """Without the baseline: the advantages here are 7/8, -1/4 and -5/8, of the rewards 1, 1/4 and 0."""
    return np.array([1.0, 0.25, 0.0])[:, None] / 3 * DRAWN


def policy_gradient_through_the_prompt(weight):
    """Every position of a row has its advantage, whoever wrote the token."""
    return np.broadcast_to(weight.sum(axis=1, keepdims=True) / DRAWN.sum(axis=1, keepdims=True), weight.shape)


def policy_gradient_of_token_means(weight):
    """The mean over an answer's tokens where the sum belongs: a long answer then counts no more than a short one."""
    return weight / DRAWN.sum(axis=1, keepdims=True)


def linear_cross_entropy_without_the_upstream_gradient(dloss, cache):
    return cache.dx, cache.dW


def linear_cross_entropy_of_a_sum(dloss, cache):
    return tuple(len(cache.dx) * grad for grad in ops.linear_cross_entropy_backward(dloss, cache))


def embedding_that_overwrites(dy, cache):
    dW = np.zeros_like(cache.W)
    dW[cache.ids] = dy
    return dW


def lora_embedding_that_overwrites(dy, c, **_):
    """dA[:, ids] += dh, which counts an id that comes twice once."""
    dA = np.zeros_like(c.A)
    dA.T[c.ids] += c.scale * dy @ c.B
    return {"dA": dA}


def linear_rows_of_other_columns(dy, c, **_):
    return {"dP": rows(dy[..., : len(c.places)]).T @ rows(c.x)}


def subspace_that_overwrites(dy, c):
    du = np.zeros(2 * len(c.root_counts))
    du[c.index] = dy
    return (du[: len(c.root_counts)] - du[len(c.root_counts) :]) / c.root_counts


def dora_of_a_constant_norm(dy, c):
    """dA and dB."""
    return ops.dora_linear_backward(dy, c._replace(V=None))[1:3]


def prefix_that_overwrites(dy, c):
    dP = np.zeros_like(c.P)
    dP[c.slots[c.slots >= 0]] = dy[c.slots >= 0]
    return dP


def attention_without_softmax_backward(dy, c, **_):
    dscores = dy @ c.v.swapaxes(-1, -2)
    return {"dq": dscores @ c.k / SQRT_K, "dk": dscores.swapaxes(-1, -2) @ c.q / SQRT_K}


def dscores_of(dy, c):
    return ops.softmax_backward(dy @ c.v.swapaxes(-1, -2), ops.SoftmaxCache(c.probs))


def disentangled_rows_that_overwrite(dy, c, dk_rel, **_):
    wrong, dscores, T = np.zeros_like(dk_rel), dscores_of(dy, c), dy.shape[2]
    for i, j in np.ndindex(T, T):
        wrong[:, c.distance_rows[i - j + T]] = (dscores[:, :, i, j, None] * c.q[:, :, i]).sum(axis=0) / SQRT_3K
    return {"dk_rel": wrong}


def disentangled_of_the_first_sequence(dy, c, **_):
    first = c._replace(q=c.q[:1], k=c.k[:1], v=c.v[:1], probs=c.probs[:1])
    return {"dk_rel": ops.disentangled_attention_backward(dy[:1], first)[4]}


def disentangled_with_distances_turned(dy, c, **_):
    """What delta(j, i) would give in p2c."""
    turned = c._replace(distance_rows=c.distance_rows[::-1])
    return {"dq_rel": ops.disentangled_attention_backward(dy, turned)[3]}


def conv1d_with_the_kernel_as_it_stands(dy, c, **_):
    """Where it has to be turned round."""
    return {"dx": ops.conv1d_forward(dy, c.W.swapaxes(0, 1), np.zeros(c.W.shape[1]))[0]}


SILU_X = ROWS["silu"].arrays["x"]
SQRT_K, SQRT_3K = math.sqrt(4), math.sqrt(12)
LORA, LORA_MASK = ROWS["lora_linear"], ROWS["lora_linear, mask"]
ADALORA, ADALORA_MASK = ROWS["adalora_linear"], ROWS["adalora_linear, mask"]
VERA, VERA_MASK = ROWS["vera_linear"], ROWS["vera_linear, mask"]
LORA_FA, LORA_FA_MASK = ROWS["lora_fa_linear"], ROWS["lora_fa_linear, mask"]
LOSS, LOSS_MASK = ROWS["cross_entropy"], ROWS["cross_entropy, mask"]
DORA, DORA_EXACT = ROWS["dora_linear"], ROWS["dora_linear, exact"]
LORA_EMBEDDING = ROWS["lora_embedding"]
HEAD = ROWS["linear_cross_entropy"]
(POLICY,) = policy_gradient_cases().values()
DRAWN = POLICY.args[2]
CAUSAL = attention_cases()["attention, causal"]
DISENTANGLED = disentangled_attention_cases()["disentangled_attention, padding"]
ROPE, ROPE_ROWS = rope_cases().values()
GROUPS = grouped_attention_cases()["attention, groups, causal"]
TEXTS = grouped_attention_cases()["attention, groups, texts"]
CONV = conv1d_cases()["conv1d, S = 3"]

MUTANTS = {
    "linear: dW transposed": (ROWS["linear"], linear(lambda dW, **_: {"dW": dW.T})),
    "linear: dW of one sequence": (ROWS["linear"], linear(lambda dy, c, **_: {"dW": dy[0].T @ c.x[0]})),
    "linear: dbias a mean": (ROWS["linear"], linear(lambda dy, **_: {"dbias": rows(dy).mean(axis=0)})),
    "lora: dx without dh A": (LORA, lora(lambda dy, c, **_: {"dx": dy @ c.W})),
    "lora: dx without dy W": (LORA, lora(lambda dx, dy, c, **_: {"dx": dx - dy @ c.W})),
    "lora: dA without scale": (LORA, lora(lambda dA, c, **_: {"dA": dA / c.scale})),
    "lora: dA with scale twice": (LORA, lora(lambda dA, c, **_: {"dA": dA * c.scale})),
    "lora: dA zero, as it is while B is": (LORA, lora(lambda dA, **_: {"dA": 0.0 * dA})),
    "lora: dB without scale": (LORA, lora(lambda dB, c, **_: {"dB": dB / c.scale})),
    "lora: dA and dB exchanged": (LORA, lora(lambda dA, dB, **_: {"dA": dB, "dB": dA})),
    "lora: dropout not masked in dx": (
        LORA_MASK,
        lora(lambda dy, c, **_: {"dx": dy @ c.W + c.scale * (dy @ c.B) @ c.A}),
    ),
    "lora: dropout masks the base too": (LORA_MASK, lora(lambda dx, c, **_: {"dx": dx * c.dropout_mask})),
    "lora_embedding: dA of the last of equal ids": (LORA_EMBEDDING, lora_embedding(lora_embedding_that_overwrites)),
    "lora_embedding: dA without scale": (LORA_EMBEDDING, lora_embedding(lambda dA, c, **_: {"dA": dA / c.scale})),
    "lora_embedding: dB without scale": (LORA_EMBEDDING, lora_embedding(lambda dB, c, **_: {"dB": dB / c.scale})),
    "lora_embedding: dB zero, as it is while A is": (LORA_EMBEDDING, lora_embedding(lambda dB, **_: {"dB": 0.0 * dB})),
    "lora_embedding: dB of one sequence": (
        LORA_EMBEDDING,
        lora_embedding(lambda dy, c, **_: {"dB": c.scale * dy[0].T @ c.h[0]}),
    ),
    "linear_rows: dP of other columns": (ROWS["linear_rows"], linear_rows(linear_rows_of_other_columns)),
    "linear_rows: dP of one sequence": (
        ROWS["linear_rows"],
        linear_rows(lambda dy, c, **_: {"dP": dy[0][..., c.places].T @ c.x[0]}),
    ),
    "linear_rows: dx through W alone": (ROWS["linear_rows"], linear_rows(lambda dy, c, **_: {"dx": dy @ c.W})),
    "linear_rows: dx through both": (
        ROWS["linear_rows"],
        linear_rows(lambda dy, c, **_: {"dx": dy @ c.W + dy[..., c.places] @ c.P}),
    ),
    "rescale: dx without l": (ROWS["rescale"], rescale(lambda dy, **_: {"dx": dy.copy()})),
    "rescale: dx divided by l": (ROWS["rescale"], rescale(lambda dy, c, **_: {"dx": dy / c.l})),
    "rescale: dl of y, where it is of x": (ROWS["rescale"], rescale(lambda dl, c, **_: {"dl": dl * c.l})),
    "rescale: dl of one sequence": (ROWS["rescale"], rescale(lambda dy, c, **_: {"dl": (dy * c.x)[0].sum(axis=0)})),
    "rescale: dl a mean": (ROWS["rescale"], rescale(lambda dy, c, **_: {"dl": rows(dy * c.x).mean(axis=0)})),
    "lora-fa: dx without dh A": (LORA_FA, lora_fa(lambda dy, c, **_: {"dx": dy @ c.W})),
    "lora-fa: dx without scale": (LORA_FA, lora_fa(lambda dy, c, **_: {"dx": dy @ c.W + dy @ c.B @ c.A})),
    "lora-fa: dB without scale": (LORA_FA, lora_fa(lambda dB, c, **_: {"dB": dB / c.scale})),
    "lora-fa: dB of one sequence": (LORA_FA, lora_fa(lambda dy, c, **_: {"dB": c.scale * dy[0].T @ c.h[0]})),
    "lora-fa: dropout not masked in dx": (
        LORA_FA_MASK,
        lora_fa(lambda dy, c, **_: {"dx": dy @ c.W + c.scale * (dy @ c.B) @ c.A}),
    ),
    "vera: dx without dh A": (VERA, vera(lambda dy, c, **_: {"dx": dy @ c.W})),
    "vera: dx without d": (VERA, vera(lambda dy, c, **_: {"dx": dy @ c.W + (c.b * dy) @ c.B @ c.A})),
    "vera: dx without b": (VERA, vera(lambda dy, c, **_: {"dx": dy @ c.W + (c.d * (dy @ c.B)) @ c.A})),
    "vera: dd without b": (VERA, vera(lambda dy, c, **_: {"dd": (rows(dy @ c.B) * rows(c.h)).sum(axis=0)})),
    "vera: dd of d * h": (VERA, vera(lambda dd, c, **_: {"dd": dd * c.d})),
    "vera: db with b": (VERA, vera(lambda db, c, **_: {"db": db * c.b})),
    "vera: db of one sequence": (VERA, vera(lambda dy, c, **_: {"db": (dy[0] * c.v[0]).sum(axis=0)})),
    "vera: dropout not masked in dx": (
        VERA_MASK,
        vera(lambda dy, c, **_: {"dx": dy @ c.W + (c.d * ((c.b * dy) @ c.B)) @ c.A}),
    ),
    "adalora: dx without dh Q": (ADALORA, adalora(lambda dy, c, **_: {"dx": dy @ c.W})),
    "adalora: dx without lam": (ADALORA, adalora(lambda dy, c, **_: {"dx": dy @ c.W + c.scale * (dy @ c.P) @ c.Q})),
    "adalora: dP without lam": (ADALORA, adalora(lambda dP, c, **_: {"dP": dP / c.lam})),
    "adalora: dP without scale": (ADALORA, adalora(lambda dP, c, **_: {"dP": dP / c.scale})),
    "adalora: dlam with lam": (ADALORA, adalora(lambda dlam, c, **_: {"dlam": dlam * c.lam})),
    "adalora: dlam without scale": (ADALORA, adalora(lambda dlam, c, **_: {"dlam": dlam / c.scale})),
    "adalora: dQ without lam": (ADALORA, adalora(lambda dQ, c, **_: {"dQ": dQ / c.lam[:, None]})),
    "adalora: dQ without scale": (ADALORA, adalora(lambda dQ, c, **_: {"dQ": dQ / c.scale})),
    "adalora: P and Q exchanged": (ADALORA, adalora(lambda dP, dQ, **_: {"dP": dQ.T[:4], "dQ": dP.T})),
    "adalora: dropout not masked in dx": (
        ADALORA_MASK,
        adalora(lambda dy, c, **_: {"dx": dy @ c.W + c.scale * (c.lam * (dy @ c.P)) @ c.Q}),
    ),
    "orthogonality: half, as if M stood once in it": (
        ROWS["orthogonality"],
        penalty(lambda dP, dQ, **_: {"dP": dP / 2.0, "dQ": dQ / 2.0}),
    ),
    "orthogonality: without the 1 in dP": (
        ROWS["orthogonality"],
        penalty(lambda dy, c, **_: {"dP": dy * 4.0 * c.P @ c.P.T @ c.P}),
    ),
    "orthogonality: without the 1 in dQ": (
        ROWS["orthogonality"],
        penalty(lambda dy, c, **_: {"dQ": dy * 4.0 * c.Q @ c.Q.T @ c.Q}),
    ),
    "orthogonality: of the norm, not squared, as PEFT's": (
        ROWS["orthogonality"],
        penalty(lambda dP, c, **_: {"dP": dP / (2.0 * np.linalg.norm(c.M))}),
    ),
    "orthogonality: the upstream gradient forgotten": (
        ROWS["orthogonality"],
        penalty(lambda c, **_: dict(zip(("dP", "dQ"), ops.orthogonality_backward(1.0, c), strict=True))),
    ),
    "dora: dA and dB of a constant norm": (
        DORA_EXACT,
        dora(lambda dy, c, **_: dict(zip(("dA", "dB"), dora_of_a_constant_norm(dy, c)))),
    ),
    "dora: the norm differentiated in dB alone": (
        DORA_EXACT,
        dora(lambda dy, c, **_: {"dA": dora_of_a_constant_norm(dy, c)[0]}),
    ),
    "dora: the norm's sign": (
        DORA_EXACT,
        dora(lambda dy, c, dB, **_: {"dB": 2.0 * dora_of_a_constant_norm(dy, c)[1] - dB}),
    ),
    "dora: dm not divided by the norm": (DORA, dora(lambda dm, c, **_: {"dm": dm * c.norm})),
    "dora: dm with the bias": (DORA, dora(lambda dy, c, dm, **_: {"dm": dm + rows(dy).sum(axis=0) / c.norm})),
    "dora: the gain forgotten in dx": (DORA, dora(lambda dx, dy, c, **_: {"dx": dx - (dy * c.m / c.norm - dy) @ c.W})),
    "dora: dA without scale": (DORA, dora(lambda dA, c, **_: {"dA": dA / c.scale})),
    "dora: dropout not masked in dx": (
        DORA,
        dora(lambda dy, c, **_: {"dx": (dy * c.m / c.norm) @ (c.W + c.scale * c.B @ c.A)}),
    ),
    "random_subspace: the signs forgotten": (
        ROWS["random_subspace"],
        subspace(lambda dy, c, **_: {"dtheta": ops.random_subspace_backward(dy, c._replace(index=c.index % 4))}),
    ),
    "random_subspace: not divided by the root of the counts": (
        ROWS["random_subspace"],
        subspace(lambda dtheta, c, **_: {"dtheta": dtheta * c.root_counts}),
    ),
    "random_subspace: divided by the counts": (
        ROWS["random_subspace"],
        subspace(lambda dtheta, c, **_: {"dtheta": dtheta / c.root_counts}),
    ),
    "random_subspace: repeated indices overwrite": (
        ROWS["random_subspace"],
        subspace(lambda dy, c, **_: {"dtheta": subspace_that_overwrites(dy, c)}),
    ),
    "prefix: dx flows through a slot": (ROWS["prefix"], prefix(lambda dy, **_: {"dx": dy})),
    "prefix: dx at the slots alone": (ROWS["prefix"], prefix(lambda dx, dy, **_: {"dx": dy - dx})),
    "prefix: repeated slots overwrite": (
        ROWS["prefix"],
        prefix(lambda dy, c, **_: {"dP": prefix_that_overwrites(dy, c)}),
    ),
    "prefix: dP takes what has no slot": (
        ROWS["prefix"],
        prefix(lambda dP, dy, c, **_: {"dP": dP + (dy * (c.slots < 0)[..., None]).sum(axis=(0, 1))}),
    ),
    "layernorm: dx without the mean": (ROWS["layernorm"], layernorm(layernorm_without_the_mean)),
    "layernorm: dx without xhat": (ROWS["layernorm"], layernorm(layernorm_without_xhat)),
    "layernorm: mean and variance constant": (ROWS["layernorm"], layernorm(layernorm_of_constant_statistics)),
    "layernorm: dgain without xhat": (ROWS["layernorm"], layernorm(lambda dbias, **_: {"dgain": dbias})),
    "layernorm: dbias with xhat": (ROWS["layernorm"], layernorm(lambda dgain, **_: {"dbias": dgain})),
    "rmsnorm: divided by C twice": (
        ROWS["rmsnorm"],
        rmsnorm(lambda dy, c, **_: rmsnorm_dx(dy, c, C=5 * 5, power=3)),
    ),
    "rmsnorm: not divided by C": (ROWS["rmsnorm"], rmsnorm(lambda dy, c, **_: rmsnorm_dx(dy, c, C=1, power=3))),
    "rmsnorm: rms^2 for rms^3": (ROWS["rmsnorm"], rmsnorm(lambda dy, c, **_: rmsnorm_dx(dy, c, C=5, power=2))),
    "rmsnorm: three terms, as LayerNorm's": (ROWS["rmsnorm"], rmsnorm(rmsnorm_with_layernorms_mean)),
    "rmsnorm: rms constant": (ROWS["rmsnorm"], rmsnorm(lambda dy, c, **_: {"dx": c.inv_rms * dy * c.gain})),
    "rmsnorm: dgain of x": (
        ROWS["rmsnorm"],
        rmsnorm(lambda dy, c, **_: {"dgain": rows(dy * c.xhat / c.inv_rms).sum(0)}),
    ),
    "silu: the sigmoid's slope": (ROWS["silu"], lambda dy, c: dy * sigmoid(SILU_X) * (1.0 - sigmoid(SILU_X))),
    "silu: the sigmoid": (ROWS["silu"], lambda dy, c: dy * sigmoid(SILU_X)),
    "silu_gate: the sigmoid's slope for silu's": (ROWS["silu_gate"], silu_gate(silu_gate_with_the_sigmoids_slope)),
    "silu_gate: the sigmoid for silu's slope": (ROWS["silu_gate"], silu_gate(silu_gate_without_the_sigmoids_slope)),
    "silu_gate: up without silu": (ROWS["silu_gate"], silu_gate(lambda dy, c, **_: {"dup": dy * c.gate})),
    "silu_gate: gate and up exchanged": (ROWS["silu_gate"], silu_gate(silu_gate_with_the_factors_exchanged)),
    "silu_gate: dgate and dup exchanged": (
        ROWS["silu_gate"],
        silu_gate(lambda dgate, dup, **_: {"dgate": dup, "dup": dgate}),
    ),
    "rope: not inverted": (ROPE, lambda dy, c: ops.rope_forward(dy, *c)[0]),
    "rope: not inverted, positions by row": (ROPE_ROWS, lambda dy, c: ops.rope_forward(dy, *c)[0]),
    "rope: not turned": (ROPE, lambda dy, c: dy),
    "rope: neighbours for halves": (ROPE, rope_of_neighbours),
    "rope: positions not begun again": (ROPE_ROWS, lambda dy, c: ops.rope_backward(dy, type(c)(c.cos[:1], c.sin[:1]))),
    "attention, groups: one copy's gradient": (GROUPS, attention(one_copys_gradient)),
    "attention, groups: a mean over the group": (GROUPS, attention(the_groups_mean)),
    "attention, groups: h % G for h // (H / G)": (GROUPS, attention(groups_of_distant_heads)),
    "attention, texts: a leak over the border": (TEXTS, attention(leaking_over_the_border)),
    "tanh: y for y squared": (ROWS["tanh"], lambda dy, c: dy * (1.0 - c.y)),
    "dropout: not masked": (ROWS["dropout"], lambda dy, c: dy),
    "dropout: not scaled": (ROWS["dropout"], lambda dy, c: dy * (c.mask > 0)),
    "softmax: without the sum": (ROWS["softmax"], lambda dy, c: dy * c.probs),
    "softmax: the sum without probs": (
        ROWS["softmax"],
        lambda dy, c: c.probs * (dy - dy.sum(axis=-1, keepdims=True)),
    ),
    "linear_cross_entropy: dloss forgotten": (HEAD, linear_cross_entropy_without_the_upstream_gradient),
    "linear_cross_entropy: of the sum": (HEAD, linear_cross_entropy_of_a_sum),
    "policy gradient: no baseline": (POLICY, policy_gradient_with_weights(policy_gradient_of_the_rewards)),
    "policy gradient: the prompt is not masked": (
        POLICY,
        policy_gradient_with_weights(policy_gradient_through_the_prompt),
    ),
    "policy gradient: a mean over the tokens": (POLICY, policy_gradient_with_weights(policy_gradient_of_token_means)),
    "policy gradient: a sum over the answers": (POLICY, policy_gradient_with_weights(lambda weight: 3 * weight)),
    "policy gradient: the reward falls": (POLICY, policy_gradient_with_weights(np.negative)),
    "policy gradient: the loss as the reward": (POLICY, policy_gradient_with_weights(np.abs)),
    "embedding: repeated ids overwrite": (ROWS["embedding"], embedding_that_overwrites),
    "cross-entropy: a sum for the mean": (LOSS, lambda dy, c: ops.cross_entropy_backward(dy, c) * c.targets.size),
    "cross-entropy: without the target": (LOSS, cross_entropy_without_the_target),
    "cross-entropy: the upstream gradient forgotten": (LOSS, lambda dy, c: ops.cross_entropy_backward(1.0, c)),
    "cross-entropy: mask ignored": (LOSS_MASK, cross_entropy_without_the_mask),
    "attention: dq without 1 / sqrt(K)": (CAUSAL, attention(lambda dq, **_: {"dq": dq * SQRT_K})),
    "attention: dk without 1 / sqrt(K)": (CAUSAL, attention(lambda dk, **_: {"dk": dk * SQRT_K})),
    "attention: dq and dk exchanged": (CAUSAL, attention(lambda dq, dk, **_: {"dq": dk, "dk": dq})),
    "attention: dv with probs not transposed": (CAUSAL, attention(lambda dy, c, **_: {"dv": c.probs @ dy})),
    "attention: softmax's backward left out": (CAUSAL, attention(attention_without_softmax_backward)),
    "disentangled: dq without c2p": (
        DISENTANGLED,
        disentangled(lambda dy, c, **_: {"dq": dscores_of(dy, c) @ c.k / SQRT_3K}),
    ),
    "disentangled: dk without p2c": (
        DISENTANGLED,
        disentangled(lambda dy, c, **_: {"dk": dscores_of(dy, c).swapaxes(-1, -2) @ c.q / SQRT_3K}),
    ),
    "disentangled: dq with sqrt(K) for sqrt(3 K)": (
        DISENTANGLED,
        disentangled(lambda dq, **_: {"dq": dq * SQRT_3K / SQRT_K}),
    ),
    "disentangled: dq_rel without 1 / sqrt(3 K)": (
        DISENTANGLED,
        disentangled(lambda dq_rel, **_: {"dq_rel": dq_rel * SQRT_3K}),
    ),
    "disentangled: dq_rel and dk_rel exchanged": (
        DISENTANGLED,
        disentangled(lambda dq_rel, dk_rel, **_: {"dq_rel": dk_rel, "dk_rel": dq_rel}),
    ),
    "disentangled: distances turned": (DISENTANGLED, disentangled(disentangled_with_distances_turned)),
    "disentangled: a shared row is overwritten": (DISENTANGLED, disentangled(disentangled_rows_that_overwrite)),
    "disentangled: of the first sequence": (DISENTANGLED, disentangled(disentangled_of_the_first_sequence)),
    "conv1d: the kernel not turned": (CONV, conv1d(conv1d_with_the_kernel_as_it_stands)),
    "conv1d: dW turned": (CONV, conv1d(lambda dW, **_: {"dW": dW[:, :, ::-1]})),
    "conv1d: dW of one sequence": (
        CONV,
        conv1d(lambda dy, c, **_: {"dW": ops.conv1d_backward(dy[:1], c._replace(padded=c.padded[:1]))[1]}),
    ),
    "conv1d: dbias once a tap": (CONV, conv1d(lambda dbias, **_: {"dbias": 3.0 * dbias})),
}


@pytest.mark.parametrize(("case", "backward"), MUTANTS.values(), ids=MUTANTS.keys())
def test_a_known_mistake_fails(case, backward):
    with pytest.raises(GradientError):
        case.check(check_op, backward)


# ---- where the point hides the mistake

HIDDEN_AT_B_ZERO = ["lora: dx without dh A", "lora: dA without scale", "lora: dA zero, as it is while B is"]


@pytest.mark.parametrize("name", HIDDEN_AT_B_ZERO)
def test_b_zero_hides_what_a_generic_point_shows(name):
    case, backward = MUTANTS[name]
    at_the_start = Case(**(vars(case) | {"arrays": case.arrays | {"B": np.zeros((4, 2))}}))
    assert at_the_start.check(check_op, backward)
    with pytest.raises(GradientError):
        case.check(check_op, backward)


@pytest.mark.parametrize(("O", "message"), [(4, "has shape"), (5, "is wrong")])
def test_a_transposed_dW_fails_by_its_shape_or_if_W_is_square_by_its_values(O, message):
    _, backward = MUTANTS["linear: dW transposed"]
    rng = np.random.default_rng(0)
    arrays = {"x": rng.standard_normal((6, 5)), "W": rng.standard_normal((O, 5)), "bias": rng.standard_normal(O)}
    with pytest.raises(GradientError, match=f"the gradient of W {message}"):
        check_op(ops.linear_forward, backward, arrays, rng=rng)


def test_gelu_with_a_wrong_cubic_constant_fails():
    def forward(x):
        y, _ = ops.gelu_tanh_forward(x)
        a, b = math.sqrt(2.0 / math.pi), 0.044
        t = np.tanh(a * (x + b * x**3))
        return y, ops.GeluCache(0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * a * (1.0 + 3.0 * b * x * x))

    with pytest.raises(GradientError):
        check_op(forward, ops.gelu_tanh_backward, ROWS["gelu_tanh"].arrays, rng=np.random.default_rng(1))


@pytest.mark.parametrize(
    ("forward", "other"),
    [(ops.gelu_tanh_forward, ops.gelu_exact_forward), (ops.gelu_exact_forward, ops.gelu_tanh_forward)],
)
def test_the_slope_of_the_other_gelu_fails(forward, other):
    with pytest.raises(GradientError):
        check_op(
            lambda x: (forward(x)[0], other(x)[1]),
            ops.gelu_tanh_backward,
            ROWS["gelu_tanh"].arrays,
            rng=np.random.default_rng(1),
        )

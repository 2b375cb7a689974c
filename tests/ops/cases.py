"""Every op at a generic point: random arrays, no dimension twice in one op, and leading axes (), (M,) and (N, T)."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from minilora.ops import fast


@dataclass
class Case:
    """An op and the point at which it is looked at: ``forward(*arrays, *args, **scalars)``."""

    forward: Callable
    backward: Callable
    arrays: dict
    args: tuple = ()
    scalars: dict = field(default_factory=dict)
    wrt: tuple = ()  # the arrays that have a gradient; () means all
    analytic: bool = True  # every line of the forward takes complex numbers

    @property
    def names(self):
        return self.wrt or tuple(self.arrays)

    def run(self):
        return self.forward(*self.arrays.values(), *self.args, **self.scalars)

    def gradients(self, dy, cache):
        """A tuple, also of a single one."""
        grads = self.backward(dy, cache)
        return grads if isinstance(grads, tuple) else (grads,)

    def check(self, check_op, backward=None, **options):
        """check_op at this point, of this backward or of another one."""
        rng = np.random.default_rng(1)
        backward = backward or self.backward
        return check_op(
            self.forward, backward, self.arrays, *self.args, rng=rng, wrt=self.names, **self.scalars, **options
        )


def array_leaves(tree):
    """All arrays in nested tuples, such as caches."""
    if isinstance(tree, tuple):
        for item in tree:
            yield from array_leaves(item)
    elif isinstance(tree, np.ndarray):
        yield tree


def row_cases(*lead, ops=fast):
    """The ops that act on rows, behind the leading axes `lead`, as the engine, the page or a mutant has them."""
    rng = np.random.default_rng(len(lead))

    def dropout_with_the_same_mask(x, p):
        """Each call draws from a generator of the same seed, so that the forward is a function of x."""
        return ops.dropout_forward(x, p, np.random.default_rng(7))

    def embedding_of(W, ids):
        return ops.embedding_forward(ids, W)

    def lora_embedding_of(E, A, B, ids, scale):
        return ops.lora_embedding_forward(ids, E, A, B, scale)

    def lora_without_bias(x, W, A, B, scale):
        return ops.lora_linear_forward(x, W, None, A, B, scale)

    def normal(*shape):
        return rng.standard_normal(shape)

    x, W, bias, A, B = normal(*lead, 5), normal(4, 5), normal(4), normal(2, 5), normal(4, 2)
    mask = rng.random((*lead, 5)) * 2.0
    ids, targets = rng.integers(0, 4, lead), rng.integers(0, 7, lead)
    counts = np.asarray(rng.random(lead) < 0.6)
    counts.flat[:1] = True
    slots = np.asarray(rng.integers(-1, 3, lead))
    slots.flat[:1] = 2
    lora = {"x": x, "W": W, "bias": bias, "A": A, "B": B}
    dora, norm = lora | {"m": normal(4)}, 1.0 + rng.random(4)
    dora_wrt = ("x", "A", "B", "m")
    wrt = ("x", "A", "B")
    linear, lora_linear = (ops.linear_forward, ops.linear_backward), (ops.lora_linear_forward, ops.lora_linear_backward)
    dora_linear = ops.dora_linear_forward, ops.dora_linear_backward
    loss = ops.cross_entropy_forward, ops.cross_entropy_backward
    return {
        "linear": Case(*linear, {"x": x, "W": W, "bias": bias}),
        "lora_linear": Case(*lora_linear, lora, (1.7,), wrt=wrt),
        "lora_linear, mask": Case(*lora_linear, lora, (1.7, mask), wrt=wrt),
        "lora_linear, no bias": Case(
            lora_without_bias, ops.lora_linear_backward, {"x": x, "W": W, "A": A, "B": B}, (1.7,), wrt=wrt
        ),
        "lora_fa_linear": Case(ops.lora_fa_linear_forward, ops.lora_fa_linear_backward, lora, (1.7,), wrt=("x", "B")),
        "lora_fa_linear, mask": Case(
            ops.lora_fa_linear_forward, ops.lora_fa_linear_backward, lora, (1.7, mask), wrt=("x", "B")
        ),
        "dora_linear": Case(*dora_linear, dora, (1.7, mask, norm), wrt=dora_wrt),
        "dora_linear, exact": Case(*dora_linear, dora, (1.7,), wrt=dora_wrt),
        "dora_linear, exact, mask": Case(*dora_linear, dora, (1.7, mask), wrt=dora_wrt),
        "prefix": Case(ops.prefix_forward, ops.prefix_backward, {"x": x, "P": normal(3, 5)}, (slots,)),
        **{
            f"vera_linear{name}": Case(
                ops.vera_linear_forward,
                ops.vera_linear_backward,
                {"x": x, "W": W, "bias": bias, "A": A, "B": B, "d": normal(2), "b": normal(4)},
                masks,
                wrt=("x", "d", "b"),
            )
            for name, masks in (("", ()), (", mask", (mask,)))
        },
        **{
            f"adalora_linear{name}": Case(
                ops.adalora_linear_forward,
                ops.adalora_linear_backward,
                {"x": x, "W": W, "bias": bias, "P": B, "lam": normal(2), "Q": A},
                (1.7, *masks),
                wrt=("x", "P", "lam", "Q"),
            )
            for name, masks in (("", ()), (", mask", (mask,)))
        },
        "orthogonality": Case(ops.orthogonality_forward, ops.orthogonality_backward, {"P": B, "Q": A}),
        "random_subspace": Case(
            ops.random_subspace_forward,
            ops.random_subspace_backward,
            {"theta": normal(4)},
            (np.asarray(rng.integers(0, 8, lead)), np.sqrt([3.0, 1.0, 2.0, 7.0])),
        ),
        "rescale": Case(ops.rescale_forward, ops.rescale_backward, {"x": x, "l": normal(5)}),
        "linear_rows": Case(
            ops.linear_rows_forward,
            ops.linear_rows_backward,
            {"x": x, "W": W, "P": normal(2, 5)},
            (np.array([3, 1]),),
            wrt=("x", "P"),
        ),
        "layernorm": Case(
            ops.layernorm_forward, ops.layernorm_backward, {"x": x, "gain": normal(5), "bias": normal(5)}
        ),
        "rmsnorm": Case(ops.rmsnorm_forward, ops.rmsnorm_backward, {"x": x, "gain": normal(5)}, (0.1,)),
        "silu": Case(ops.silu_forward, ops.silu_backward, {"x": x}),
        "silu_gate": Case(ops.silu_gate_forward, ops.silu_gate_backward, {"gate": x, "up": normal(*lead, 5)}),
        "gelu_tanh": Case(ops.gelu_tanh_forward, ops.gelu_tanh_backward, {"x": x}),
        "gelu_exact": Case(ops.gelu_exact_forward, ops.gelu_exact_backward, {"x": x}, analytic=False),
        "relu": Case(ops.relu_forward, ops.relu_backward, {"x": x}, analytic=False),
        "take_rows": Case(ops.take_rows_forward, ops.take_rows_backward, {"x": x}, (np.arange(x.size // 5)[::-2],)),
        "tanh": Case(ops.tanh_forward, ops.tanh_backward, {"x": x}),
        "dropout": Case(dropout_with_the_same_mask, ops.dropout_backward, {"x": x}, (0.3,)),
        "softmax": Case(ops.softmax_forward, ops.softmax_backward, {"x": x}),
        "embedding": Case(embedding_of, ops.embedding_backward, {"W": normal(4, 3)}, (ids,)),
        "lora_embedding": Case(
            lora_embedding_of,
            ops.lora_embedding_backward,
            {"E": normal(4, 3), "A": normal(2, 4), "B": normal(3, 2)},
            (ids, 1.7),
            wrt=("A", "B"),
        ),
        "cross_entropy": Case(*loss, {"logits": normal(*lead, 7)}, (targets,)),
        "cross_entropy, mask": Case(*loss, {"logits": normal(*lead, 7)}, (targets, counts)),
        "cross_entropy, weights": Case(*loss, {"logits": normal(*lead, 7)}, (targets, None, np.array(normal(*lead)))),
        "linear_cross_entropy": Case(
            ops.linear_cross_entropy_forward,
            ops.linear_cross_entropy_backward,
            {"x": x.reshape(-1, 5), "W": normal(7, 5)},
            (targets.reshape(-1),),
        ),
        "linear_cross_entropy, weights": Case(
            ops.linear_cross_entropy_forward,
            ops.linear_cross_entropy_backward,
            {"x": x.reshape(-1, 5), "W": normal(7, 5)},
            (targets.reshape(-1), True, True, normal(x.size // 5)),
        ),
    }


def attention_cases(ops=fast):
    """(N, H, T, K) = (2, 3, 5, 4); of the padding, one sequence has its first two keys, which blinds two queries."""
    rng = np.random.default_rng(3)
    q, k, v = (rng.standard_normal((2, 3, 5, 4)) for _ in range(3))
    padding = np.array([[True] * 5, [False, False, True, True, True]])
    points = {
        "attention, causal": (q, None, True),
        "attention, not causal": (q, None, False),
        "attention, causal, padding": (q, padding, True),
        "attention, not causal, padding": (q, padding, False),
        "attention, the last two queries": (q[:, :, -2:], padding, True),
        "attention, the last query": (q[:, :, -1:], None, True),
    }
    return {
        name: Case(
            ops.attention_forward,
            ops.attention_backward,
            {"q": queries.copy(), "k": k, "v": v},
            (mask,),
            {"causal": causal},
        )
        for name, (queries, mask, causal) in points.items()
    }


def grouped_attention_cases(ops=fast):
    """(N, H, G, T, K) = (2, 6, 3, 5, 4): two query heads share a key-value head. Texts of 2 and 3, and of 1 and 4."""
    rng = np.random.default_rng(8)
    q = rng.standard_normal((2, 6, 5, 4))
    k, v = (rng.standard_normal((2, 3, 5, 4)) for _ in range(2))
    padding = np.array([[True] * 5, [False, False, True, True, True]])
    texts = ((2, 3), (1, 4))
    points = {
        "causal": (q, None, {}),
        "not causal, padding": (q, padding, {"causal": False}),
        "the last two queries": (q[:, :, -2:], padding, {}),
        "texts": (q, None, {"text_lengths": texts}),
        "texts, not causal, padding": (q, padding, {"text_lengths": texts, "causal": False}),
        "texts, the last four queries": (q[:, :, -4:], None, {"text_lengths": texts}),
        "texts, the last query": (q[:, :, -1:], None, {"text_lengths": texts}),
    }
    return {
        f"attention, groups, {name}": Case(
            ops.attention_forward,
            ops.attention_backward,
            {"q": queries.copy(), "k": k, "v": v},
            (mask,),
            options,
        )
        for name, (queries, mask, options) in points.items()
    }


def rope_cases(ops=fast):
    """(N, H, T, K) = (2, 3, 5, 4); one table for all, and one for each sequence."""
    rng = np.random.default_rng(9)
    x, frequencies = rng.standard_normal((2, 3, 5, 4)), ops.rope_frequencies(4, 100.0)
    positions = {"": np.arange(5), ", positions by row": np.array([[0, 1, 2, 3, 4], [0, 1, 0, 1, 2]])}
    return {
        f"rope{name}": Case(
            ops.rope_forward, ops.rope_backward, {"x": x}, ops.rope_table(places, frequencies, "float64")
        )
        for name, places in positions.items()
    }


def disentangled_attention_cases(ops=fast):
    """(N, H, T, K) = (2, 3, 5, 4) and M = 8; distances of 3 and more share a row. Of the padding, 0 and 3 are in it."""
    rng = np.random.default_rng(4)
    q, k, v = (rng.standard_normal((2, 3, 5, 4)) for _ in range(3))
    q_rel, k_rel = (rng.standard_normal((3, 8, 4)) for _ in range(2))
    arrays = {"q": q, "k": k, "v": v, "q_rel": q_rel, "k_rel": k_rel}
    padding = np.array([[True] * 5, [False, True, True, False, True]])
    distance_rows = np.array(ops.relative_rows(5, n_buckets=4, max_distance=5))
    return {
        f"disentangled_attention{name}": Case(
            ops.disentangled_attention_forward,
            ops.disentangled_attention_backward,
            arrays,
            (distance_rows, mask),
        )
        for name, mask in ((", no mask", None), (", padding", padding))
    }


def conv1d_cases(ops=fast):
    """(N, T, I) = (2, 6, 5), O = 4."""
    rng = np.random.default_rng(5)
    return {
        f"conv1d, S = {S}": Case(
            ops.conv1d_forward,
            ops.conv1d_backward,
            {
                "x": rng.standard_normal((2, 6, 5)),
                "W": rng.standard_normal((4, 5, S)),
                "bias": rng.standard_normal(4),
            },
        )
        for S in (1, 3, 7)
    }


def policy_gradient_cases(ops=fast):
    """(N, T, V) = (3, 5, 7): answers of 2, 4 and 1 tokens, after prompts; the first has padding behind it."""
    rng = np.random.default_rng(10)
    drawn = np.array([[0, 0, 1, 1, 0], [0, 1, 1, 1, 1], [0, 0, 0, 0, 1]], dtype=bool)
    rewards = np.array([1.0, 0.25, 0.0])
    return {
        "policy_gradient": Case(
            ops.policy_gradient_forward,
            ops.policy_gradient_backward,
            {"logits": rng.standard_normal((3, 5, 7))},
            (rng.integers(0, 7, (3, 5)), ops.leave_one_out(rewards), drawn),
        )
    }


def float32_case(case):
    """The same point in single precision."""

    def single(value):
        return value.astype(np.float32) if isinstance(value, np.ndarray) and value.dtype == np.float64 else value

    arrays = {name: single(array) for name, array in case.arrays.items()}
    return Case(
        case.forward, case.backward, arrays, tuple(map(single, case.args)), case.scalars, case.wrt, case.analytic
    )


def all_cases(ops=fast, leads=((), (6,), (2, 3))):
    rows = {f"{name} {lead}": case for lead in leads for name, case in row_cases(*lead, ops=ops).items()}
    attention = attention_cases(ops) | grouped_attention_cases(ops) | disentangled_attention_cases(ops)
    return rows | attention | rope_cases(ops) | conv1d_cases(ops) | policy_gradient_cases(ops)


CASES = all_cases()

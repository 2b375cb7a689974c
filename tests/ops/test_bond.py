"""The bond between the page, `ops/`, and its engine, `ops/fast/`: the same values, gradients and caches by name."""

import importlib
import inspect
import types

import numpy as np
import pytest

from minilora import ops
from minilora.arrays import chunks
from minilora.ops import fast
from ops.cases import Case, all_cases, float32_case

TOLERANCE = {"float64": 1e-12, "float32": 1e-6}  # of a norm
LEADS = ((), (6,), (2, 3), (1,), (0,), (2, 0))  # of all rows: a vector, rows, sequences, one row, none, none of two
PAIRED = sorted(name for name in fast.__all__ if hasattr(getattr(fast, name), "engine"))


@pytest.fixture
def computed_by():
    """Not twice: each test asks both."""


def edge_cases(namespace):
    """More points: a row of zeros for DoRA, sizes beyond a tile and a chunk, padding everywhere, a gradient alone."""
    rng = np.random.default_rng(6)

    def normal(*shape):
        return rng.standard_normal(shape)

    x, W, bias, A, B, m = normal(3, 5), normal(4, 5), normal(4), 0.3 * normal(2, 5), normal(4, 2), normal(4)
    W[1] = B[1] = 0.0
    dora = {"x": x, "W": W, "bias": bias, "A": A, "B": B, "m": m}
    dora_linear = namespace.dora_linear_forward, namespace.dora_linear_backward
    q, k, v = normal(3, 2, 70, 4), normal(3, 2, 75, 4), normal(3, 2, 75, 4)
    padding = rng.random((3, 75)) < 0.7
    padding[1] = False
    texts = ((68, 7), (1, 3, 0, 71), (75,))
    attention = namespace.attention_forward, namespace.attention_backward
    of_one = {name: normal(1, 2, 1, 4) for name in ("q", "k", "v")}
    relative = {"q_rel": normal(2, 8, 4), "k_rel": normal(2, 8, 4)}
    layernorm = namespace.layernorm_forward, namespace.layernorm_backward
    head = namespace.linear_cross_entropy_forward, namespace.linear_cross_entropy_backward
    targets, weight = rng.integers(0, 7, 11), rng.standard_normal(11)
    return {
        "dora_linear, a row of zeros": Case(*dora_linear, dora, (1.7,), wrt=("x", "A", "B", "m")),
        "dora_linear, a row of zeros, a norm of zero": Case(
            *dora_linear, dora, (1.7, None, np.array([2.0, 0.0, 1.0, 3.0])), wrt=("x", "A", "B", "m")
        ),
        "attention, several tiles": Case(*attention, {"q": q, "k": k, "v": v}, (padding,)),
        "attention, several tiles, not causal": Case(
            *attention, {"q": q, "k": k, "v": v}, (padding,), {"causal": False}
        ),
        "attention, one token": Case(*attention, of_one),
        "disentangled_attention, one token": Case(
            namespace.disentangled_attention_forward,
            namespace.disentangled_attention_backward,
            of_one | relative,
            (np.array(ops.relative_rows(1, n_buckets=4, max_distance=5)),),
        ),
        "layernorm, constant rows": Case(
            *layernorm, {"x": np.full((2, 7), 11000.0), "gain": normal(7), "bias": normal(7)}, (0.1,)
        ),
        "attention, groups, several tiles": Case(*attention, {"q": normal(3, 4, 70, 4), "k": k, "v": v}, (padding,)),
        "attention, groups, texts, several tiles": Case(
            *attention, {"q": normal(3, 4, 75, 4), "k": k, "v": v}, (padding,), {"text_lengths": texts}
        ),
        "attention, groups, texts, several tiles, not causal": Case(
            *attention, {"q": normal(3, 4, 72, 4), "k": k, "v": v}, (), {"text_lengths": texts, "causal": False}
        ),
        "attention, groups, the last query": Case(
            *attention, {"q": normal(1, 6, 1, 4), "k": normal(1, 2, 3, 4), "v": normal(1, 2, 3, 4)}
        ),
        "rmsnorm, rows of zeros": Case(
            namespace.rmsnorm_forward, namespace.rmsnorm_backward, {"x": np.zeros((2, 7)), "gain": normal(7)}
        ),
        "silu, several chunks": Case(namespace.silu_forward, namespace.silu_backward, {"x": 3.0 * normal(5, 40)}),
        "silu_gate, several chunks": Case(
            namespace.silu_gate_forward,
            namespace.silu_gate_backward,
            {"gate": 3.0 * normal(5, 40), "up": normal(5, 40)},
        ),
        "linear_cross_entropy, dx alone": Case(
            *head, {"x": normal(11, 5), "W": normal(7, 5)}, (targets,), {"need_dW": False}, wrt=("x",)
        ),
        "linear_cross_entropy, weights, dW alone": Case(
            *head, {"x": normal(11, 5), "W": normal(7, 5)}, (targets, False, True, weight), wrt=("W",)
        ),
        "softmax, a row of nothing": Case(
            namespace.softmax_forward, namespace.softmax_backward, {"x": np.array([[0.0, 1.0], [-np.inf, -np.inf]])}
        ),
        "gelu_tanh, several chunks": Case(
            namespace.gelu_tanh_forward, namespace.gelu_tanh_backward, {"x": 3.0 * normal(5, 40)}
        ),
        "gelu_exact, several chunks": Case(
            namespace.gelu_exact_forward, namespace.gelu_exact_backward, {"x": 3.0 * normal(5, 40)}
        ),
        **frozen_cases(namespace, x, W, bias),
    }


def frozen_cases(namespace, x, W, bias):
    """What is left out of the cache has a gradient of None."""
    rng = np.random.default_rng(7)
    linear = namespace.linear_forward, namespace.linear_backward, {"x": x, "W": W, "bias": bias}
    convolved = {"x": rng.standard_normal((2, 6, 5)), "W": rng.standard_normal((4, 5, 3)), "bias": bias}
    conv1d = namespace.conv1d_forward, namespace.conv1d_backward, convolved
    normalised = {"x": x, "gain": rng.standard_normal(5), "bias": rng.standard_normal(5)}
    layernorm = namespace.layernorm_forward, namespace.layernorm_backward, normalised
    rmsnorm = namespace.rmsnorm_forward, namespace.rmsnorm_backward, {"x": x, "gain": rng.standard_normal(5)}
    return {
        "linear, W frozen": left_out(*linear, ("W",), x=None),
        "linear, bias frozen": left_out(*linear, ("bias",), bias=None),
        "conv1d, W frozen": left_out(*conv1d, ("W",), padded=None),
        "conv1d, bias frozen": left_out(*conv1d, ("bias",), bias=None),
        "layernorm, gain frozen": left_out(*layernorm, ("gain",), frozen=("gain",)),
        "rmsnorm, gain frozen": left_out(*rmsnorm, ("gain",), frozen=("gain",)),
        "layernorm, bias frozen": left_out(*layernorm, ("bias",), frozen=("bias",)),
    }


def left_out(forward, backward, arrays, names, **fields):
    """An op whose cache has other fields, and so no gradient for these names."""

    def forward_and_leave_out(*args):
        y, cache = forward(*args)
        return y, cache._replace(**fields)

    def backward_of_the_rest(dy, cache):
        grads = backward(dy, cache)
        # the page gives all; a layer throws away what is frozen
        if backward in (ops.layernorm_backward, ops.rmsnorm_backward):
            return tuple(None if name in names else grad for name, grad in zip(arrays, grads, strict=True))
        return grads

    return Case(forward_and_leave_out, backward_of_the_rest, arrays)


def cases_of(namespace):
    return all_cases(namespace, LEADS) | edge_cases(namespace)


PAGE, ENGINE = cases_of(ops), cases_of(fast)


def everything(case, fields):
    """Value, gradients and what the cache holds, by name."""
    y, cache = case.run()
    dy = np.asarray(np.random.default_rng(2).standard_normal(y.shape)).astype(y.dtype)
    grads = zip(case.names, case.gradients(dy, cache), strict=False)
    kept = {f"cache.{name}": getattr(cache, name) for name in fields}
    return {"y": y, **{f"d{name}": grad for name, grad in grads}, **kept}


def differences(page, engine):
    """Where the two are not the same to rounding: their names."""
    fields = page.run()[1]._fields
    a, b = everything(page, fields), everything(engine, fields)
    assert a.keys() == b.keys()
    return [name for name in a if not same(a[name], b[name])]


def same(a, b):
    """Of arrays shape, dtype and values to rounding; anything else is equal."""
    if not isinstance(a, (np.ndarray, np.floating)):
        return a is None and b is None if a is None or b is None else a == b
    a, b = np.asarray(a), np.asarray(b)
    if (a.shape, a.dtype) != (b.shape, b.dtype):
        return False
    if a.dtype.kind != "f":
        return np.array_equal(a, b)
    finite = np.isfinite(a)  # a norm may be infinite, the same in both
    norm = np.linalg.norm(a[finite])
    return (
        np.array_equal(a[~finite], b[~finite])
        and np.linalg.norm(a[finite] - b[finite]) <= TOLERANCE[str(a.dtype)] * norm
    )


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", PAGE)
def test_the_engine_gives_what_the_page_gives(name, dtype, monkeypatch):
    monkeypatch.setattr(chunks, "L2_BYTES", 512)
    page, engine = PAGE[name], ENGINE[name]
    if dtype == "float32":
        page, engine = float32_case(page), float32_case(engine)
    assert differences(page, engine) == []


@pytest.mark.parametrize("name", PAGE)
def test_a_cache_of_one_serves_the_other(name):
    y, page_cache = PAGE[name].run()
    _, engine_cache = ENGINE[name].run()
    dy = np.asarray(np.random.default_rng(2).standard_normal(y.shape))
    expected = PAGE[name].gradients(dy, page_cache)
    for case, cache in ((PAGE[name], engine_cache), (ENGINE[name], page_cache)):
        assert all(map(same, expected, case.gradients(dy, cache)))


@pytest.mark.parametrize("name", [name for name in ENGINE if name.endswith("frozen")])
def test_what_a_cache_leaves_out_has_no_gradient_and_the_rest_has_its_own(name):
    op, frozen = name.removesuffix(" frozen").split(", ")
    case = ENGINE[name]
    y, cache = case.run()
    dy = np.random.default_rng(2).standard_normal(y.shape)
    backward = getattr(fast, f"{op}_backward")
    every = backward(dy, getattr(fast, f"{op}_forward")(*case.arrays.values())[1])
    for array, grad, expected in zip(case.arrays, backward(dy, cache), every, strict=True):
        assert grad is None if array == frozen else np.array_equal(grad, expected)


# ---- a wrong engine is found: (function, its file, what stands there, what a mistake would put there)

MUTANTS = [
    ("adalora_linear_backward", "adalora_linear", "du *= lam", "pass"),
    ("adalora_linear_forward", "adalora_linear", "P * lam", "P"),
    ("attention_forward", "attention", "q * (1.0 / math.sqrt(q.shape[-1]))", "q * (1.0 / q.shape[-1])"),
    ("attention_forward", "attention_tiles", "start += length", "start = length"),
    ("attention_forward", "attention_tiles", "slice(start, j_stop)", "slice(0, j_stop)"),
    ("attention_backward", "attention_tiles", "i_stop == end", "True"),
    ("attention_forward", "attention", "if causal and I > 1", "if causal and I > 2"),
    ("attention_backward", "attention", "dq *= 1.0 / math.sqrt", "dq *= 1.0 + 0.0 * math.sqrt"),
    ("attention_backward", "attention", "scores -= lse", "scores += lse"),
    ("attention_backward", "attention", "dprobs -= D", "dprobs += D"),
    ("disentangled_attention_forward", "disentangled_attention", "distance_rows[-2::-1]", "distance_rows[1:]"),
    ("disentangled_attention_backward", "disentangled_attention", "dscores @ k[n] + dc2p", "dscores @ k[n] - dc2p"),
    ("dequantize_nf4", "nf4", "byte >> 4], levels[byte & 15]", "byte & 15], levels[byte >> 4]"),  # halves swapped
    ("dequantize_nf4", "nf4", "w *= absmax[:, None]", "w *= absmax[::-1, None]"),  # the scale of another block
    ("dequantize_nf4", "nf4", "from_blocks(w, shape)", "from_blocks(w.T, shape)"),  # blocks as columns
    ("dequantize_q4_1", "gguf_blocks", "q[:, :16]", "q[:, 0::2]"),
    ("dora_linear_forward", "dora_linear", "norm != 0, norm, math.inf", "norm != 1, norm, math.inf"),
    ("dora_linear_backward", "dora_linear", "dx = product(du, W)", "dx = product(dy, W)"),
    ("dora_norm", "dora_linear", "W + float(scale)", "W - float(scale)"),
    ("row_norm", "dora_linear", ".sqrt(vecdot(V, V))", ".abs(vecdot(V, V))"),
    ("embedding_backward", "embedding", "scatter_add(dW, cache.ids.reshape(-1), rows(dy))", "dW[cache.ids] = dy"),
    ("gelu_exact_forward", "gelu", "e *= -0.5", "e *= -0.25"),
    ("gelu_exact_forward", "gelu", "xp.copysign(phi, x, out=phi)", "pass"),
    ("gelu_tanh_forward", "gelu", "two_du *= 6.0", "two_du *= 3.0"),
    ("rmsnorm_forward", "rmsnorm", " + C * eps", ""),
    ("rmsnorm_backward", "rmsnorm", "dx -= xhat * mean_dxhat_xhat", "pass"),
    ("rmsnorm_backward", "rmsnorm", '"gain" in frozen', "frozen == ()"),
    ("rope_forward", "rope", "y2 += product", "y2 -= product"),
    ("rope_backward", "rope", "rows(-sin)", "rows(sin)"),
    ("silu_forward", "silu", "slope /= e", "slope /= 2"),
    ("silu_gate_forward", "silu", "y *= up", "pass"),
    ("silu_gate_backward", "silu", "dgate *= up", "pass"),
    ("layernorm_forward", "layernorm", " + C * eps", ""),
    ("layernorm_backward", "layernorm", "dx -= xhat * mean_dxhat_xhat", "pass"),
    ("layernorm_backward", "layernorm", '"gain" in frozen', '"bias" in frozen'),
    ("layernorm_backward", "layernorm", '"bias" in frozen', "frozen"),
    ("linear_backward", "linear", "product(rows(dy).T, rows(x))", "-product(rows(dy).T, rows(x))"),
    ("linear_forward", "linear", "y += bias", "y -= bias"),
    ("linear_cross_entropy_forward", "linear_cross_entropy", "1.0 / count", "1.0 / V"),
    ("linear_cross_entropy_forward", "linear_cross_entropy", "dlogits *= weights[chunk]", "pass"),
    ("linear_cross_entropy_forward", "linear_cross_entropy", "losses[chunk] *= weights[chunk]", "pass"),
    (
        "lora_embedding_backward",
        "lora_embedding",
        "scatter_add(dA, ids.reshape(-1), scale * (dy @ B))",
        "dA[ids.reshape(-1)] += scale * (dy @ B)",
    ),
    ("lora_linear_backward", "lora_linear", "dB = scale * (dy.T @ h)", "dB = dy.T @ h"),
    ("lora_linear_forward", "lora_linear", "y += (scale * h) @ B.T", "y += h @ B.T"),
    ("lora_fa_linear_backward", "lora_fa_linear", "dx += dx_lora", "pass"),
    ("lora_fa_linear_forward", "lora_fa_linear", "(x, W, bias, A, B, scale, dropout_mask)", "(x, W, bias, A, B, 1.0)"),
    ("prefix_backward", "prefix", "(slots < 0)[..., None]", "(slots <= 0)[..., None]"),
    ("vera_linear_backward", "vera_linear", "du *= d", "pass"),
    ("vera_linear_forward", "vera_linear", "y += b * v", "y += v"),
    ("softmax_backward", "softmax", "dx *= probs", "pass"),
    ("softmax_forward", "softmax", "x /= xp", "x *= xp"),
]


def mutated(file, old, new):
    """The functions of `ops/fast`, those of one file with one thing changed."""
    mutant = changed(file, old, new)
    if file == "attention_tiles":  # it has no op of its own
        tiles, mutant = mutant, changed("attention", "", "")
        vars(mutant).update({name: value for name, value in vars(tiles).items() if name in vars(mutant)})
    made = {name: value for name, value in vars(mutant).items() if hasattr(value, "engine") or name == "AttentionCache"}
    return types.SimpleNamespace(**vars(fast) | made)


def changed(file, old, new):
    """A module of `ops/fast` with `new` where `old` stands."""
    module = importlib.import_module(f"minilora.ops.fast.{file}")
    source = inspect.getsource(module)
    assert source.count(old) >= 1
    mutant = types.ModuleType(module.__name__)
    exec(compile(source.replace(old, new) if old else source, module.__file__, "exec"), vars(mutant))
    return mutant


W_QUANTIZED = np.random.default_rng(3).standard_normal((5, 70)).astype("float32")
BLOCKS_OF_32 = ops.quantize_q4_1(np.random.default_rng(4).standard_normal((3, 32)).astype("float32"))


def test_the_engine_dequantizes_as_the_page_does_to_the_bit():
    for w in (W_QUANTIZED, W_QUANTIZED[:1, :3], np.zeros((2, 64), "float32")):
        codes, absmax = ops.quantize_nf4(w)
        page, engine = (f(codes, absmax, w.shape) for f in (ops.dequantize_nf4, fast.dequantize_nf4.engine))
        assert page.dtype == engine.dtype and np.array_equal(page, engine)
    page, engine = ops.dequantize_q4_1(BLOCKS_OF_32), fast.dequantize_q4_1.engine(BLOCKS_OF_32)
    assert page.dtype == engine.dtype and np.array_equal(page, engine)


@pytest.mark.parametrize(("name", "file", "old", "new"), MUTANTS)
def test_a_wrong_engine_is_found(name, file, old, new):
    namespace = mutated(file, old, new)
    if name.startswith("dequantize"):
        args = (*ops.quantize_nf4(W_QUANTIZED), W_QUANTIZED.shape) if name == "dequantize_nf4" else (BLOCKS_OF_32,)
        assert not same(getattr(ops, name)(*args), getattr(namespace, name)(*args))
    elif name in ("dora_norm", "row_norm"):
        W, A, B = (np.random.default_rng(0).standard_normal(shape) for shape in ((4, 5), (2, 5), (4, 2)))
        args = (W, A, B, 1.7) if name == "dora_norm" else (W,)
        assert not same(getattr(ops, name)(*args), getattr(namespace, name)(*args))
    else:
        op = name.rpartition("_")[0]
        with np.errstate(all="ignore"):
            found = [differences(PAGE[n], case) for n, case in cases_of(namespace).items() if n.startswith(op)]
        assert any(found)


# ---- no engine without a page


def test_the_engine_has_the_pages_names_and_no_others():
    assert fast.__all__ == ops.__all__


def arguments(function):
    """Name, kind and default of each."""
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize("name", [name for name in ops.__all__ if inspect.isfunction(getattr(ops, name))])
def test_an_engine_function_has_its_pages_signature(name):
    page, engine = getattr(ops, name), getattr(fast, name)
    if hasattr(engine, "engine"):
        assert engine.page is page
        assert arguments(engine.engine) == arguments(page)
    else:
        assert engine is page


def test_every_engine_function_has_a_mutant():
    assert {name for name, *_ in MUTANTS} == set(PAIRED) - {"adamw_inplace"}  # no op: see test_adamw.py


def test_a_row_norm_is_the_pages():
    V = np.random.default_rng(0).standard_normal((4, 50))
    assert same(ops.row_norm(V), fast.row_norm(V))
    A, B = np.zeros((2, 50)), np.zeros((4, 2))
    V[1] = 0.0
    assert fast.dora_norm(V, A, B, 1.0)[1] == ops.dora_norm(V, A, B, 1.0)[1] == np.inf

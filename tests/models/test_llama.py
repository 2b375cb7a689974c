"""Llama's forward: against Llama written out in loops, causal, in pieces, saved and loaded, and what is refused."""

import cmath
import math
import re

import numpy as np
import pytest

from minilora.models import Llama, LlamaConfig, generate, load_model, save_model
from minilora.ops import Llama3Scaling, plain_ops
from models.tiny_llama import KINDS, SCALING, SHAPE, config_of, tiny_llama

# ---- Llama for one sequence, one number at a time; rotations are products of complex numbers


def linear(x, W, bias=None):
    return [sum(w * v for w, v in zip(row, x)) + b for row, b in zip(W, bias or [0.0] * len(W))]


def rmsnorm(x, gain, eps):
    rms = math.sqrt(sum(v * v for v in x) / len(x) + eps)
    return [g * v / rms for v, g in zip(x, gain)]


def add(x, y):
    return [a + b for a, b in zip(x, y)]


def frequency(i, config):
    f = config.rope_theta ** (-2 * i / config.head_size)
    if (s := config.rope_scaling) is None:
        return f
    turns = s.original_n_positions * f / (2 * math.pi)
    if turns <= s.low_freq_factor:
        return f / s.factor
    if turns >= s.high_freq_factor:
        return f
    w = (turns - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor)
    return w * f + (1 - w) * f / s.factor


def rotate(x, t, config):
    half = len(x) // 2
    turned = [complex(x[i], x[i + half]) * cmath.exp(1j * t * frequency(i, config)) for i in range(half)]
    return [z.real for z in turned] + [z.imag for z in turned]


def attend(query, keys, values):
    weights = [math.exp(sum(a * b for a, b in zip(query, key)) / math.sqrt(len(query))) for key in keys]
    return [sum(w * value[c] for w, value in zip(weights, values)) / sum(weights) for c in range(len(values[0]))]


def llama(p, ids, config):
    """Logits (T, V) of one sequence; p is the parameters as nested lists, by name."""
    H, G, K, eps = config.n_head, config.n_kv_head, config.head_size, config.rms_norm_eps
    x = [p["wte.W"][i] for i in ids]
    for i in range(config.n_layer):

        def project(layer, rows, i=i):
            W, bias = (p.get(f"blocks.{i}.{layer}.{name}") for name in ("W", "bias"))
            return [linear(row, W, bias) for row in rows]

        def heads(rows, n):
            return [[row[h * K : (h + 1) * K] for row in rows] for h in range(n)]

        h = [rmsnorm(row, p[f"blocks.{i}.rms_1.gain"], eps) for row in x]
        q, k, v = (heads(project(f"attn.{name}_proj", h), n) for name, n in (("q", H), ("k", G), ("v", G)))
        q, k = ([[rotate(row, t, config) for t, row in enumerate(head)] for head in a] for a in (q, k))
        y = [
            [c for n in range(H) for c in attend(q[n][t], k[n * G // H][: t + 1], v[n * G // H][: t + 1])]
            for t in range(len(ids))
        ]
        x = list(map(add, x, project("attn.o_proj", y)))
        h = [rmsnorm(row, p[f"blocks.{i}.rms_2.gain"], eps) for row in x]
        gate, up = (project(f"mlp.{name}_proj", h) for name in ("gate", "up"))
        h = [[g / (1 + math.exp(-g)) * u for g, u in zip(*rows)] for rows in zip(gate, up)]
        x = list(map(add, x, project("mlp.down_proj", h)))
    x = [rmsnorm(row, p["rms_f.gain"], eps) for row in x]
    return [linear(row, p["wte.W" if config.tied_head else "lm_head.W"]) for row in x]


@pytest.fixture(params=KINDS)
def model(request):
    return tiny_llama(request.param)


@pytest.mark.parametrize("plain", [False, True], ids=["engine", "page"])
@pytest.mark.parametrize("T", [1, 7, 9])
def test_logits_are_those_of_llama_written_out(model, T, plain):
    ids = np.random.default_rng(2).integers(0, 13, (2, T))
    p = {name: p.data.tolist() for name, p in model.named_parameters()}
    expected = [llama(p, sequence, model.config) for sequence in ids.tolist()]
    if plain:
        with plain_ops():
            logits, _ = model.forward(ids)
    else:
        logits, _ = model.forward(ids)
    assert np.allclose(logits, expected, rtol=0, atol=1e-12)


# ---- what a token can see


@pytest.mark.parametrize("t", [1, 3, 6])
def test_a_later_token_does_not_change_earlier_logits(model, ids, t):
    changed = ids.copy()
    changed[:, t] = (ids[:, t] + 1) % 13
    before, after = model.forward(ids)[0], model.forward(changed)[0]
    assert np.array_equal(before[:, :t], after[:, :t])
    assert not np.isclose(before[:, t:], after[:, t:]).all(axis=-1).any()


@pytest.mark.parametrize("pieces", [(7,), (6, 1), (3, 4), (1,) * 7, (2, 1, 3, 1)])
def test_ids_in_pieces_give_what_they_give_whole(model, ids, pieces):
    past, logits = model.new_past(2, 7), []
    for end, size in zip(np.cumsum(pieces), pieces, strict=True):
        logits.append(model.forward(ids[:, end - size : end], past=past)[0])
    assert np.allclose(np.concatenate(logits, axis=1), model.forward(ids)[0], rtol=0, atol=1e-12)
    assert [memory.length for memory in past] == [7, 7]


def test_a_past_has_a_place_for_each_key_value_head_and_no_more(model):
    past = model.new_past(3)
    assert {memory.keys.shape for memory in past} == {(3, model.config.n_kv_head, 9, 6)}
    assert {memory.values.shape for memory in model.new_past(3, 5)} == {(3, model.config.n_kv_head, 5, 6)}


def test_the_cache_shows_who_looks_at_whom_by_query_head(model, ids):
    _, cache = model.forward(ids)
    probs = cache.blocks[1].attn.probs
    assert probs.shape == (2, 4, 7, 7)
    assert np.allclose(probs.sum(axis=-1), 1.0, rtol=0, atol=1e-14)
    assert not np.triu(probs, k=1).any()


def test_generation_continues_as_the_whole_sequence_would(model):
    given = [3, 1, 4]
    expected = list(given)
    for _ in range(4):
        expected.append(int(model.forward(np.array([expected]))[0][0, -1].argmax()))
    assert generate(model, [given], max_tokens=4) == [expected[3:]]


# ---- parameters


def test_parameters_are_named_in_definition_order():
    model = tiny_llama("biases of q, k and v")
    block = [
        "rms_1.gain",
        *(f"attn.{name}_proj.{kind}" for name in "qkv" for kind in ("W", "bias")),
        "attn.o_proj.W",
        "rms_2.gain",
        *(f"mlp.{name}_proj.W" for name in ("gate", "up", "down")),
    ]
    names = [name for name, _ in model.named_parameters()]
    assert names == ["wte.W", *(f"blocks.{i}.{name}" for i in range(2) for name in block), "rms_f.gain", "lm_head.W"]
    assert [p.name for p in model.parameters()] == names


def test_a_tied_head_is_the_very_parameter_of_the_embedding():
    model = tiny_llama("tied")
    assert model.head.W is model.wte.W
    assert "lm_head.W" not in dict(model.named_parameters())


def test_weights_start_as_llamas():
    config = LlamaConfig(vocab_size=50, n_positions=40, n_layer=2, d_model=48, n_head=4, d_mlp=90, qkv_bias=True)
    for name, p in Llama(config, np.random.default_rng(0)).named_parameters():
        if name.endswith("gain"):
            assert (p.data == 1.0).all()
        elif name.endswith("bias"):
            assert not p.data.any()
        else:
            assert p.data.std() == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_computes_in_its_own_dtype(ids, dtype):
    model = tiny_llama("biases everywhere", dtype=dtype)
    logits, cache = model.forward(ids)
    model.backward(logits, cache)
    assert logits.dtype == dtype
    assert {p.grad.dtype for p in model.parameters()} == {np.dtype(dtype)}


def test_a_saved_model_returns_with_its_scaling(tmp_path, model, ids):
    save_model(model, tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors", dtype="float64")
    assert type(again) is Llama and again.config == model.config
    assert np.array_equal(again.forward(ids)[0], model.forward(ids)[0])


# ---- what users get wrong

WRONG_SHAPES = [
    ({"n_kv_head": 3}, "n_kv_head was 3; it must divide n_head = 4"),
    ({"n_kv_head": 0}, "n_kv_head was 0; it must be an integer of at least 1"),
    ({"head_size": 5}, "head_size was 5; it must be even, because pairs of numbers are rotated"),
    ({"head_size": None}, "n_head was 4; it must divide d_model = 10"),
    ({"head_size": None, "d_model": 12}, "head_size was 3; it must be even"),
    ({"n_positions": -1}, "n_positions was -1; it must be an integer of at least 1"),
    ({"rms_norm_eps": math.nan}, "rms_norm_eps was nan; it must be a finite number of at least 0"),
    ({"rope_theta": 0.0}, "rope_theta was 0.0; it must be a finite number above 0"),
    ({"rope_theta": "1e5"}, "rope_theta was '1e5'; it must be a finite number above 0"),
    ({"rope_scaling": "linear"}, "rope_scaling was 'linear'; it must be a Llama3Scaling or None"),
    ({"rope_scaling": {"factor": 8.0}}, "rope_scaling was {'factor': 8.0}; it must have factor, low_freq_factor, high"),
    ({"tied_head": 1}, "tied_head was 1; it must be True or False"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG_SHAPES, ids=[str(wrong) for wrong, _ in WRONG_SHAPES])
def test_a_wrong_configuration_is_refused_by_name(wrong, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        LlamaConfig(**SHAPE | wrong)


def test_what_is_not_said_is_as_in_the_first_llama():
    config = LlamaConfig(vocab_size=13, n_positions=9, n_layer=2, d_model=12, n_head=3, d_mlp=20)
    assert (config.n_kv_head, config.head_size) == (3, 4)
    assert (config.rope_theta, config.rope_scaling, config.rms_norm_eps) == (10000.0, None, 1e-5)
    assert not (config.tied_head or config.qkv_bias or config.o_bias)
    assert not hasattr(config, "layer_norm_eps")


def test_a_scaling_from_a_file_is_a_scaling():
    config = config_of("grouped", rope_scaling={**vars(SCALING)})
    assert config.rope_scaling == SCALING and isinstance(config.rope_scaling, Llama3Scaling)


def test_a_sequence_that_outgrows_its_past_is_refused_and_the_past_stays(ids):
    model = tiny_llama()
    past = model.new_past(2, 8)
    model.forward(ids, past=past)
    with pytest.raises(ValueError, match="past was made for 8 positions; ids made a sequence of 9 tokens"):
        model.forward(ids[:, :2], past=past)
    assert [memory.length for memory in past] == [7, 7]


@pytest.mark.parametrize("N", [1, 3])
def test_a_past_of_another_batch_size_is_refused(ids, N):
    model = tiny_llama()
    with pytest.raises(ValueError, match=f"past was made for {N} sequences; ids had 2"):
        model.forward(ids, past=model.new_past(N))


def test_a_past_of_another_model_is_refused(ids):
    with pytest.raises(ValueError, match="past was made for 2 layers; the model has 3"):
        tiny_llama(n_layer=3).forward(ids, past=tiny_llama().new_past(2))

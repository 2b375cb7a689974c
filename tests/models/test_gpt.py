"""GPT's forward: against GPT-2 written out in loops, causal, in pieces, and with a cache that can be looked at."""

import math
import re

import numpy as np
import pytest

from minilora.models import GPT, GPTConfig

# ---- GPT-2 for one sequence, one number at a time


def linear(x, W, bias):
    return [sum(w * v for w, v in zip(row, x)) + b for row, b in zip(W, bias)]


def layernorm(x, gain, bias, eps=1e-5):
    mean = sum(x) / len(x)
    var = sum((v - mean) ** 2 for v in x) / len(x)
    return [g * (v - mean) / math.sqrt(var + eps) + b for v, g, b in zip(x, gain, bias)]


def gelu(x):
    return 0.5 * x * (1.0 + math.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


def add(x, y):
    return [a + b for a, b in zip(x, y)]


def attend(queries, keys, values, t, head):
    """What the query at position t gets from one head: `head` is its channels."""
    K = len(head)
    seen = range(t + 1)
    weights = [math.exp(sum(queries[t][c] * keys[s][c] for c in head) / math.sqrt(K)) for s in seen]
    return [sum(weights[s] * values[s][c] for s in seen) / sum(weights) for c in head]


def gpt2(p, ids, n_layer, n_head):
    """Logits (T, V) of one sequence; p is the parameters as nested lists, by name."""
    x = [add(p["wte.W"][i], p["wpe.W"][t]) for t, i in enumerate(ids)]
    C = len(x[0])
    heads = [range(h * C // n_head, (h + 1) * C // n_head) for h in range(n_head)]
    for i in range(n_layer):

        def get(*names, i=i):
            return [p[f"blocks.{i}.{name}"] for name in names]

        def project(layer, x, get=get):
            return [linear(row, *get(f"{layer}.W", f"{layer}.bias")) for row in x]

        h = [layernorm(row, *get("ln_1.gain", "ln_1.bias")) for row in x]
        q, k, v = (project(f"attn.{name}_proj", h) for name in "qkv")
        y = [[c for head in heads for c in attend(q, k, v, t, head)] for t in range(len(ids))]
        x = list(map(add, x, project("attn.o_proj", y)))
        h = [layernorm(row, *get("ln_2.gain", "ln_2.bias")) for row in x]
        h = [[gelu(v) for v in row] for row in project("mlp.fc_in", h)]
        x = list(map(add, x, project("mlp.fc_out", h)))
    x = [layernorm(row, p["ln_f.gain"], p["ln_f.bias"]) for row in x]
    return [linear(row, p["wte.W"], [0.0] * len(p["wte.W"])) for row in x]


@pytest.mark.parametrize("T", [1, 7, 9])
def test_logits_are_those_of_gpt2_written_out(model, T):
    ids = np.random.default_rng(2).integers(0, 13, (2, T))
    p = {name: p.data.tolist() for name, p in model.named_parameters()}
    expected = [gpt2(p, sequence, n_layer=2, n_head=3) for sequence in ids.tolist()]
    assert np.allclose(model.forward(ids)[0], expected, rtol=0, atol=1e-12)


# ---- what a token can see


@pytest.mark.parametrize("t", [1, 3, 6])
def test_a_later_token_does_not_change_earlier_logits(model, ids, t):
    changed = ids.copy()
    changed[:, t] = (ids[:, t] + 1) % 13
    before, after = model.forward(ids)[0], model.forward(changed)[0]
    assert np.array_equal(before[:, :t], after[:, :t])
    assert not np.isclose(before[:, t:], after[:, t:]).all(axis=-1).any()


def test_a_sequence_does_not_see_the_others_of_its_batch(model, ids):
    together, _ = model.forward(ids)
    for n in range(2):
        assert np.allclose(model.forward(ids[n : n + 1])[0][0], together[n], rtol=0, atol=1e-13)


@pytest.mark.parametrize("pieces", [(7,), (6, 1), (3, 4), (1,) * 7, (2, 1, 3, 1)])
def test_ids_in_pieces_give_what_they_give_whole(model, ids, pieces):
    past, logits = model.new_past(2), []
    for end, size in zip(np.cumsum(pieces), pieces, strict=True):
        logits.append(model.forward(ids[:, end - size : end], past=past)[0])
    assert np.allclose(np.concatenate(logits, axis=1), model.forward(ids)[0], rtol=0, atol=1e-12)
    assert [memory.length for memory in past] == [7, 7]


# ---- the cache


def test_the_cache_shows_who_looks_at_whom(model, ids):
    _, cache = model.forward(ids)
    probs = cache.blocks[1].attn.probs
    assert probs.shape == (2, 3, 7, 7)
    assert np.allclose(probs.sum(axis=-1), 1.0, rtol=0, atol=1e-14)
    assert not np.triu(probs, k=1).any()


def test_the_cache_holds_what_entered_each_layer(model, ids):
    _, cache = model.forward(ids)
    assert len(cache.blocks) == 2
    assert cache.wte.ids is ids
    assert cache.blocks[0].mlp.fc_out.x.shape == (2, 7, 20)
    assert cache.head.x.shape == (2, 7, 12)
    assert cache.head.W is model.wte.W.data


# ---- parameters

BLOCK = [
    "ln_1.gain",
    "ln_1.bias",
    *(f"attn.{name}_proj.{kind}" for name in "qkvo" for kind in ("W", "bias")),
    "ln_2.gain",
    "ln_2.bias",
    *(f"mlp.{name}.{kind}" for name in ("fc_in", "fc_out") for kind in ("W", "bias")),
]


def test_parameters_are_named_in_definition_order_and_the_tied_head_comes_once(model):
    names = [name for name, _ in model.named_parameters()]
    assert names == [
        "wte.W",
        "wpe.W",
        *(f"blocks.{i}.{name}" for i in range(2) for name in BLOCK),
        "ln_f.gain",
        "ln_f.bias",
    ]
    assert [p.name for p in model.parameters()] == names
    assert len({id(p) for p in model.parameters()}) == len(names)


def test_weights_are_out_by_in(model):
    parameters = dict(model.named_parameters())
    assert parameters["blocks.0.mlp.fc_in.W"].data.shape == (20, 12)
    assert parameters["blocks.0.mlp.fc_out.W"].data.shape == (12, 20)


def test_the_same_seed_gives_the_same_bits(config):
    twins = [GPT(config, np.random.default_rng(5)).parameters() for _ in range(2)]
    assert all(np.array_equal(p.data, q.data) for p, q in zip(*twins, strict=True))


def test_weights_start_as_gpt2s():
    config = GPTConfig(vocab_size=50, n_positions=40, n_layer=2, d_model=48, n_head=4)
    p = dict(GPT(config, np.random.default_rng(0), dtype="float64").named_parameters())
    for name in ("wte.W", "wpe.W", "blocks.1.attn.q_proj.W", "blocks.1.mlp.fc_in.W"):
        assert p[name].data.std() == pytest.approx(0.02, rel=0.05)
    for name in ("blocks.1.attn.o_proj.W", "blocks.1.mlp.fc_out.W"):
        assert p[name].data.std() == pytest.approx(0.02 / math.sqrt(2 * 2), rel=0.05)
    assert all((p.data == 1.0).all() for name, p in p.items() if name.endswith("gain"))
    assert not any(p.data.any() for name, p in p.items() if name.endswith("bias"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_computes_in_its_own_dtype(make_model, ids, dtype):
    model = make_model(dtype)
    logits, cache = model.forward(ids)
    model.backward(logits, cache)
    assert logits.dtype == dtype
    assert {p.grad.dtype for p in model.parameters()} == {np.dtype(dtype)}


def test_a_replica_gives_the_same_logits_from_the_same_arrays(model, ids):
    twin = model.replica()
    assert all(p.data is q.data for p, q in zip(model.parameters(), twin.parameters(), strict=True))
    assert np.array_equal(twin.forward(ids)[0], model.forward(ids)[0])


# ---- what users get wrong

SHAPE = {"vocab_size": 13, "n_positions": 9, "n_layer": 2, "d_model": 12, "n_head": 3}
WRONG_SHAPES = [
    ({"vocab_size": 0}, "vocab_size was 0; it must be an integer of at least 1"),
    ({"n_positions": -1}, "n_positions was -1; it must be an integer of at least 1"),
    ({"n_layer": True}, "n_layer was True; it must be an integer of at least 1"),
    ({"d_model": 12.0}, "d_model was 12.0; it must be an integer of at least 1"),
    ({"n_head": "3"}, "n_head was '3'; it must be an integer of at least 1"),
    ({"d_mlp": 0}, "d_mlp was 0; it must be an integer of at least 1"),
    ({"n_head": 5}, "n_head was 5; it must divide d_model = 12"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG_SHAPES, ids=[str(wrong) for wrong, _ in WRONG_SHAPES])
def test_a_wrong_configuration_is_refused_by_name(wrong, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        GPTConfig(**SHAPE | wrong)


def test_the_mlp_is_four_times_as_wide_if_not_said():
    assert GPTConfig(**SHAPE).d_mlp == 48


WRONG_IDS = {
    "too large": (np.array([[0, 13]]), "ids ran from 0 to 13; each must be from 0 to 12"),
    "negative": (np.array([[-1, 4]]), "ids ran from -1 to 4; each must be from 0 to 12"),
    "float": (np.array([[0.0, 1.0]]), "ids had shape (1, 2) and dtype float64"),
    "bool": (np.array([[True]]), "ids had shape (1, 1) and dtype bool"),
    "one axis": (np.array([1, 2]), "ids had shape (2,) and dtype int64"),
    "three axes": (np.array([[[1]]]), "ids had shape (1, 1, 1) and dtype int64"),
    "too long": (np.zeros((1, 10), int), "ids made a sequence of 10 tokens; n_positions is 9"),
}


@pytest.mark.parametrize(("ids", "message"), WRONG_IDS.values(), ids=WRONG_IDS.keys())
@pytest.mark.parametrize("method", ["forward", "to_model"])
def test_wrong_ids_are_refused(model, method, ids, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        getattr(model, method)(ids)


def test_ids_in_a_list_are_refused(model):
    with pytest.raises(TypeError, match="ids is a list; it must be a NumPy or CuPy array"):
        model.forward([[1, 2]])


def test_a_sequence_that_grows_too_long_is_refused_and_the_past_stays(model, ids):
    past = model.new_past(2)
    model.forward(ids, past=past)
    with pytest.raises(ValueError, match="ids made a sequence of 10 tokens; n_positions is 9"):
        model.forward(ids[:, :3], past=past)
    assert [memory.length for memory in past] == [7, 7]


def test_a_past_of_another_batch_size_is_refused(model, ids):
    with pytest.raises(ValueError, match="past"):
        model.forward(ids[:1], past=model.new_past(2))

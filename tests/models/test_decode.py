"""A decoder as a flat list of arrays says, token by token, what `forward` says of the whole sequence."""

import dataclasses

import numpy as np
import pytest

from device_array import count_synchronisations, to_fake_device
from methods.every import EVERY
from methods.tiny import CONFIG, rng, tiny_gpt
from minilora import GPT, generate, merge_lora
from minilora.layers import LayerNorm, Linear, RMSNorm
from minilora.methods import LoRAConfig, adapters_per_row, apply_method, set_adapter
from minilora.models import products
from minilora.models.decode import new_logits
from minilora.models.flatten import Norm, flatten
from minilora.models.generation import read
from minilora.models.products import Products
from minilora.ops.plain import plain_ops
from models.tiny_llama import KINDS, tiny_llama

T = 8
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = {"gpt": ("fc_in", "fc_out"), "llama": ("gate_proj", "up_proj", "down_proj")}
METHODS = {
    "base": None,
    "lora": LoRAConfig(rank=2, alpha=3),
    "dora": LoRAConfig(rank=2, alpha=3, dora=True),
    "pissa": LoRAConfig(rank=2, alpha=3, init="pissa"),
    "biases and norms": LoRAConfig(rank=1, alpha=3, besides=("bias", "gain")),
    "prefix": EVERY["prefix-layer"],
    "bitfit": EVERY["bitfit"],
    "full": EVERY["full"],
}
MODELS = {
    "gpt": tiny_gpt,
    **{f"llama, {kind}": lambda dtype, kind=kind: tiny_llama(kind, dtype=dtype) for kind in KINDS},
}
each_model = pytest.mark.parametrize("name", MODELS)
each_method = pytest.mark.parametrize("method", METHODS)


def adapted(name, method="base", dtype="float64"):
    """A tiny model, adapted by a method that has learned something in every linear map."""
    model, config = MODELS[name](dtype), METHODS[method]
    if isinstance(config, LoRAConfig):
        besides = tuple(part for part in config.besides if any(p.endswith(part) for p, _ in model.named_parameters()))
        config = dataclasses.replace(config, targets=LINEAR + MLP[name[:5].rstrip(",")], besides=besides)
    if config is not None:
        apply_method(model, config, rng=rng(1))
        draw = rng(2)
        for p in model.trainable_parameters():
            p.data += (0.3 * draw.standard_normal(p.data.shape)).astype(dtype)
    return model


def sequences(model, N=3):
    """Rows of T tokens as the model reads them, and how many of each are its prompt."""
    rows = rng(5).integers(0, model.config.vocab_size, (N, T))
    read_rows = [model.read_prompt(row[:2])[: T - 3] for row in rows]
    return np.stack([np.concatenate([start, row[: T - len(start)]]) for start, row in zip(read_rows, rows)]), len(
        read_rows[0]
    )


def by_tokens(model, ids, start, flat=None):
    """Logits after each token from `start` on, one token at a time, all rows at one position: (N, T - start, V)."""
    past, flat = model.new_past(len(ids), T), flat or flatten(model, T)
    read(model, ids[:, :start], past)
    steps = [new_logits(flat, model.xp.asarray(ids[:, t]), t, past).copy() for t in range(start, T)]
    return np.stack([np.asarray(step) for step in steps], axis=1)


def assert_equal(actual, expected, dtype="float64"):
    assert actual.dtype == expected.dtype == dtype
    assert np.linalg.norm(actual - expected) <= {"float64": 1e-13, "float32": 2e-6}[dtype] * np.linalg.norm(expected)


@each_model
@each_method
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_token_by_token_is_the_whole_sequence(name, method, dtype):
    if method == "bitfit" and not any(p.endswith("bias") for p, _ in MODELS[name](dtype).named_parameters()):
        pytest.skip("this model has no bias")
    model = adapted(name, method, dtype)
    ids, start = sequences(model)
    logits, _ = model.forward(ids)
    assert_equal(by_tokens(model, ids, start), logits[:, start:], dtype)


@each_model
@pytest.mark.parametrize("method", ["lora", "dora", "pissa"])
def test_merged_it_is_too_and_switched_off_it_is_the_base_to_the_bit(name, method):
    model = adapted(name, method)
    ids, start = sequences(model)
    merge_lora(model)
    assert_equal(by_tokens(model, ids, start), model.forward(ids)[0][:, start:])
    off = adapted(name, method)
    set_adapter(off, None)
    assert np.array_equal(by_tokens(off, ids, start), by_tokens(adapted(name), ids, start))


@each_model
def test_by_reference_and_on_two_threads_it_is_the_same(name, monkeypatch):
    for small, large in ((0, 0), (0, 2**40)):
        monkeypatch.setattr(products, "SMALL", small)
        monkeypatch.setattr(products, "LARGE", large)
        for method in ("base", "lora", "dora"):
            model = adapted(name, method)
            ids, start = sequences(model)
            assert_equal(by_tokens(model, ids, start), model.forward(ids)[0][:, start:])
            assert_equal(by_tokens(model, ids[:1], start), model.forward(ids[:1])[0][:, start:])


@each_model
def test_rows_can_be_at_positions_of_their_own(name):
    model = adapted(name, "lora")
    ids, _ = sequences(model)
    past, starts = model.new_past(3, T), np.array([1, 4, 2])
    for memory in past:
        memory.keys[...], memory.values[...] = 99.0, 99.0  # what is hidden must not be seen
    for n, start in enumerate(starts):
        rows = [type(memory)(memory.keys[n : n + 1], memory.values[n : n + 1]) for memory in past]
        read(model, ids[n : n + 1, :start], rows)
    expected, flat = model.forward(ids)[0], flatten(model, T)
    for step in range(4):
        t = starts + step
        for memory in past:
            memory.length = int(t.max()) + 1
        assert_equal(new_logits(flat, ids[np.arange(3), t], t, past), expected[np.arange(3), t])


# ---- the mistakes that this comparison must find


class Changed:
    """A part of a flat decoder, with something else done to its result."""

    def __init__(self, part, change):
        self.part, self.change = part, change

    def __call__(self, *args):
        return self.change(self.part(*args), *args)


def with_block(flat, **changes):
    block = flat.blocks[1]
    changed = {name: Changed(getattr(block, name), change) for name, change in changes.items()}
    return dataclasses.replace(flat, blocks=[flat.blocks[0], block._replace(**changed)])


def groups_interleaved(qkv, _x):
    """Query head h reads key-value head h % G, not h // (H / G)."""
    heads = qkv.reshape(len(qkv), 8, 6)  # H = 4, G = 2
    heads[:, :4] = heads[:, [0, 2, 1, 3]]
    return heads.reshape(len(qkv), -1)


MISTAKES = {
    "a gain used twice": lambda flat, model: with_block(flat, norm_1=lambda y, x: y * model.blocks[1].rms_1.gain.data),
    "a bias forgotten": lambda flat, model: with_block(flat, o=lambda y, x: y - model.blocks[1].attn.o_proj.bias.data),
    "the wrong group": lambda flat, model: with_block(flat, qkv=groups_interleaved),
    "gate and up exchanged": lambda flat, block: with_block(flat, up=lambda y, x: np.roll(y, 14, axis=1)),
    "positions off by one": lambda flat, model: dataclasses.replace(
        flat, rotation=tuple(np.roll(table, 1, axis=0) for table in flat.rotation)
    ),
    "rotated the other way": lambda flat, model: dataclasses.replace(
        flat, rotation=(flat.rotation[0], -flat.rotation[1])
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_comparison_finds_a_mistake(mistake):
    model = adapted("llama, biases everywhere")
    ids, start = sequences(model)
    expected = model.forward(ids)[0][:, start:]
    assert_equal(by_tokens(model, ids, start), expected)
    with pytest.raises(AssertionError):
        assert_equal(by_tokens(model, ids, start, MISTAKES[mistake](flatten(model, T), model)), expected)


# ---- what cannot be flattened, and what is not copied


class OtherGPT(GPT):
    """A GPT of somebody's own, which computes something else."""

    def hidden(self, ids, past=None, text_lengths=None):
        x, cache = super().hidden(ids, past, text_lengths)
        return 2.0 * x, cache


def test_what_is_no_plain_decoder_is_left_to_forward():
    model = tiny_gpt()
    assert flatten(model, T) is not None
    with plain_ops():
        assert flatten(model, T) is None
    lora = adapted("gpt", "lora")
    with adapters_per_row(lora, ["default", None]):
        assert flatten(lora, T) is None
    houlsby = tiny_gpt()
    apply_method(houlsby, EVERY["adapter-h"], rng=rng(1))
    assert flatten(houlsby, T) is None
    assert flatten(OtherGPT(CONFIG, rng()), T) is None
    model.blocks[0].mlp.fc_in = model.blocks[0].ln_1
    assert flatten(model, T) is None


@pytest.mark.parametrize("method", ["adapter-h", "adapter-l", "prefix-layer", "prefix-embedding", "dora", "top-1"])
@pytest.mark.parametrize("prompts", [[[3]], [[1, 4], [5]]], ids=str)
def test_the_tokens_are_those_of_the_plain_formulas(method, prompts):
    model = tiny_gpt(seed=28)
    apply_method(model, EVERY[method], rng=rng(1))
    for p in model.trainable_parameters():
        p.data += 0.3 * rng(2).standard_normal(p.data.shape)
    tokens = generate(model, prompts, max_tokens=4)
    with plain_ops():
        assert generate(model, prompts, max_tokens=4) == tokens


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["base", "lora"])
def test_a_llama_continues_several_prompts_as_the_plain_formulas_do(kind, method):
    model = adapted(f"llama, {kind}", method)
    prompts = [[3], [1, 4, 1, 5], [2, 6], [7, 7]]
    tokens = generate(model, prompts, max_tokens=5)
    with plain_ops():
        assert generate(model, prompts, max_tokens=5) == tokens
    assert len({token for row in tokens for token in row}) > 2


def test_memory_that_was_never_written_is_never_read():
    model = tiny_gpt(seed=28)
    prompts = [[3], [1, 4, 1, 5]]
    expected, new_past = generate(model, prompts, max_tokens=4), model.new_past

    def unwritten(N, length=None):
        past = new_past(N, length)
        for memory in past:
            memory.keys[...], memory.values[...] = np.nan, np.nan
        return past

    model.new_past = unwritten
    assert generate(model, prompts, max_tokens=4) == expected


def test_a_large_W_is_used_where_it_is(monkeypatch):
    monkeypatch.setattr(products, "SMALL", 0)
    model = adapted("llama, grouped", "lora")
    flat = flatten(model, T)
    used = [
        W for block in flat.blocks for part in (block.qkv, block.o, block.up, block.down) for _, _, W in part.pieces
    ]
    own = [layer.base.W.data for block in model.blocks for layer in layers_of(block)]
    assert len(used) == len(own) == 14
    assert all(a is b for a, b in zip(used, own, strict=True))


def layers_of(block):
    return [getattr(block.attn, name) for name in LINEAR] + [getattr(block.mlp, name) for name in MLP["llama"]]


# ---- its parts


@pytest.mark.parametrize("small", [0, 2**20])
@pytest.mark.parametrize("large", [0, 2**40])
@pytest.mark.parametrize("N", [1, 3])
def test_products_side_by_side_are_each_map_by_itself(small, large, N, monkeypatch):
    monkeypatch.setattr(products, "SMALL", small)
    monkeypatch.setattr(products, "LARGE", large)
    draw = rng(4).standard_normal
    x = draw((N, 5))
    maps = [
        ([(draw((7, 5)),), (draw((2, 5)), draw((7, 2)))], draw(7)),
        ([(draw((3, 5)),)], None),
        ([(draw((4, 5)),), (draw((1, 5)), draw((4, 1)))], None),
    ]
    for some in (maps, maps[:1], maps[1:], maps[1:2]):
        expected = [
            sum(
                x @ np.linalg.multi_dot([f.T for f in factors]) if len(factors) > 1 else x @ factors[0].T
                for factors in terms
            )
            + (0.0 if bias is None else bias)
            for terms, bias in some
        ]
        assert np.allclose(Products(some)(x), np.concatenate(expected, axis=1), rtol=1e-13, atol=1e-13)


def test_a_norm_of_a_row_far_from_zero_keeps_its_digits():
    x = (rng().standard_normal((1, 50)) + 1000.0).astype("float32")
    layer = LayerNorm(np.ones(50, "float32"), np.zeros(50, "float32"))
    assert np.allclose(Norm(layer)(x), layer.forward(x)[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layer", [RMSNorm(np.ones(4), 0.0), LayerNorm(np.ones(4), np.ones(4), 0.0)])
def test_a_norm_without_eps_says_of_zeros_what_the_layer_says(layer):
    with np.errstate(all="ignore"):
        for rows in (1, 2):
            assert np.array_equal(
                Norm(layer)(np.zeros((rows, 4))), layer.forward(np.zeros((rows, 4)))[0], equal_nan=True
            )


def test_a_linear_says_its_matrices():
    W, bias = np.ones((3, 2)), np.ones(3)
    factors, b = Linear(W, bias).products()
    assert factors[0][0] is W
    assert b is bias
    assert Linear(W).products()[1] is None


# ---- a device


def on_device(model):
    for p in model.parameters():
        p.data = to_fake_device(p.data)
    return model


@pytest.mark.parametrize("name", ["gpt", "llama, biases everywhere"])
@pytest.mark.parametrize("method", ["base", "lora", "prefix"])
@pytest.mark.parametrize("prompts", [[[3]], [[1, 4], [5]]], ids=["one", "several"])
def test_on_a_device_the_tokens_are_the_same_and_each_is_waited_for_once(name, method, prompts):
    expected = generate(adapted(name, method, "float32"), prompts, max_tokens=4)
    model = on_device(adapted(name, method, "float32"))
    with count_synchronisations() as count:
        assert generate(model, prompts, max_tokens=4) == expected
    assert count.n == 4

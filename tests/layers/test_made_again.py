"""What a block forgets and makes again: the gradients are those of a cache that keeps everything, to the bit."""

import numpy as np
import pytest

from minilora import Llama, LlamaConfig, LoRAConfig, apply_lora
from minilora.data import LMBatch
from minilora.layers import gated_mlp, llama_block
from minilora.layers.made_again import Forgotten, forget, put_back
from minilora.methods import adapter_dropout
from minilora.ops import plain_ops
from minilora.ops.fast import LinearCache

ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def leaves(cache):
    if isinstance(cache, tuple) and not isinstance(cache, Forgotten):
        for part in cache:
            yield from leaves(part)
    else:
        yield cache


def forgotten(cache):
    return [leaf.name for leaf in leaves(cache) if isinstance(leaf, Forgotten)]


def test_an_array_is_forgotten_wherever_it_is_and_put_back_once():
    x, W = np.ones((2, 3)), np.ones((4, 3))
    cache = (LinearCache(x, W, None), (x, W))
    without = forget(cache, x, "x")
    assert forgotten(without) == ["x", "x"] and without[0].W is W and type(without[0]) is LinearCache
    made = []

    def make():
        made.append(2.0 * x)
        return made[-1]

    again = put_back(without, "x", make)
    assert len(made) == 1 and again[0].x is again[1][0] is made[0] and again[0].W is W


def test_an_equal_array_is_another_and_what_nobody_kept_is_not_made():
    x = np.ones((2, 3))
    cache = LinearCache(x.copy(), x, None)
    assert forget(cache, np.ones((2, 3)), "x") is cache

    def make():
        raise AssertionError("made")

    assert put_back(cache, "x", make) is cache
    other = forget(cache, x, "W")
    assert put_back(other, "x", make) is other and forgotten(other) == ["W"]


def gradients(targets, dropout=0.0):
    """Of a tiny Llama with LoRA (everything trained, if there are no targets), and the cache."""
    rng = np.random.default_rng(0)
    config = LlamaConfig(vocab_size=11, n_layer=2, d_model=12, n_head=3, n_kv_head=1, d_mlp=20, n_positions=7)
    model = Llama(config, rng, dtype="float64")
    for name, p in model.named_parameters():
        if name.endswith("gain"):
            p.data[...] = rng.standard_normal(p.data.shape)
    if targets:
        apply_lora(model, LoRAConfig(rank=2, alpha=4, targets=targets, dropout=dropout), rng=rng)
        for p in model.trainable_parameters():
            p.data[...] = rng.standard_normal(p.data.shape)
    ids = rng.integers(0, 11, (2, 8))
    batch = LMBatch(ids[:, :-1], ids[:, 1:], np.ones((2, 7), bool))
    with adapter_dropout(model, np.random.default_rng(1)):
        _, cache = model.loss(batch)
    model.backward_loss(1.0, cache)
    return {name: p.grad for name, p in model.named_parameters() if p.trainable}, cache


POINTS = {"all": (ALL, 6), "q, v": (("q_proj", "v_proj"), 2), "down": (("down_proj",), 1), "everything": ((), 6)}


@pytest.mark.parametrize(("targets", "count"), POINTS.values(), ids=POINTS)
@pytest.mark.parametrize("page", [False, True], ids=["engine", "page"])
def test_gradients_are_those_of_a_cache_that_keeps_everything(targets, count, page, monkeypatch):
    def both():
        made, cache = gradients(targets)
        with pytest.MonkeyPatch.context() as patch:
            for module in (gated_mlp, llama_block):
                patch.setattr(module, "forget", lambda cache, array, name: cache)
            kept, whole = gradients(targets)
        assert not forgotten(whole)
        return made, kept, cache

    if page:
        with plain_ops():
            made, kept, cache = both()
    else:
        made, kept, cache = both()
    assert len(forgotten(cache)) == 2 * count
    assert made.keys() == kept.keys() and all(np.array_equal(made[name], kept[name]) for name in made)


def test_an_input_that_dropout_has_changed_is_kept():
    _, cache = gradients(ALL, dropout=0.3)
    assert not forgotten(cache)


def test_a_mutant_that_makes_something_else_has_other_gradients(monkeypatch):
    right, _ = gradients(ALL)
    monkeypatch.setattr(llama_block.RMSNorm, "again", lambda self, cache: cache.xhat)
    wrong, _ = gradients(ALL)
    assert not np.allclose(right["blocks.0.attn.q_proj.A"], wrong["blocks.0.attn.q_proj.A"])
    assert np.array_equal(right["blocks.1.attn.o_proj.A"], wrong["blocks.1.attn.o_proj.A"])  # it reads no norm

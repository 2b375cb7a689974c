"""Recomputation: gradients that are equal to the bit, dropout included, and a fraction of the memory."""

import contextlib
import tracemalloc

import numpy as np
import pytest

from methods.tiny import rng, same_bits, some_batch
from minilora.data.batches import LMBatch
from minilora.methods import (
    HoulsbyConfig,
    LoRAConfig,
    PrefixConfig,
    adapter_dropout,
    adapters_per_row,
    apply_lora,
    apply_method,
    merge_lora,
    set_adapter,
)
from minilora.models import GPT, GPTConfig, Llama, LlamaConfig, RobertaForClassification, RobertaForMaskedLM, recompute
from minilora.models.recompute import RecomputedCache
from minilora.training.objective import DataParallel
from models import tiny_deberta, tiny_encoders
from models.calls import count_calls
from models.tiny_llama import tiny_llama
from tiny_models import at_a_generic_point

GPT_CONFIG = GPTConfig(vocab_size=11, n_positions=8, n_layer=3, d_model=6, n_head=2, d_mlp=10)
MODELS = {
    "GPT": (lambda: at_a_generic_point(GPT, GPT_CONFIG), some_batch()),
    "Llama": (lambda: tiny_llama("biases everywhere"), some_batch()),
    "RoBERTa, classes": (
        lambda: tiny_encoders.tiny(RobertaForClassification),
        tiny_encoders.BATCHES[RobertaForClassification][0],
    ),
    "RoBERTa, masked": (
        lambda: tiny_encoders.tiny(RobertaForMaskedLM),
        tiny_encoders.BATCHES[RobertaForMaskedLM][0],
    ),
    "DeBERTa": (tiny_deberta.tiny_classifier, tiny_deberta.BATCH),
}
DROPPING = LoRAConfig(rank=2, alpha=3, targets=("q_proj", "v_proj"), dropout=0.4)
METHODS = {
    "everything": None,
    "lora": LoRAConfig(rank=2, alpha=3, targets=("q_proj", "v_proj")),
    "lora with dropout": DROPPING,
    "dora with dropout": LoRAConfig(rank=2, targets=("k_proj", "o_proj"), dropout=0.4, dora=True),
    "adapter-h": HoulsbyConfig("houlsby", size=3),
}


def adapted(kind, method, again):
    model = MODELS[kind][0]()
    if method is not None:
        apply_method(model, method, rng=rng(1))
        for p in model.trainable_parameters():
            p.data += 0.3 * rng(len(p.name)).standard_normal(p.data.shape)
    model.recompute = again
    return model


def step(model, batch, seed=5):
    """The loss and the gradients, with the dropout of a seed."""
    model.zero_grad()
    with adapter_dropout(model, rng(seed)):
        loss, cache = model.loss(batch)
    model.backward_loss(1.0, cache)
    grads = {p.name: p.grad for p in model.trainable_parameters()}
    return {"loss": np.asarray(loss)} | grads


# ---- equal to the bit


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("method", METHODS)
def test_gradients_are_equal_to_the_bit(kind, method):
    kept, again = (adapted(kind, METHODS[method], again) for again in (False, True))
    assert same_bits(step(kept, MODELS[kind][1]), step(again, MODELS[kind][1]))


@pytest.mark.parametrize("kind", ["GPT", "Llama"])
@pytest.mark.parametrize("prefix", ["embedding", "layer"])
def test_with_a_prefix_too(kind, prefix):
    kept, again = (adapted(kind, PrefixConfig(prefix, before=1, after=1), again) for again in (False, True))
    assert same_bits(step(kept, MODELS[kind][1]), step(again, MODELS[kind][1]))


@pytest.mark.parametrize("kind", ["GPT", "Llama"])
def test_several_texts_in_a_row_too(kind):
    ids, targets, mask = (a.reshape(1, 15) for a in some_batch()[:3])
    packed = LMBatch(ids, targets, mask, ((8, 3, 4),))
    assert same_bits(*(step(adapted(kind, DROPPING, again), packed) for again in (False, True)))


def test_rows_of_several_adapters_too():
    def gradients(again):
        model = tiny_llama()
        for name in ("one", "two"):
            apply_lora(model, DROPPING, rng=rng(len(name)), name=name)
        model.recompute = again
        with adapters_per_row(model, ["two", None, "one"]):
            return step(model, some_batch())

    assert same_bits(gradients(False), gradients(True))


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_recompute_too(threads):
    def gradients(again):
        model = adapted("Llama", DROPPING, again)
        with DataParallel(model, threads) as parallel:
            parallel.loss_and_backward(some_batch(4), rng(3))
        return {p.name: p.grad for p in model.trainable_parameters()}

    assert same_bits(gradients(False), gradients(True))


def test_a_second_backward_of_one_cache_gives_the_first_again():
    model = adapted("Llama", DROPPING, True)
    with adapter_dropout(model, rng(5)):
        _, cache = model.loss(some_batch())
    model.backward_loss(1.0, cache)
    once = {p.name: p.grad.copy() for p in model.trainable_parameters()}
    model.backward_loss(1.0, cache)
    assert same_bits({p.name: p.grad for p in model.trainable_parameters()}, {n: g + g for n, g in once.items()})


def test_a_backward_where_dropout_is_on_draws_nothing_new():
    """Forward without dropout, backward where there would be some: what is run again has none."""
    model = adapted("Llama", DROPPING, True)
    _, cache = model.loss(some_batch())
    draw = rng(5)
    state = draw.bit_generator.state
    with adapter_dropout(model, draw):
        model.backward_loss(1.0, cache)
        assert model.blocks[0].attn.q_proj.draws_from is draw  # as it was
    assert draw.bit_generator.state == state
    plain = adapted("Llama", DROPPING, False)
    plain.backward_loss(1.0, plain.loss(some_batch())[1])
    for p, q in zip(model.trainable_parameters(), plain.trainable_parameters(), strict=True):
        assert np.array_equal(p.grad, q.grad)


@pytest.mark.parametrize("kind", ["GPT", "Llama"])
def test_with_a_past_nothing_is_run_twice(kind):
    kept, again = (adapted(kind, DROPPING, again) for again in (False, True))
    ids, logits = some_batch().ids, []
    for model in (kept, again):
        past = model.new_past(3)
        logits.append([model.forward(ids[:, t : t + 1], past=past)[0] for t in range(5)])
    assert same_bits(*(np.concatenate(rows, axis=1) for rows in logits))


# ---- wrong, and caught


def test_a_mask_that_is_drawn_anew_is_noticed(monkeypatch):
    expected = step(adapted("Llama", DROPPING, True), some_batch())
    monkeypatch.setattr(recompute, "_copied", lambda draws: [(m, rng and np.random.default_rng(6)) for m, rng in draws])
    assert not same_bits(step(adapted("Llama", DROPPING, True), some_batch()), expected)


def test_a_mask_that_is_left_out_is_noticed(monkeypatch):
    expected = step(adapted("Llama", DROPPING, True), some_batch())
    monkeypatch.setattr(recompute, "_drawing_from", lambda *draws: contextlib.nullcontext())
    assert not same_bits(step(adapted("Llama", DROPPING, True), some_batch()), expected)


def test_a_generator_that_is_not_copied_is_noticed(monkeypatch):
    expected = step(adapted("Llama", DROPPING, True), some_batch())
    monkeypatch.setattr(recompute, "_copied", lambda draws: draws)
    assert not same_bits(step(adapted("Llama", DROPPING, True), some_batch()), expected)


@pytest.mark.parametrize("change", ["switched", "off", "merged"])
def test_other_weights_than_those_of_the_forward_are_refused(change):
    model = adapted("Llama", METHODS["lora"], True)
    apply_lora(model, LoRAConfig(rank=1, targets=("q_proj",)), rng=rng(), name="other")
    _, cache = model.loss(some_batch())
    if change == "merged":
        merge_lora(model)
    else:
        set_adapter(model, "default" if change == "switched" else None)
        model.blocks[0].rms_1.gain.trainable = True
    with pytest.raises(ValueError, match="cache was made by other weights, or another adapter; run forward again"):
        model.backward_loss(1.0, cache)


# ---- what is kept


@pytest.mark.parametrize("kind", MODELS)
def test_only_what_enters_a_block_is_kept(kind):
    model = adapted(kind, None, True)
    _, cache = getattr(model, "encoder", model).hidden(MODELS[kind][1].ids)
    assert all(type(block) is RecomputedCache for block in cache.blocks)


@pytest.mark.parametrize(("targets", "products"), [(("q_proj",), 7 + 6), (("q_proj", "down_proj"), 7 + 7)], ids=str)
def test_the_second_forward_leaves_out_the_last_product_unless_it_is_adapted(monkeypatch, targets, products):
    counts = count_calls(
        monkeypatch,
        {
            "layers.linear.linear_forward": "maps",
            "methods.lora.layer.lora_linear_forward": "maps",
        },
    )
    model = tiny_llama(n_layer=1)
    apply_lora(model, LoRAConfig(rank=2, targets=targets), rng=rng())
    model.recompute = True
    step(model, some_batch())
    assert counts["maps"] == products


def test_it_is_off_until_it_is_asked_for():
    model = tiny_encoders.tiny(RobertaForClassification)
    assert not model.recompute and not model.encoder.recompute and not tiny_llama().recompute
    model.recompute = True
    assert model.encoder.recompute and model.replica().encoder.recompute
    model.recompute = False
    assert not model.encoder.recompute


@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), ("q_proj", "gate_proj", "down_proj")], ids=str)
def test_activations_take_a_quarter_of_the_memory(targets):
    """What the cache of a whole forward holds, and the peak of a step beyond the weights, by tracemalloc."""
    config = LlamaConfig(
        vocab_size=97, n_positions=256, n_layer=24, d_model=48, n_head=6, n_kv_head=2, d_mlp=128, tied_head=True
    )
    ids = rng().integers(0, 97, (2, 256))
    batch = LMBatch(ids, np.roll(ids, -1, axis=1), np.ones(ids.shape, bool))
    kept, peak = {}, {}
    for again in (False, True):
        model = Llama(config, rng())
        apply_lora(model, LoRAConfig(rank=2, targets=targets), rng=rng())
        model.recompute = again
        step(model, batch)
        model.zero_grad()
        tracemalloc.start()
        _, cache = model.loss(batch)
        kept[again], _ = tracemalloc.get_traced_memory()
        model.backward_loss(1.0, cache)
        _, peak[again] = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert kept[True] < 0.15 * kept[False]
    assert peak[True] < 0.25 * peak[False]

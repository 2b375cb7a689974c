"""What adapting, merging, saving and batching keep, over random configurations."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.tiny import EVERYWHERE, logits_of, same_bits, some_batch, tiny_gpt, weights_of, with_B
from minilora.methods import (
    LoRAConfig,
    apply_lora,
    combine_adapters,
    load_adapter,
    lora_layers,
    merge_lora,
    save_adapter,
    unmerge_lora,
)
from minilora.models import GPT, GPTConfig, load_model, save_model
from minilora.training.objective import split_batch
from models.tiny_encoders import ALL, CONFIG, tiny

quick = settings(max_examples=15, deadline=None)
seeds, sizes, dtypes = st.integers(0, 2**32), st.integers(1, 4), st.sampled_from(["float32", "float64"])
targets = st.lists(st.sampled_from(EVERYWHERE), min_size=1, unique=True).map(tuple)


def loras_up_to(rank):
    return st.builds(
        LoRAConfig,
        rank=st.integers(1, rank),
        alpha=st.floats(0.1, 30.0),
        targets=targets,
        rslora=st.booleans(),
        init=st.sampled_from(["uniform", "gaussian"]),
    )


loras, loras_of_half = loras_up_to(6), loras_up_to(3)  # W is 6 x 6 at the smallest
variants = st.one_of(
    loras,
    st.builds(LoRAConfig, rank=st.integers(1, 6), alpha=st.floats(0.1, 9.0), targets=targets, init=st.just("pissa")),
    st.builds(LoRAConfig, rank=st.integers(1, 6), alpha=st.floats(0.1, 9.0), targets=targets, dora=st.just(True)),
)


def adapted(config, dtype, seed=0, name="default"):
    model = tiny_gpt(dtype)
    apply_lora(model, config, rng=np.random.default_rng(seed), name=name)
    return model


@quick
@given(loras, dtypes, seeds)
def test_with_B_zero_it_is_the_base_to_the_bit(config, dtype, seed):
    assert same_bits(logits_of(adapted(config, dtype, seed)), logits_of(tiny_gpt(dtype)))


@quick
@given(variants, dtypes, seeds)
def test_merged_is_adapted_and_unmerged_is_the_base_to_the_bit(config, dtype, seed):
    model = with_B(adapted(config, dtype, seed))
    before, logits = weights_of(model), logits_of(model)
    merge_lora(model)
    merged = logits_of(model)
    unmerge_lora(model)
    bound = (1e-3 if dtype == "float32" else 1e-10) * np.abs(logits).max()
    assert np.abs(merged - logits).max() < bound
    assert same_bits(weights_of(model), before) and same_bits(logits_of(model), logits)


@quick
@given(variants, dtypes, seeds)
def test_an_adapter_comes_back_from_its_file_to_the_bit(config, dtype, seed):
    model, other = with_B(adapted(config, dtype, seed)), tiny_gpt(dtype)
    with tempfile.TemporaryDirectory() as folder:
        save_adapter(model, Path(folder) / "file")
        load_adapter(other, Path(folder) / "file")
    assert same_bits(weights_of(other), weights_of(model)) and same_bits(logits_of(other), logits_of(model))


@quick
@given(loras_of_half, loras_of_half, st.floats(-2, 2), st.floats(0.5, 2), seeds)
def test_concatenated_adapters_are_the_weighted_sum(first, second, w1, w2, seed):
    model = adapted(first, "float64", seed, name="first")
    with_B(model, seed=1)
    apply_lora(model, second, rng=np.random.default_rng(seed), name="second")
    with_B(model, seed=2)
    expected = {}
    for path, layer in lora_layers(model).items():
        parts = [(w, layer.adapters.get(name)) for name, w in (("first", w1), ("second", w2))]
        expected[path] = sum(w * factors.delta_W(None) for w, factors in parts if factors is not None)
    combine_adapters(model, ["first", "second"], [w1, w2])
    for path, delta_W in expected.items():
        assert np.allclose(lora_layers(model)[path].delta_W(), delta_W, rtol=1e-12, atol=1e-12)


@quick
@given(
    st.builds(
        lambda V, T, L, H, K, F: GPTConfig(vocab_size=V, n_positions=T, n_layer=L, d_model=H * K, n_head=H, d_mlp=F),
        *(st.integers(1, 12), sizes, st.integers(1, 2), st.integers(1, 3), sizes, st.integers(1, 7)),
    ),
    dtypes,
    seeds,
)
def test_a_model_of_any_shape_comes_back_from_its_file(config, dtype, seed):
    model = GPT(config, np.random.default_rng(seed), dtype=dtype)
    with tempfile.TemporaryDirectory() as folder:
        save_model(model, Path(folder) / "file")
        loaded = load_model(Path(folder) / "file", dtype=dtype)
    ids = np.zeros((2, config.n_positions), int)
    assert loaded.config == config and same_bits(weights_of(loaded), weights_of(model))
    assert same_bits(loaded.forward(ids)[0], model.forward(ids)[0])


@quick
@given(st.integers(1, 5), st.integers(1, 8), seeds)
def test_a_gpt_s_batch_is_its_rows_in_any_order(N, T, seed):
    draw, model = np.random.default_rng(seed), tiny_gpt()
    ids = draw.integers(0, model.config.vocab_size, (N, T))
    logits, order = model.forward(ids)[0], draw.permutation(N)
    assert np.allclose(model.forward(ids[order])[0], logits[order], rtol=0, atol=1e-11)
    assert np.allclose(model.forward(ids[:1])[0], logits[:1], rtol=0, atol=1e-11)


@quick
@given(st.sampled_from(ALL), st.integers(1, 4), st.integers(1, 6), st.integers(1, 3), seeds)
def test_an_encoder_does_not_see_padding_nor_its_neighbours(model_class, N, T, added, seed):
    draw, model = np.random.default_rng(seed), tiny(model_class)
    ids = draw.integers(2, CONFIG.vocab_size, (N, T))  # no padding
    ids, mask = np.pad(ids, ((0, 0), (0, added)), constant_values=CONFIG.pad_id), np.ones((N, T), bool)
    y, _ = model.forward(ids[:, :T], mask)
    padded, _ = model.forward(ids, np.pad(mask, ((0, 0), (0, added))))
    if padded.ndim == 3:  # a value for each position, not one for each text
        padded = padded[:, :T]
    assert np.allclose(padded, y, rtol=0, atol=1e-11)
    order = draw.permutation(N)
    assert np.allclose(model.forward(ids[order][:, :T], mask)[0], y[order], rtol=0, atol=1e-11)


@quick
@given(st.integers(1, 4), st.integers(1, 6), seeds)
def test_the_loss_of_a_batch_is_the_weighted_mean_of_its_rows(N, T, seed):
    batch, model = some_batch(N, T, seed=seed), tiny_gpt()
    losses = [float(model.loss(row, need_grad=False)[0]) for row in split_batch(batch, N)]
    counts = batch.loss_mask.sum(axis=1)
    expected = np.dot(losses, counts) / max(counts.sum(), 1)
    assert np.isclose(float(model.loss(batch, need_grad=False)[0]), expected, rtol=1e-11)

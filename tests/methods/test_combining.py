"""Adding adapters: exact by concatenation, wrong by averaging A and B, and by how much."""

import numpy as np
import pytest

from methods.every import EVERY
from methods.tiny import (
    EVERYWHERE,
    logits_of,
    rng,
    same_bits,
    tiny_gpt,
    tiny_lora,
    trainable_names,
    weights_of,
    with_B,
)
from minilora.analysis import delta_weights
from minilora.methods import (
    LoRAConfig,
    adapter_names,
    apply_lora,
    combination_error,
    combine_adapters,
    load_adapter,
    lora_layers,
    merge_lora,
    save_adapter,
    set_adapter,
)
from minilora.methods.state import adapters_of

ONE = LoRAConfig(rank=2, alpha=3, targets=("q_proj", "fc_in"))
NAMES, WEIGHTS = ["one", "two"], [0.5, -2.0]


def two_adapters(one=ONE, two=ONE):
    model = tiny_gpt()
    for seed, (name, config) in enumerate(zip(NAMES, (one, two), strict=True)):
        apply_lora(model, config, rng=rng(seed), name=name)
        with_B(model, seed=10 + seed)
    return model


def deltas(model, name):
    set_adapter(model, name)
    return delta_weights(model)


def weighted_sum(model):
    """The sum of what each adds to W, over all layers that either adapts."""
    total = {}
    for name, weight in zip(NAMES, WEIGHTS, strict=True):
        for path, delta in deltas(model, name).items():
            total[path] = total.get(path, 0.0) + weight * delta
    return total


@pytest.mark.parametrize(
    "two",
    [
        ONE,
        LoRAConfig(rank=3, alpha=1, targets=("q_proj", "fc_out"), rslora=True),
        LoRAConfig(rank=1, alpha=5, targets=("k_proj", "v_proj"), rank_pattern={"v_proj": 2}),
        LoRAConfig(rank=2, alpha=3, targets=("q_proj",), init="pissa"),
    ],
    ids=["alike", "another rank, scale and layer", "other layers", "pissa"],
)
def test_concatenated_the_sum_is_exact(two):
    model = two_adapters(two=two)
    expected = weighted_sum(model)
    combine_adapters(model, NAMES, WEIGHTS)
    found = delta_weights(model)
    assert found.keys() == expected.keys()
    assert all(np.allclose(found[path], expected[path], rtol=0, atol=1e-12) for path in expected)
    assert sorted(adapter_names(model)) == ["combined", *NAMES]


def test_averaged_it_is_what_the_formula_says_and_not_the_sum():
    model = two_adapters()
    expected = weighted_sum(model)
    parts = {path: [layer.adapters[name] for name in NAMES] for path, layer in lora_layers(model).items()}
    combine_adapters(model, NAMES, WEIGHTS, how="average", name="wrong")
    for path, delta in delta_weights(model).items():
        cross = sum(
            w * v * f.scale * f.B.data @ g.A.data
            for w, f in zip(WEIGHTS, parts[path], strict=True)
            for v, g in zip(WEIGHTS, parts[path], strict=True)
        )
        assert np.allclose(delta, cross, rtol=0, atol=1e-12), path
        assert np.linalg.norm(delta - expected[path]) > 0.5 * np.linalg.norm(expected[path]), path
        assert np.linalg.matrix_rank(delta) == 2 and np.linalg.matrix_rank(expected[path]) == 4


@pytest.mark.parametrize("weights", [[0.5, 0.5], WEIGHTS], ids=str)
def test_the_errors_are_those_of_the_adapters_that_are_made(weights):
    model = two_adapters()
    errors = combination_error(model, NAMES, weights)
    assert errors["concatenate"] < 1e-15 and 0.3 < errors["average"]
    wanted = {path: weights[0] * delta for path, delta in deltas(model, "one").items()}
    wanted = {path: wanted[path] + weights[1] * delta for path, delta in deltas(model, "two").items()}
    for how in ("concatenate", "average"):
        combine_adapters(model, NAMES, weights, how=how, name=how)
        found = delta_weights(model)
        difference = np.sqrt(sum(np.sum((found[path] - wanted[path]) ** 2) for path in wanted))
        size = np.sqrt(sum(np.sum(wanted[path] ** 2) for path in wanted))
        assert errors[how] == pytest.approx(difference / size, rel=1e-9, abs=1e-15)


def test_averaging_is_right_where_there_is_nothing_to_combine():
    model = two_adapters()
    errors = combination_error(model, ["one"], [1.0])
    assert errors["average"] < 1e-15 and errors["concatenate"] < 1e-15
    assert combination_error(model, ["one"], [0.5])["average"] == pytest.approx(0.5)  # w^2 for w
    assert combination_error(model, ["one", "one"], [0.5, 0.5])["average"] < 1e-15


def test_combined_the_model_gives_what_the_sum_gives_merged_and_from_a_file(tmp_path):
    model = two_adapters()
    total = weighted_sum(model)
    expected = tiny_gpt()
    for path, delta in total.items():
        dict(expected.named_modules())[path].W.data += delta
    combine_adapters(model, NAMES, WEIGHTS)
    assert np.allclose(logits_of(model), logits_of(expected), rtol=0, atol=1e-11)
    save_adapter(model, tmp_path / "sum")
    other = tiny_gpt()
    load_adapter(other, tmp_path / "sum")
    assert same_bits(logits_of(other), logits_of(model))
    merge_lora(model)
    assert np.allclose(logits_of(model), logits_of(expected), rtol=0, atol=1e-11)


def test_the_parts_stay_as_they_were_and_the_combination_is_trainable():
    model = two_adapters()
    before = deltas(model, "one"), deltas(model, "two")
    combine_adapters(model, NAMES, WEIGHTS)
    names = trainable_names(model)
    assert len(names) == 2 * 2 * 2 and all(name.endswith((".A", ".B")) for name in names)
    for p in model.trainable_parameters():
        p.data += 1.0
    assert all(same_bits(a, b) for a, b in zip(before, (deltas(model, "one"), deltas(model, "two")), strict=True))


@pytest.mark.parametrize("weights", [(0.5, -2.0), (1.0, -2.0), (1.0, 1.0)], ids=str)
def test_what_else_the_adapters_own_is_summed_by_its_distance_from_the_base(weights):
    """ln_f is both adapters' own; the bias is one's alone, and so is kept to the bit where its weight is 1."""
    besides = {"one": ("ln_f", "fc_in.bias"), "two": ("ln_f",)}
    model = tiny_gpt()
    for p in model.parameters():
        p.data += rng(7).standard_normal(p.data.shape)  # biases that are not zero
    base = {path: p.data.copy() for path, p in model.named_parameters()}
    own = {}
    for seed, name in enumerate(NAMES):
        apply_lora(model, LoRAConfig(rank=2, targets=("q_proj",), besides=besides[name]), rng=rng(seed), name=name)
        trained = {path: p for path, p in model.named_parameters() if p.trainable and path in base}
        for p in trained.values():
            p.data[...] = 1e-3 * rng(20 + seed).standard_normal(p.data.shape)  # base + (own - base) would round it
        own[name] = {path: p.data.copy() for path, p in trained.items()}
    combine_adapters(model, NAMES, weights)
    combined = dict(model.named_parameters())
    paths = [path for path in base if path in own["one"] or path in own["two"]]
    assert len(paths) == 2 + 2  # ln_f's gain and bias, and a bias in each of two blocks
    assert adapters_of(model).named["combined"].config.besides == tuple(paths)
    for path in paths:
        shares = [w * (own[name][path] - base[path]) for name, w in zip(NAMES, weights) if path in own[name]]
        assert np.allclose(combined[path].data, base[path] + sum(shares), rtol=0, atol=1e-14)
        if len(shares) == 1 and weights[0] == 1.0:
            assert same_bits(combined[path].data, own["one"][path])
            assert not np.shares_memory(combined[path].data, adapters_of(model).named["one"].parts[path].data)


def test_pissa_becomes_a_plain_lora_of_twice_the_rank_for_the_base_as_it_is(tmp_path):
    model = tiny_lora(EVERY["pissa"])
    learned = logits_of(model)
    combine_adapters(model, ["default"], [1.0], name="plain")
    assert np.allclose(logits_of(model), learned, rtol=0, atol=1e-12)
    assert {layer.A.data.shape[0] for layer in lora_layers(model).values()} == {4}
    save_adapter(model, tmp_path / "plain")
    other = tiny_gpt()
    load_adapter(other, tmp_path / "plain")
    assert np.allclose(logits_of(other), learned, rtol=0, atol=1e-12)


# ---- what is refused


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((["one", "third"], [1, 1]), {}, r"names was \['one', 'third'\]; .* adapters, \['one', 'two'\]"),
        (("one", [1, 1, 1]), {}, "names was 'one'; it must be one or more of the model's adapters"),
        (([], []), {}, r"names was \[\]; it must be one or more"),
        ((NAMES, [1.0]), {}, "weights were 1; there must be one for each of the 2 names"),
        ((NAMES, WEIGHTS), {"how": "ties"}, "how was 'ties'; it must be one of 'concatenate', 'average'"),
        ((NAMES, WEIGHTS), {"name": "two"}, "name was 'two'; the model already has an adapter of this name"),
        (
            (["one"] * 4, [1.0] * 4),
            {},
            r"the ranks of \['one', 'one', 'one', 'one'\] are 8 together at blocks.0.attn.q_proj, whose W is 6 x 6",
        ),
    ],
)
def test_what_cannot_be_combined_is_refused_and_the_model_stays_as_it_was(arguments, settings, message):
    model = two_adapters()
    before = weights_of(model)
    with pytest.raises(ValueError, match=message):
        combine_adapters(model, *arguments, **settings)
    assert same_bits(weights_of(model), before) and adapter_names(model) == NAMES


@pytest.mark.parametrize(
    "two",
    [
        LoRAConfig(rank=3, alpha=3, targets=ONE.targets),
        LoRAConfig(rank=2, alpha=4, targets=ONE.targets),
        LoRAConfig(rank=2, alpha=3, targets=("q_proj",)),
    ],
    ids=["rank", "scale", "layers"],
)
def test_adapters_that_differ_cannot_be_averaged(two):
    message = "the adapters differ at blocks.0.*; to be averaged, they must have the same rank and scale"
    with pytest.raises(ValueError, match=message):
        combine_adapters(two_adapters(two=two), NAMES, WEIGHTS, how="average")


def test_dora_cannot_be_combined_and_nothing_is_relative_to_zero():
    model = two_adapters(two=LoRAConfig(rank=2, targets=EVERYWHERE, dora=True))
    with pytest.raises(ValueError, match="has a delta_W that is not a product of a B and an A, such as DoRA's"):
        combine_adapters(model, NAMES, WEIGHTS)
    with pytest.raises(ValueError, match="sum to zero; an error is relative"):
        combination_error(model, ["one"], [0.0])

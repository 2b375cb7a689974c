"""One batch whose rows use different adapters: each row as if alone, each adapter with the gradient of its own rows."""

import numpy as np
import pytest

from methods.every import EVERY
from methods.tiny import (
    EVERYWHERE,
    SMALL_LORA,
    gradients_of,
    logits_of,
    rng,
    same_bits,
    some_batch,
    tiny_gpt,
    tiny_lora,
    trainable_names,
    weights_of,
    with_B,
)
from minilora.data.batches import LMBatch
from minilora.gradcheck import GradientError, check_model
from minilora.methods import LoRAConfig, adapters_per_row, apply_lora, lora_layers, merge_lora, set_adapter
from minilora.methods.lora.per_row_linear import PerRowLoRALinear
from minilora.models import DebertaForClassification, RobertaForClassification, RobertaForMaskedLM
from minilora.models.generation import generate
from minilora.training import AdamW, DataParallel, loss_and_backward
from models import tiny_deberta, tiny_encoders
from models.tiny_encoders import tiny

NAMES = ["other", None, "default", "other", "dora"]
BATCH = some_batch(N=5)


@pytest.fixture
def model():
    """Three adapters, which do not all have a share in the same layers; "default" is active."""
    model = tiny_lora(SMALL_LORA)
    for name, config in (
        ("other", LoRAConfig(rank=3, alpha=4, targets=("v_proj", "fc_out"))),
        ("dora", LoRAConfig(rank=2, targets=EVERYWHERE, dora=True, dora_exact=True)),
    ):
        apply_lora(model, config, rng=rng(8), name=name)
        with_B(model, seed=9)
    set_adapter(model, "default")
    return model


def alone(model, name, function):
    """What a function gives with one adapter for all rows."""
    set_adapter(model, name)
    result = function(model)
    set_adapter(model, "default")
    return result


def test_each_row_gives_what_it_gives_with_its_adapter_alone(model):
    with adapters_per_row(model, NAMES):
        together = logits_of(model, BATCH)
    for n, name in enumerate(NAMES):
        expected = alone(model, name, lambda model: logits_of(model, BATCH))[n]
        assert np.allclose(together[n], expected, rtol=0, atol=1e-12), name


def test_each_adapter_gets_the_gradient_of_its_own_rows(model):
    with adapters_per_row(model, NAMES):
        found = gradients_of(model, BATCH)
    for name in ("default", "other", "dora"):
        mask = BATCH.loss_mask & np.array([[owner == name] for owner in NAMES])
        share = mask.sum() / BATCH.loss_mask.sum()  # the loss is a mean over all counted targets
        own = LMBatch(BATCH.ids, BATCH.targets, mask)
        expected = alone(model, name, lambda model, own=own: gradients_of(model, own))
        mine = {path: grad for path, grad in found.items() if f".{name}." in path}
        assert len(mine) == len(expected) > 0
        for path, grad in expected.items():
            layer, letter = path.rsplit(".", 1)
            assert np.allclose(mine[f"{layer}.{name}.{letter}"], share * grad, rtol=0, atol=1e-12), path


def test_every_gradient_is_the_slope_of_the_loss(model):
    with adapters_per_row(model, NAMES):
        slopes = check_model(model, BATCH, rng=rng(4))
    assert len(slopes) == 2 * (2 * 3 + 2 * 2 + 3 * 6)


@pytest.mark.parametrize("group", [0, 1, 2])
def test_a_row_of_dx_that_is_lost_fails(model, monkeypatch, group):
    backward = PerRowLoRALinear.backward

    def mutant(self, dy, cache):
        dx = backward(self, dy, cache)
        if group < len(self.groups):
            dx[self.groups[group][1]] = 0.0
        return dx

    monkeypatch.setattr(PerRowLoRALinear, "backward", mutant)
    with adapters_per_row(model, NAMES), pytest.raises(GradientError):
        check_model(model, BATCH, rng=rng(4))


def test_rows_of_one_adapter_train_together_and_the_others_stay(model):
    before = alone(model, "dora", lambda model: weights_of(model))
    base = alone(model, None, lambda model: logits_of(model))
    with adapters_per_row(model, ["default", "other", "default"]):
        optimizer = AdamW(model.parameters(), lr=0.01)
        losses = []
        for _ in range(5):
            model.zero_grad()
            losses.append(float(loss_and_backward(model, some_batch())))
            optimizer.step()
    assert losses[-1] < losses[0]
    after = alone(model, "dora", lambda model: weights_of(model))
    assert same_bits(before, after)
    assert same_bits(alone(model, None, lambda model: logits_of(model)), base)


def test_generation_uses_each_rows_adapter(model):
    prompts = [[3], [1, 4], [2, 6, 5], [7], [8]]
    with adapters_per_row(model, NAMES):
        together = generate(model, prompts, max_tokens=5)
    for n, name in enumerate(NAMES):
        expected = alone(model, name, lambda model, n=n: generate(model, prompts[n : n + 1], max_tokens=5))
        assert together[n] == expected[0]


def test_afterwards_everything_is_as_it_was(model):
    before, names, logits = weights_of(model), trainable_names(model), logits_of(model)
    with pytest.raises(KeyError), adapters_per_row(model, NAMES):
        gradients_of(model, BATCH)
        raise KeyError
    assert same_bits(weights_of(model), before) and same_bits(logits_of(model), logits)
    assert trainable_names(model) == names and [p.name for p in model.parameters()] == list(before)
    others = [layer.adapters[name] for layer in lora_layers(model).values() for name in layer.adapters]
    others = [p for factors in others for p in factors.parameters() if p.name not in names]
    assert all(p.grad is None for p in (*others, *model.parameters()))
    assert len(others) > len(names) and not any(p.trainable for p in others)


def test_rows_of_the_base_alone_are_the_base_to_the_bit(model):
    with adapters_per_row(model, [None] * 3):
        assert same_bits(logits_of(model), logits_of(tiny_gpt()))
        assert not trainable_names(model)


def test_pissa_rows_too():
    model = tiny_lora(EVERY["pissa"])
    expected = logits_of(model)
    with adapters_per_row(model, ["default", None, "default"]):
        found = logits_of(model)
    assert np.allclose(found[[0, 2]], expected[[0, 2]], rtol=0, atol=1e-12)
    assert np.allclose(found[1], logits_of(tiny_gpt())[1], rtol=0, atol=1e-12)


# ---- heads


def classifier_with_heads(model_class=RobertaForClassification, targets=("v_proj", "fc_in"), **besides):
    """Adapters "one" and "two", each with a head of its own."""
    model = tiny(model_class)
    for seed, name in enumerate(("one", "two")):
        apply_lora(model, LoRAConfig(rank=2, targets=targets, **besides), rng=rng(seed), name=name)
        for p in model.trainable_parameters():
            p.data += 0.3 * rng(seed + len(p.name)).standard_normal(p.data.shape)
    return model


HEADS = ["two", None, "one"]


@pytest.mark.parametrize("targets", [("v_proj", "fc_in"), ("v_proj", "dense", "out_proj")], ids=["", "LoRA in it"])
def test_each_row_has_the_head_of_its_adapter(targets):
    model = classifier_with_heads(targets=targets)
    with adapters_per_row(model, HEADS):
        together = model.forward(tiny_encoders.IDS, tiny_encoders.MASK)[0]
    for n, name in enumerate(HEADS):
        set_adapter(model, name)
        expected = model.forward(tiny_encoders.IDS, tiny_encoders.MASK)[0][n]
        assert np.allclose(together[n], expected, rtol=0, atol=1e-12), name
    set_adapter(model, None)
    assert same_bits(weights_of(tiny(RobertaForClassification)), without_base(weights_of(model)))


def test_an_adapter_without_lora_in_the_head_shares_a_batch_with_one_that_has_it():
    model = tiny(RobertaForClassification)
    for seed, (name, targets) in enumerate({"one": ("v_proj",), "two": ("dense", "out_proj")}.items()):
        apply_lora(model, LoRAConfig(rank=2, targets=targets), rng=rng(seed), name=name)
        for p in model.trainable_parameters():
            p.data += 0.3 * rng(seed + len(p.name)).standard_normal(p.data.shape)
    with adapters_per_row(model, HEADS):
        together = model.forward(tiny_encoders.IDS, tiny_encoders.MASK)[0]
    for n, name in enumerate(HEADS):
        set_adapter(model, name)
        expected = model.forward(tiny_encoders.IDS, tiny_encoders.MASK)[0][n]
        assert np.allclose(together[n], expected, rtol=0, atol=1e-12), name


def without_base(weights):
    return {name.replace(".base.", "."): values for name, values in weights.items()}


def test_each_head_gets_the_gradient_of_its_own_rows():
    model = classifier_with_heads()
    with adapters_per_row(model, HEADS):
        names = trainable_names(model)
        check_model(model, tiny_encoders.BATCHES[RobertaForClassification][0], rng=rng(4))
    assert {"head.one.out_proj.W", "head.two.dense.bias", "encoder.blocks.1.mlp.fc_in.one.A"} <= set(names)
    assert not any(".base." in name for name in names)


# ---- what is refused


def test_what_the_rows_of_a_batch_share_is_refused_by_name():
    model = classifier_with_heads(besides=("ln_1",))
    with (
        pytest.raises(ValueError, match=r"'two' has encoder.blocks.0.ln_1.gain of its own"),
        adapters_per_row(model, HEADS),
    ):
        pass
    with adapters_per_row(model, [None] * 3):  # it is not asked for
        pass


def test_a_layer_that_does_not_read_rows_is_refused_by_name():
    model = tiny(DebertaForClassification, config=tiny_deberta.CONFIG)
    apply_lora(model, LoRAConfig(rank=2), rng=rng())
    message = "'default' is in encoder.blocks.0.attn.q_proj, which reads relative positions"
    with pytest.raises(ValueError, match=message), adapters_per_row(model, ["default"] * 3):
        pass
    model = tiny(RobertaForMaskedLM)
    apply_lora(model, LoRAConfig(rank=2, targets=("dense",)), rng=rng())
    message = "'default' is in head.dense, which reads the positions that count"
    with pytest.raises(ValueError, match=message), adapters_per_row(model, ["default"] * 3):
        pass


def test_a_layer_is_asked_about_the_adapters_that_it_has():
    model = tiny(DebertaForClassification, config=tiny_deberta.CONFIG)
    apply_lora(model, LoRAConfig(rank=2, targets=("v_proj",)), rng=rng(), name="values")
    apply_lora(model, LoRAConfig(rank=2, targets=("q_proj",)), rng=rng(), name="queries")
    with adapters_per_row(model, ["values"] * 3):
        pass
    with pytest.raises(ValueError, match="'queries' is in"), adapters_per_row(model, ["queries"] * 3):
        pass


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "names was empty; there must be one for each row of a batch"),
        (["default", "third"], r"names held 'third'; the model's adapters of LoRA are \['default', 'other', 'dora'\]"),
    ],
)
def test_names_that_cannot_be_are_refused(model, names, message):
    before = trainable_names(model)
    with pytest.raises(ValueError, match=message), adapters_per_row(model, names):
        pass
    assert trainable_names(model) == before


def test_while_one_is_merged_it_is_refused(model):
    merge_lora(model)
    with pytest.raises(ValueError, match=r"call unmerge_lora\(model\) first"), adapters_per_row(model, NAMES):
        pass


def test_a_batch_of_another_size_is_refused_also_from_threads(model):
    with adapters_per_row(model, NAMES):
        with pytest.raises(ValueError, match="the batch had 3 rows; adapters were named for 5"):
            logits_of(model, some_batch(N=3))
        with (
            DataParallel(model, threads=2) as objective,
            pytest.raises(ValueError, match="the batch had . rows; adapters were named for 5"),
        ):
            objective.loss_and_backward(BATCH)


def test_a_cache_of_other_rows_or_of_one_adapter_is_refused(model):
    _, single = model.forward(BATCH.ids)
    with adapters_per_row(model, NAMES):
        logits, mixed = model.forward(BATCH.ids)
        with pytest.raises(ValueError, match="cache was made with other adapters for its rows; run forward again"):
            model.backward(logits, single)
    with adapters_per_row(model, NAMES[::-1]), pytest.raises(ValueError, match="cache was made with other adapters"):
        model.backward(logits, mixed)
    with pytest.raises(ValueError, match="cache was made by another adapter"):
        model.backward(logits, mixed)

"""LoRA and a prefix as one adapter: what each does alone, both at once, and what comes and goes together."""

import numpy as np
import pytest

from methods.every import EVERY, tiny_adapted
from methods.tiny import EVERYWHERE, rng, same_bits, some_batch, tiny_gpt, trainable_names, weights_of
from minilora.gradcheck import GradientError, check_model
from minilora.interop import save_peft
from minilora.methods import (
    LoRAConfig,
    LoRAPrefixConfig,
    PrefixConfig,
    adapter_names,
    adapters_per_row,
    apply_lora_with_prefix,
    apply_method,
    lora_layers,
    merge_lora,
    remove_adapter,
    save_adapter,
    set_adapter,
    unmerge_lora,
)
from minilora.methods import prefix_tokens as prefix_module
from minilora.methods.lora import layer as lora_module
from minilora.methods.prefixed import PrefixedGPT
from minilora.models import GPT
from minilora.ops.fast import lora_linear_backward, prefix_backward
from minilora.training import AdamW, lora_plus_groups, loss_and_backward

SHORT = some_batch(T=4)
PE, PL = EVERY["lora+prefix-embedding"], EVERY["lora+prefix-layer"]
each = pytest.mark.parametrize("config", [PE, PL], ids=["embedding", "layer"])


def loss_of(model):
    return float(model.loss(SHORT)[0])


@each
def test_without_what_lora_learned_it_is_the_prefix_alone_and_the_other_way_round(config):
    both = tiny_adapted(config)
    alone = tiny_gpt()
    apply_method(alone, config.prefix)
    for ours, theirs in zip(both.prefix.tables, alone.prefix.tables, strict=True):
        theirs.W.data[...] = ours.W.data
    with_lora = loss_of(both)
    for layer in lora_layers(both).values():
        layer.B.data[...] = 0.0
        if config.lora.dora:
            layer.factors.m.data[...] = np.linalg.norm(layer.frozen.data, axis=1)
    assert loss_of(both) == pytest.approx(loss_of(alone), rel=1e-12) != pytest.approx(with_lora, rel=1e-3)


def test_merged_the_prefix_goes_on_and_unmerged_all_is_as_it_was():
    model = tiny_adapted(PE)
    before, weights = loss_of(model), weights_of(model)
    merge_lora(model)
    assert loss_of(model) == pytest.approx(before, rel=1e-12) and type(model) is PrefixedGPT
    unmerge_lora(model)
    assert same_bits(weights_of(model), weights)


@each
def test_it_is_switched_and_taken_away_as_one(config):
    model, base = tiny_adapted(config), tiny_gpt()
    says = loss_of(model)
    set_adapter(model, None)
    assert type(model) is GPT and same_bits(model.forward(SHORT.ids)[0], base.forward(SHORT.ids)[0])
    set_adapter(model, "lora+prefix")
    assert type(model) is PrefixedGPT and loss_of(model) == says
    names = trainable_names(model)
    assert any(name.endswith(".A") for name in names) and any(name.startswith("prefix.") for name in names)
    remove_adapter(model, "lora+prefix")
    assert adapter_names(model) == [] and not lora_layers(model) and type(model) is GPT
    assert same_bits(weights_of(model), weights_of(base))


def test_beside_another_lora_and_another_prefix_each_is_itself():
    model = tiny_adapted(PE)
    says = {"lora+prefix": loss_of(model)}
    for name, config in (("prefix", EVERY["prefix-layer"]), ("default", EVERY["lora"]), ("second", PL)):
        apply_method(model, config, rng=rng(5), name=name)
        for p in model.trainable_parameters():
            p.data += 0.3 * rng(6).standard_normal(p.data.shape)
        says[name] = loss_of(model)
    assert len(set(says.values())) == 4
    for name in ("prefix", "second", "lora+prefix", "default", "prefix"):
        set_adapter(model, name)
        assert loss_of(model) == says[name], name


def test_lora_pluss_groups_find_its_B():
    model = tiny_adapted(PE)
    _, of_B = lora_plus_groups(model, ratio=4.0)
    assert {p.name for p in of_B.parameters} == {name for name in trainable_names(model) if name.endswith(".B")}


def test_training_moves_both():
    model = tiny_gpt()
    apply_lora_with_prefix(model, PE, rng=rng(1))
    before, first = weights_of(model), loss_of(model)
    optimizer = AdamW(model.trainable_parameters(), lr=0.01)
    for _ in range(5):
        model.zero_grad()
        loss_and_backward(model, SHORT)
        optimizer.step()
    assert loss_of(model) < first
    assert all(not same_bits(p.data, before[p.name]) for p in model.trainable_parameters())


def without_dB(dy, cache):
    dx, dA, dB = lora_linear_backward(dy, cache)
    return dx, dA, 0 * dB


MUTANTS = {
    "the prefix gets nothing": (prefix_module, "prefix_backward", lambda dy, c: (prefix_backward(dy, c)[0], 0 * c.P)),
    "it flows through the prefix": (
        prefix_module,
        "prefix_backward",
        lambda dy, c: (dy, prefix_backward(dy, c)[1]),
    ),
    "B gets nothing": (lora_module, "lora_linear_backward", without_dB),
}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_a_wrong_backward_of_either_fails(monkeypatch, mutant):
    where, name, wrong = mutant
    config = LoRAPrefixConfig(LoRAConfig(rank=2, alpha=3, targets=EVERYWHERE), PrefixConfig("layer", 1, 2))
    model = tiny_adapted(config)
    check_model(model, SHORT, rng=rng(4))
    monkeypatch.setattr(where, name, wrong)
    with pytest.raises(GradientError):
        check_model(model, SHORT, rng=rng(4))


# ---- what is refused


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lora": 3}, "lora was 3; it must be a LoRAConfig"),
        ({"prefix": LoRAConfig()}, "prefix was LoRAConfig.*; it must be a PrefixConfig"),
        ({"lora": {"rank": 0}}, "rank was 0; it must be an integer of at least 1"),
        ({"lora": {"rang": 1}}, "lora had 'rang'; a LoRAConfig must have"),
        ({"lora": LoRAConfig(init="pissa")}, "lora.init was 'pissa'; together with a prefix it must be 'uniform'"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        LoRAPrefixConfig(**settings)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (LoRAPrefixConfig(LoRAConfig(rank=7)), r"before \+ after was 10"),
        (LoRAPrefixConfig(LoRAConfig(rank=7), PrefixConfig(before=1, after=1)), "rank was 7 for blocks.0.attn.q_proj"),
    ],
)
def test_what_does_not_fit_is_refused_and_the_model_stays_as_it_was(config, message):
    model = tiny_gpt()
    with pytest.raises(ValueError, match=message):
        apply_lora_with_prefix(model, config, rng=rng())
    assert type(model) is GPT and adapter_names(model) == [] and not lora_layers(model)


def test_other_formats_and_the_rows_of_a_batch_have_no_place_for_the_prefix(tmp_path):
    model = tiny_adapted(PE)
    for active in ("lora+prefix", None):
        set_adapter(model, active)
        with pytest.raises(ValueError, match="'lora.prefix' is LoRA with a prefix, for which PEFT's format"):
            save_peft(model, tmp_path / "folder", name="lora+prefix")
    with pytest.raises(ValueError, match="has prefix of its own; the rows of a batch share all but a head"):
        with adapters_per_row(model, ["lora+prefix"]):
            pass
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_taken_is_refused(tmp_path):
    model = tiny_adapted(PE)
    save_adapter(model, tmp_path / "file")
    with pytest.raises(ValueError, match="name was 'lora.prefix'; the model already has an adapter of this name"):
        apply_method(model, PL)

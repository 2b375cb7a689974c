"""What an adapter brought comes with it and goes with it: every method, in every operation, on every kind of model."""

import numpy as np
import pytest

from methods.classifiers import MODELS
from methods.classifiers import batch_of as batch_of_classes
from methods.every import EVERY
from methods.tiny import rng, same_bits, some_batch, tiny_gpt, weights_of
from minilora.methods import (
    HeadConfig,
    LoRAConfig,
    adapter_names,
    apply_lora,
    apply_method,
    load_adapter,
    merge_lora,
    method_of,
    remove_adapter,
    remove_lora,
    save_adapter,
    set_adapter,
    unmerge_lora,
)
from minilora.models import RobertaForMaskedLM
from minilora.training import AdamW, loss_and_backward
from models import tiny_encoders
from models.tiny_encoders import tiny
from models.tiny_llama import tiny_llama

BESIDES = LoRAConfig(rank=2, alpha=3, targets=("q_proj", "fc_in"), besides=("ln_1", "bias", "wte"))
WHOLE = LoRAConfig(rank=1, targets=("v_proj",), besides=("ln_f", "blocks.0.mlp", "wpe"))
ALIKE = ("top-2", "prefix-embedding, before", "rslora", "dora, exact", "adapter-p")  # to others of these
SWITCHED = {name: config for name, config in EVERY.items() if name != "full" and name not in ALIKE}
OF_GPT = SWITCHED | {"lora, besides": BESIDES, "lora, whole parts": WHOLE}
OF_CLASSIFIERS = {name: config for name, config in SWITCHED.items() if "prefix" not in name and "prompt" not in name}
OF_CLASSIFIERS |= {"head": HeadConfig(), "lora, besides": BESIDES}
OF_MASKED_LM = {"lora, tied": BESIDES, "bitfit": EVERY["bitfit"], "lora": EVERY["lora"]}
ON_LLAMA = LoRAConfig(rank=2, alpha=3, targets=("q_proj", "gate_proj"), besides=("rms_1", "bias", "wte"))
WHOLE_ON_LLAMA = LoRAConfig(rank=1, targets=("lm_head", "v_proj"), besides=("rms_f", "blocks.0.mlp"))
OF_LLAMA = {"lora, besides": ON_LLAMA, "lora, the head too": WHOLE_ON_LLAMA}
OF_LLAMA |= {name: EVERY[name] for name in ("top-1", "bitfit", "adapter-l", "prefix-layer")}
CASES = [
    *(("llama", name, config) for name, config in OF_LLAMA.items()),
    *(("gpt", name, config) for name, config in OF_GPT.items()),
    *((kind, name, config) for kind in MODELS for name, config in OF_CLASSIFIERS.items()),
    *(("masked lm", name, config) for name, config in OF_MASKED_LM.items()),
]
each_case = pytest.mark.parametrize(
    ("kind", "config"), [case[::2] for case in CASES], ids=[": ".join(c[:2]) for c in CASES]
)


def base(kind):
    if kind == "gpt":
        return tiny_gpt()
    if kind == "llama":
        return tiny_llama("biases of q, k and v")
    if kind == "masked lm":
        return tiny(RobertaForMaskedLM)
    model_class, config, _ = MODELS[kind]
    return tiny(model_class, config=config)


def batch_of(kind):
    if kind in ("gpt", "llama"):
        return some_batch(T=4)
    if kind == "masked lm":
        return tiny_encoders.BATCHES[RobertaForMaskedLM][0]
    return batch_of_classes(kind)


def outputs(kind, model):
    """Everything that the model says of a batch, as one array."""
    if kind in ("gpt", "llama"):
        ids, *_ = model.read_batch(batch_of(kind))
        return model.forward(ids)[0]
    return model.forward(*batch_of(kind)[:2])[0]


def learn(model, seed):
    """Draw all that the active adapter trains anew."""
    for p in model.trainable_parameters():
        p.data += 0.3 * rng(seed + len(p.name)).standard_normal(p.data.shape)


def train(kind, model, steps=2):
    optimizer = AdamW(model.parameters(), lr=0.05, weight_decay=0.01)
    for _ in range(steps):
        model.zero_grad()
        loss_and_backward(model, batch_of(kind))
        optimizer.step()


@pytest.fixture
def two(tmp_path):
    """Files of an adapter "one" of some method, and of "two", each made alone; and what each says, and the base."""

    def make(kind, config, second=None):
        said = {None: outputs(kind, base(kind))}
        llama = kind == "llama"
        targets, besides = ("v_proj", "down_proj" if llama else "fc_out"), ("rms_2" if llama else "ln_2",)
        second = second or LoRAConfig(rank=1, targets=targets, besides=besides)
        for seed, (name, method) in enumerate({"one": config, "two": second}.items()):
            model = base(kind)
            apply_method(model, method, rng=rng(seed + 1), name=name, batches=[batch_of(kind)])
            learn(model, 10 * seed)
            save_adapter(model, tmp_path / name)
            said[name] = outputs(kind, model)
            assert said[name].shape != said[None].shape or not np.allclose(said[name], said[None])
        model = base(kind)
        for name in ("one", "two"):
            load_adapter(model, tmp_path / name, name=name)
        return model, said

    return make


# ---- the matrix


@each_case
@pytest.mark.parametrize("second", ["lora", "the same method"])
def test_each_says_what_it_says_alone_and_without_one_the_base_is_itself_to_the_bit(kind, config, second, two):
    model, said = two(kind, config, config if second == "the same method" else None)
    for name in ("one", "two", None, "two", "one", None):
        set_adapter(model, name)
        assert same_bits(outputs(kind, model), said[name]), name
    plain = {name.replace(".base.", "."): p for name, p in weights_of(model).items()}
    assert same_bits(plain, weights_of(base(kind)))


@each_case
def test_one_that_is_not_active_is_saved_as_it_is(kind, config, two, tmp_path):
    model, _ = two(kind, config)
    for active in ("one", "two", None):
        set_adapter(model, active)
        for name in ("one", "two"):
            save_adapter(model, tmp_path / "again", name=name)
            assert (tmp_path / "again").read_bytes() == (tmp_path / name).read_bytes(), (active, name)


@each_case
def test_neither_sees_the_steps_of_the_other(kind, config, two, tmp_path):
    model, said = two(kind, config)
    trained = {}
    for name in ("one", "two"):  # alone
        alone = base(kind)
        load_adapter(alone, tmp_path / name, name=name)
        train(kind, alone)
        trained[name] = outputs(kind, alone)
    set_adapter(model, "one")
    train(kind, model)
    set_adapter(model, "two")
    assert same_bits(outputs(kind, model), said["two"])
    train(kind, model)
    for name in ("one", "two"):
        set_adapter(model, name)
        assert same_bits(outputs(kind, model), trained[name])
    set_adapter(model, None)
    assert same_bits(outputs(kind, model), said[None])


@each_case
def test_an_optimizer_of_one_does_not_move_the_other(kind, config, two):
    model, said = two(kind, config)
    set_adapter(model, "one")
    optimizer = AdamW(model.parameters(), lr=0.05)
    set_adapter(model, "two")
    loss_and_backward(model, batch_of(kind))
    optimizer.step()
    assert same_bits(outputs(kind, model), said["two"])


@each_case
@pytest.mark.parametrize("active", ["one", "two", None])
def test_removed_it_is_gone_and_comes_again(kind, config, active, two, tmp_path):
    model, said = two(kind, config)
    set_adapter(model, active)
    remove_adapter(model, "one")
    left = active if active != "one" else None
    assert adapter_names(model) == ["two"] and same_bits(outputs(kind, model), said[left])
    load_adapter(model, tmp_path / "one", name="one")
    for name in ("one", "two", None):
        set_adapter(model, name)
        assert same_bits(outputs(kind, model), said[name])
    remove_adapter(model, "two")
    remove_adapter(model, "one")
    assert same_bits(weights_of(model), weights_of(base(kind))) and method_of(model) is None


@each_case
def test_merged_and_unmerged_beside_it_nothing_changes(kind, config, two):
    model, said = two(kind, config)
    set_adapter(model, "two")
    merge_lora(model)
    np.testing.assert_allclose(outputs(kind, model), said["two"], rtol=0, atol=1e-11)
    unmerge_lora(model)
    for name in ("two", "one", None):
        set_adapter(model, name)
        assert same_bits(outputs(kind, model), said[name])


@each_case
def test_merged_and_removed_all_of_it_stays(kind, config, two):
    model, said = two(kind, config)
    set_adapter(model, "two")
    merge_lora(model)
    remove_lora(model)
    np.testing.assert_allclose(outputs(kind, model), said["two"], rtol=0, atol=1e-11)
    assert "two" not in adapter_names(model)
    assert list(weights_of(model)) == list(weights_of(base(kind)))


@each_case
def test_a_replica_says_the_same_and_is_switched_by_itself(kind, config, two):
    model, said = two(kind, config)
    set_adapter(model, "one")
    twin = model.replica()
    assert same_bits(outputs(kind, twin), said["one"])
    for name in (None, "two", "one"):
        set_adapter(twin, name)
        assert same_bits(outputs(kind, twin), said[name]) and same_bits(outputs(kind, model), said["one"])


# ---- a device, and what is refused


def test_what_the_model_trains_besides_by_hand_is_no_part_of_the_adapter_and_is_not_left_out_in_silence(tmp_path):
    model = tiny_gpt()
    apply_lora(model, LoRAConfig(rank=2), rng=rng())
    model.ln_f.gain.trainable = True
    with pytest.raises(ValueError, match=r"ln_f.gain is trained, which is the base's own .* LoRAConfig\(besides=...\)"):
        save_adapter(model, tmp_path / "file")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("besides", "message"),
    [
        (("ln_9",), "besides named 'ln_9', which is not a parameter or part of this model"),
        (("A",), "besides named 'A', which is not a parameter or part of this model"),
        (
            ("attn",),
            "besides named 'attn', which holds blocks.0.attn.q_proj.W; this must stay frozen, next to its A and B",
        ),
        ("bias", "besides was 'bias'; it must be several names"),
        (("",), r"besides was \('',\); it must be several names"),
    ],
)
def test_what_cannot_be_trained_besides_is_refused_and_the_model_stays_as_it_was(besides, message):
    model = tiny_gpt()
    apply_lora(model, LoRAConfig(rank=2), rng=rng())
    before = weights_of(model)
    with pytest.raises(ValueError, match=message):
        apply_lora(model, LoRAConfig(rank=2, targets=("q_proj",), besides=besides), rng=rng(), name="second")
    assert same_bits(weights_of(model), before) and adapter_names(model) == ["default"]


def test_an_unknown_adapter_cannot_be_removed():
    with pytest.raises(ValueError, match=r"name was 'one'; the model's adapters are \[\]"):
        remove_adapter(tiny_gpt(), "one")

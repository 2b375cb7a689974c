"""RoBERTa's and DeBERTa's adapters of peft, with their heads."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from interop.peft_golden import GOLDEN, GPT2, expected, gpt2
from methods.tiny import same_bits, trainable_names
from minilora import interop
from minilora.methods import (
    LoRAConfig,
    apply_lora,
    load_adapter,
    lora_layers,
    remove_adapter,
    save_adapter,
    set_adapter,
)

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
CASES = [
    *(("roberta", name) for name in ("default", "one_layer", "dora")),
    *(("roberta_masked_lm", name) for name in ("default", "head", "whole_head", "dora")),
    *(("deberta", name) for name in ("default", "pooler", "dora")),
]
CLASSIFIERS = {"roberta": interop.load_roberta, "deberta": interop.load_deberta}
LOADERS = {**CLASSIFIERS, "roberta_masked_lm": interop.load_roberta}


def base(kind):
    return LOADERS[kind](GOLDEN / kind, dtype="float64")


@pytest.mark.parametrize(("kind", "adapter"), CASES)
def test_an_adapter_of_peft_gives_peft_s_logits(kind, adapter):
    model, golden = base(kind), expected(kind)
    np.testing.assert_allclose(model.forward(golden["ids"])[0], golden["base"], rtol=0, atol=1e-10)
    interop.load_peft(model, GOLDEN / kind / adapter)
    np.testing.assert_allclose(model.forward(golden["ids"])[0], golden[adapter], rtol=0, atol=1e-10)
    assert np.abs(golden[adapter] - golden["base"]).max() > 0.1


@pytest.mark.parametrize(("kind", "adapter"), CASES)
def test_an_adapter_of_peft_is_saved_as_peft_saved_it(kind, adapter, tmp_path):
    model = base(kind)
    interop.load_peft(model, GOLDEN / kind / adapter)
    interop.save_peft(model, tmp_path)
    assert same_bits(load_file(tmp_path / TENSORS), load_file(GOLDEN / kind / adapter / TENSORS))
    assert json.loads((tmp_path / CONFIG).read_text())["fan_in_fan_out"] is False


def headless(folder, copy):
    """An adapter of peft without what it saves besides."""
    tensors = load_file(folder / TENSORS)
    copy.mkdir()
    save_file({name: array for name, array in tensors.items() if "lora_" in name}, copy / TENSORS)
    config = json.loads((folder / CONFIG).read_text())
    (copy / CONFIG).write_text(json.dumps(config | {"modules_to_save": None, "task_type": None}))


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_without_its_head_it_is_no_classifier_s_adapter(kind, tmp_path):
    """peft looks for the classifier in every adapter of the task SEQ_CLS."""
    model = base(kind)
    headless(GOLDEN / kind / "default", tmp_path / "in")
    interop.load_peft(model, tmp_path / "in")
    interop.save_peft(model, tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text())
    assert (config["modules_to_save"], config["task_type"]) == (None, None)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_the_head_is_saved_if_it_is_trained(kind, tmp_path):
    model = base(kind)
    apply_lora(model, LoRAConfig(rank=2), rng=np.random.default_rng(0))
    interop.save_peft(model, tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text())
    assert config["modules_to_save"] == {"roberta": ["classifier"], "deberta": ["pooler.dense", "classifier"]}[kind]
    assert config["task_type"] == "SEQ_CLS"
    other = base(kind)
    interop.load_peft(other, tmp_path)
    assert trainable_names(other) == trainable_names(model) and len(lora_layers(other)) == 4


def test_what_of_the_masked_lm_head_is_tied_has_no_place_in_peft_s_file(tmp_path):
    model = base("roberta_masked_lm")
    apply_lora(model, LoRAConfig(rank=2, besides=("head.bias",)), rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"head\.bias is trained; .* one of query, .*layer_norm"):
        interop.save_peft(model, tmp_path)
    assert not list(tmp_path.iterdir())


# ---- several at once


@pytest.mark.parametrize(
    ("kind", "adapters"),
    [
        ("roberta", ("default", "one_layer", "dora")),
        ("roberta_masked_lm", ("head", "whole_head", "default")),
        ("deberta", ("default", "pooler", "dora")),
    ],
)
def test_what_each_brought_comes_and_goes_with_it(kind, adapters, tmp_path):
    model, golden = base(kind), expected(kind)
    at_first = {name: p.data.copy() for name, p in model.named_parameters()}
    said = {None: model.forward(golden["ids"])[0]}
    for name in adapters:
        alone = base(kind)
        interop.load_peft(alone, GOLDEN / kind / name)
        said[name] = alone.forward(golden["ids"])[0]
        interop.load_peft(model, GOLDEN / kind / name, name=name)
    for name in (*adapters, None, *reversed(adapters), None):
        set_adapter(model, name)
        assert same_bits(model.forward(golden["ids"])[0], said[name]), name
        for other in adapters:
            interop.save_peft(model, tmp_path, name=other)
            assert same_bits(load_file(tmp_path / TENSORS), load_file(GOLDEN / kind / other / TENSORS)), other
    for name in adapters:
        remove_adapter(model, name)
    assert same_bits({name: p.data for name, p in model.named_parameters()}, at_first)


@pytest.mark.parametrize(("kind", "adapter"), [("roberta", "one_layer"), ("deberta", "pooler"), ("gpt2", "one_layer")])
def test_all_that_it_brought_goes_into_a_file_of_ours(kind, adapter, tmp_path):
    def plain():
        return gpt2() if kind == "gpt2" else base(kind)

    model, other = plain(), plain()
    folder, golden = (GPT2 / adapter if kind == "gpt2" else GOLDEN / kind / adapter), expected(kind)
    interop.load_peft(model, folder)
    save_adapter(model, tmp_path / "file")
    load_adapter(other, tmp_path / "file")
    assert same_bits(other.forward(golden["ids"])[0], model.forward(golden["ids"])[0])
    np.testing.assert_allclose(other.forward(golden["ids"])[0], golden[adapter], rtol=0, atol=1e-10)

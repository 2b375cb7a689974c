"""RoBERTa's and DeBERTa's adapters of peft, with their heads."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from interop.peft_golden import GOLDEN, expected
from methods.tiny import same_bits, trainable_names
from minilora import interop
from minilora.methods import LoRAConfig, apply_lora, lora_layers

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


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_without_its_head_it_is_no_classifier_s_adapter(kind, tmp_path):
    """peft looks for the classifier in every adapter of the task SEQ_CLS."""
    model = base(kind)
    apply_lora(model, LoRAConfig(rank=2), rng=np.random.default_rng(0))
    model.head.freeze()
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
    apply_lora(model, LoRAConfig(rank=2), rng=np.random.default_rng(0))
    model.head.bias.trainable = True
    with pytest.raises(ValueError, match=r"head\.bias is trained; .* one of LayerNorm, dense, layer_norm"):
        interop.save_peft(model, tmp_path)
    assert not list(tmp_path.iterdir())

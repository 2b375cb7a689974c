"""The demonstration's facts are measured, not asserted: each says no when someone breaks what it is about."""

import json

import numpy as np
import pytest

from experiments.tiny import adapted, byte_gpt, sum_task
from methods.tiny import same_bits, weights_of
from minilora.data import parse_source, slot_errors
from minilora.experiments.demo import merging, preview, switching
from minilora.experiments.demo_settings import OF_LARGE, OF_SMALL, configs, settings_for
from minilora.experiments.rates import LARGE, OF_TEXTS, default_rate
from minilora.methods import adapter_names, bundled_adapter, lora_layers, save_adapter
from minilora.methods.lora import LoRALinear
from minilora.models import Llama, LlamaConfig, load_bundled, weights_hash

TASK = sum_task()


def with_layers(model, kind):
    """The model, with each LoRALinear turned into another kind of it."""
    for layer in lora_layers(model).values():
        layer.__class__ = kind
    return model


class Subtracting(LoRALinear):
    """Unmerges by W + D - D, which floating-point numbers do not undo."""

    def unmerge(self):
        if self.merged:
            self.base.W.data = self.base.W.data - self.delta_W()
            self._frozen = None


class Doubling(LoRALinear):
    """Merges twice the change."""

    def merge(self):
        if not self.merged:
            super().merge()
            self.base.W.data = self.base.W.data + self.delta_W()


def test_merging():
    model = adapted()
    before = weights_of(model)
    facts = merging(model, byte_gpt(), TASK)
    assert facts["unmerged_to_the_bit"] is True
    assert facts["same_answers"] == facts["answers"] == 16
    assert facts["largest_logit_difference"] < 1e-5
    assert list(facts["tokens_per_second"]) == ["base", "LoRA", "LoRA, merged"]
    assert all(0 < s["min"] <= s["median"] <= s["max"] for s in facts["tokens_per_second"].values())
    assert same_bits(weights_of(model), before), "merging is looked at, and undone"
    assert not any(layer.merged for layer in lora_layers(model).values())


def test_merging_tells_of_an_unmerging_that_is_not_exact():
    facts = merging(with_layers(adapted(), Subtracting), byte_gpt(), TASK)
    assert facts["unmerged_to_the_bit"] is False
    assert facts["same_answers"] == 16


def test_merging_tells_of_a_wrong_merge():
    facts = merging(with_layers(adapted(), Doubling), byte_gpt(), TASK)
    assert facts["largest_logit_difference"] > 1e-2
    assert facts["same_answers"] < 16
    assert facts["unmerged_to_the_bit"] is True


@pytest.fixture
def adapter_file(tmp_path):
    save_adapter(adapted(), tmp_path / "adapter.safetensors")
    return tmp_path / "adapter.safetensors"


def test_switching(adapter_file):
    model = adapted()
    before = weights_of(model)
    facts = switching(model, byte_gpt(), TASK, adapter_file)
    assert facts == {"base_to_the_bit": True, "adapter_from_file_to_the_bit": True}
    assert same_bits(weights_of(model), before), "the adapter that was active is active again"
    assert adapter_names(model)[0] == "default"


def test_switching_tells_of_a_base_weight_that_changed(adapter_file):
    model = adapted()
    model.blocks[0].attn.k_proj.W.data[0, 0] += 1e-3
    facts = switching(model, byte_gpt(), TASK, adapter_file)
    assert facts == {"base_to_the_bit": False, "adapter_from_file_to_the_bit": True}


def test_switching_tells_of_a_file_that_is_another_adapter(adapter_file):
    model = adapted()
    model.blocks[0].attn.q_proj.B.data[0, 0] += 1e-3
    facts = switching(model, byte_gpt(), TASK, adapter_file)
    assert facts == {"base_to_the_bit": True, "adapter_from_file_to_the_bit": False}


def test_the_preview_is_what_the_record_of_the_bundled_adapter_says():
    record = json.loads(bundled_adapter().with_suffix(".json").read_text())
    shown = preview(2)
    assert [(row["prompt"], row["bundled adapter"]) for row in shown] == [
        (sample["prompt"].strip(), sample["answer"].strip()) for sample in record["valid"]["samples"][:2]
    ]
    assert record["base"] == weights_hash(load_bundled("decoder"))
    for row in shown:
        asked = parse_source(row["prompt"])
        assert slot_errors(asked, row["bundled adapter"]).exact and not slot_errors(asked, row["base"]).exact


def test_both_methods_see_the_same_batches():
    """Same seed, batch size and steps; the learning rate alone is each method's own."""
    lora, full = (config.train for config in configs(byte_gpt(), "sums", 30, seed=3).values())
    assert (lora.seed, lora.steps, lora.batch_size) == (full.seed, full.steps, full.batch_size) == (3, 30, 16)
    assert lora.lr != full.lr


def test_a_narrow_model_has_a_lower_rank():
    """No matrix of a byte_gpt, 16 wide, has rank 32."""
    lora = configs(byte_gpt(), "sums", 30, seed=3)["LoRA"].settings
    assert lora.rank == min(byte_gpt().config.d_model, OF_SMALL.rank) and lora.alpha == 2 * lora.rank
    sizes = {"vocab_size": 256, "n_positions": 16, "n_layer": 1, "d_model": 16, "n_head": 4, "d_mlp": 24}
    llama = Llama(LlamaConfig(**sizes, n_kv_head=1), np.random.default_rng(0))
    assert configs(llama, "sums", 30, seed=3)["LoRA"].settings.rank == 4, "W_k and W_v are 4 x 16"


class OfSize:
    """A model of which only the size is known."""

    def __init__(self, size):
        self.data = self
        self.size = size

    def parameters(self):
        return [self]

    def named_modules(self):
        return byte_gpt().named_modules()


def test_a_large_model_is_trained_with_other_numbers():
    assert settings_for(OfSize(LARGE - 1)) is OF_SMALL and settings_for(OfSize(LARGE)) is OF_LARGE
    large = configs(OfSize(LARGE), "sums", 300, seed=0)["LoRA"]
    assert large.train.lr == OF_LARGE.lora.lr and large.train.warmup * 300 == pytest.approx(10)
    assert configs(OfSize(LARGE), "sums", 5, seed=0)["LoRA"].train.warmup == 1.0
    assert large.settings.targets == ("q_proj", "k_proj", "v_proj", "o_proj", "fc_in", "fc_out")


def test_a_large_model_s_default_rate_is_the_demonstration_s():
    for method, config in (("lora", OF_LARGE.lora), ("full", OF_LARGE.full)):
        assert default_rate(method, TASK, OfSize(LARGE)) == pytest.approx(config.lr)
        assert default_rate(method, TASK, OfSize(LARGE - 1)) == default_rate(method, TASK) == OF_TEXTS[method]

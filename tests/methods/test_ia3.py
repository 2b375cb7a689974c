"""IA3: which layers are scaled, a start that is the base's to the bit, and merging, of the bias too."""

import numpy as np
import pytest

from methods.every import EVERY, tiny_adapted
from methods.tiny import CONFIG, same_bits, some_batch, tiny_gpt, trainable_names, weights_of
from minilora.gradcheck import GradientError, check_model
from minilora.methods import (
    IA3Config,
    adapter_names,
    apply_ia3,
    ia3,
    lora_layers,
    merge_lora,
    quantize,
    remove_adapter,
    remove_lora,
    save_adapter,
    set_adapter,
    unmerge_lora,
)
from minilora.methods.adapter_file import load_adapter
from minilora.models import RobertaForClassification
from minilora.ops.fast import rescale_backward
from models.tiny_encoders import BATCHES, tiny
from models.tiny_llama import tiny_llama

SHORT = some_batch(T=4)
C, F = CONFIG.d_model, CONFIG.d_mlp
EVERYWHERE = EVERY["ia3, everywhere"]


def logits(model):
    return model.forward(SHORT.ids)[0]


def test_keys_values_and_the_mlps_inner_activations_are_scaled_as_the_paper_says():
    model = tiny_gpt()
    apply_ia3(model, IA3Config())
    block = {name: p.shape for name, p in model.named_parameters() if p.trainable and name.startswith("blocks.0")}
    assert block == {"blocks.0.attn.k_proj.l": (C,), "blocks.0.attn.v_proj.l": (C,), "blocks.0.mlp.fc_out.l": (F,)}
    llama = tiny_llama()
    apply_ia3(llama, IA3Config())
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in trainable_names(llama)} == {
        "k_proj",
        "v_proj",
        "down_proj",
    }


def test_a_layer_that_both_name_has_its_inputs_scaled_as_in_peft():
    model = tiny_gpt()
    apply_ia3(model, IA3Config(("fc_in", "q_proj"), ("fc_in",)))
    scaled = {path.rpartition(".")[2]: layer.factors.of_inputs for path, layer in lora_layers(model).items()}
    assert scaled == {"q_proj": False, "fc_in": True}


@pytest.mark.parametrize("name", ["ia3", "ia3, everywhere"])
@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-5), ("float64", 1e-12)])
def test_merged_it_is_the_adapted_model_and_unmerged_the_base_to_the_bit(name, dtype, bound):
    model = tiny_adapted(EVERY[name], dtype)
    adapted, weights = logits(model), weights_of(model)
    merge_lora(model)
    assert np.allclose(logits(model), adapted, rtol=0, atol=bound)
    unmerge_lora(model)
    assert same_bits(weights_of(model), weights) and same_bits(logits(model), adapted)
    set_adapter(model, None)
    assert same_bits(logits(model), logits(tiny_gpt(dtype)))


def test_merging_that_forgets_the_bias_is_found(monkeypatch):
    """What the test above would miss in a Llama, which has no biases: W alone is not all that is scaled."""
    model = tiny_adapted(EVERY["ia3"])
    adapted = logits(model)
    monkeypatch.setattr(ia3.IA3Factors, "delta_bias", lambda self, bias: None)
    merge_lora(model)
    assert not np.allclose(logits(model), adapted, rtol=0, atol=1e-3)


def test_merged_for_good_it_is_a_plain_model_and_removed_the_base():
    model = tiny_adapted(EVERYWHERE)
    adapted = logits(model)
    merge_lora(model)
    remove_lora(model)
    assert not lora_layers(model) and np.allclose(logits(model), adapted, rtol=0, atol=1e-12)

    model = tiny_adapted(EVERYWHERE)
    remove_adapter(model, "ia3")
    assert same_bits(weights_of(model), weights_of(tiny_gpt()))


def test_a_file_knows_its_base_while_another_adapter_is_merged(tmp_path):
    model = tiny_adapted(EVERY["ia3"])
    save_adapter(model, tmp_path / "before")
    merge_lora(model)
    save_adapter(model, tmp_path / "merged")
    assert (tmp_path / "before").read_bytes() == (tmp_path / "merged").read_bytes()
    load_adapter(tiny_gpt(), tmp_path / "merged")


MUTANTS = {
    "dl zero": lambda dy, c: (rescale_backward(dy, c)[0], 0 * rescale_backward(dy, c)[1]),
    "dl of the last row": lambda dy, c: (rescale_backward(dy, c)[0], (dy * c.x)[-1, -1]),
    "dx without l": lambda dy, c: (dy, rescale_backward(dy, c)[1]),
}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_a_wrong_backward_fails_in_the_model(monkeypatch, mutant):
    model = tiny_adapted(EVERYWHERE)
    monkeypatch.setattr(ia3, "rescale_backward", mutant)
    with pytest.raises(GradientError):
        check_model(model, SHORT, rng=np.random.default_rng(4))


def test_the_bias_of_a_head_whose_outputs_are_scaled_is_scaled_with_them():
    """It is trained beside l: y = l * (x W^T + bias), so dbias = l * the sum of dy."""
    model = tiny(RobertaForClassification)
    apply_ia3(model, IA3Config(("dense", "out_proj")))
    for layer in (model.head.dense, model.head.out_proj):
        layer.factors.l.data += 0.3 * np.random.default_rng(5).standard_normal(layer.factors.l.shape)
    assert model.head.dense.base.bias.trainable
    check_model(model, BATCHES[RobertaForClassification][0], rng=np.random.default_rng(4))


def test_a_quantised_base_stays_as_it_is():
    model = tiny_llama(dtype="float32", head_size=8, n_layer=2, d_model=32, n_head=4, d_mlp=96)
    quantize(model, 8)
    base = model.forward(SHORT.ids)[0]
    apply_ia3(model, IA3Config())
    assert same_bits(model.forward(SHORT.ids)[0], base)
    _, cache = model.loss(SHORT)
    model.backward_loss(1.0, cache)
    assert all(p.grad is not None and p.grad.any() for p in model.trainable_parameters())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"targets": "q_proj"}, "targets was 'q_proj'; it must be several names"),
        ({"targets": ("magic",)}, "targets or feedforward named 'magic', which is not a linear layer"),
        ({"feedforward": ("wte",)}, "targets or feedforward named 'wte', which is not a linear layer"),
        ({"feedforward": "fc_in"}, "besides was 'fc_in'"),
    ],
)
def test_what_cannot_be_is_refused_and_the_model_stays_as_it_was(settings, message):
    model = tiny_gpt()
    with pytest.raises(ValueError, match=message):
        apply_ia3(model, IA3Config(**settings))
    assert adapter_names(model) == [] and same_bits(weights_of(model), weights_of(tiny_gpt()))

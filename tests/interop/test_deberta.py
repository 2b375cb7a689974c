"""DeBERTa from a Hugging Face folder: what transformers computed, to rounding; and what is refused, by name."""

import re

import numpy as np
import pytest
from safetensors.numpy import load_file

from interop.folders import GOLDEN as FOLDERS
from interop.folders import Folder
from minilora.data.classification import ClassificationBatch
from minilora.interop import load_deberta
from minilora.methods import LoRAConfig, apply_lora
from minilora.models import Deberta, DebertaForClassification
from minilora.ops.fast import cross_entropy_backward, cross_entropy_forward, log_bucket

NAME = "deberta_classification"
GOLDEN = FOLDERS / NAME
EXPECTED = load_file(GOLDEN / "expected.safetensors")


@pytest.fixture
def folder(tmp_path):
    return Folder(NAME, tmp_path / "deberta")


def reconfigure(folder, **changes):
    """Change config.json; None removes a key."""
    removed = [key for key, value in changes.items() if value is None]
    folder.configure(*removed, **changes)


def change_tensors(folder, change):
    tensors = folder.tensors
    change(tensors)
    folder.write(tensors)


# ---- what transformers computed


def test_logits_and_loss_are_those_of_transformers():
    model = load_deberta(GOLDEN, dtype="float64")
    logits, _ = model.forward(EXPECTED["ids"], EXPECTED["mask"])
    assert np.abs(logits - EXPECTED["logits"]).max() < 1e-10
    loss, _ = model.loss(ClassificationBatch(EXPECTED["ids"], EXPECTED["mask"] == 1, EXPECTED["targets"]))
    assert abs(loss - EXPECTED["loss"]) < 1e-10


def test_the_gradient_of_every_parameter_is_that_of_automatic_differentiation():
    model, expected = load_deberta(GOLDEN, dtype="float64"), load_deberta(GOLDEN / "gradients", dtype="float64")
    logits, cache = model.forward(EXPECTED["ids"], EXPECTED["mask"])
    _, loss_cache = cross_entropy_forward(logits, EXPECTED["targets"])
    model.backward(cross_entropy_backward(1.0, loss_cache), cache)
    assert len(model.parameters()) == 6 + 3 * 16 + 4 + 4
    for p, q in zip(model.parameters(), expected.parameters(), strict=True):
        size = np.linalg.norm(q.data)
        assert size > 1e-4, p.name
        assert np.linalg.norm(p.grad - q.data) < 1e-7 * size, p.name


def test_gradients_of_A_and_B_are_those_of_peft_which_sum_both_uses_of_q_and_k():
    theirs, model = load_file(GOLDEN / "lora.safetensors"), load_deberta(GOLDEN, dtype="float64")
    targets = ("q_proj", "k_proj", "v_proj")
    apply_lora(model, LoRAConfig(rank=2, alpha=3, targets=targets), rng=np.random.default_rng(0))
    layers = {
        f"{i}.{name}_proj": getattr(block.attn, f"{name[0]}_proj")
        for i, block in enumerate(model.encoder.blocks)
        for name in ("query", "key", "value")
    }
    for name, layer in layers.items():
        layer.A.data[...], layer.B.data[...] = theirs[f"{name}.A"], theirs[f"{name}.B"]
    logits, cache = model.forward(EXPECTED["ids"], EXPECTED["mask"])
    assert np.abs(logits - theirs["logits"]).max() < 1e-10
    assert np.abs(logits - EXPECTED["logits"]).max() > 0.1
    _, loss_cache = cross_entropy_forward(logits, EXPECTED["targets"])
    model.backward(cross_entropy_backward(1.0, loss_cache), cache)
    for name, layer in layers.items():
        for letter, ours in (("A", layer.A.grad), ("B", layer.B.grad)):
            grad = theirs[f"{name}.d{letter}"]
            assert np.linalg.norm(ours - grad) < 1e-7 * np.linalg.norm(grad), f"{name}.{letter}"


def test_the_golden_distances_fall_into_shared_buckets_and_beyond_the_table():
    c, T = load_deberta(GOLDEN).config, EXPECTED["ids"].shape[1]
    buckets = [log_bucket(distance, c.n_buckets, c.max_distance) for distance in range(T)]
    assert buckets[5] == buckets[6] == buckets[7]
    assert buckets[T - 1] > c.n_buckets - 1


def test_the_golden_folder_is_small():
    assert sum(file.stat().st_size for file in GOLDEN.rglob("*.*")) < 200_000


# ---- variants of one model


def logits_of(model):
    return model.forward(EXPECTED["ids"], EXPECTED["mask"])[0]


def test_dtype_is_what_was_asked_for():
    for dtype in ("float32", "float64"):
        model = load_deberta(GOLDEN, dtype=dtype)
        assert {p.data.dtype for p in model.parameters()} == {np.dtype(dtype)}
        assert all(p.trainable for p in model.parameters())
    assert np.allclose(logits_of(load_deberta(GOLDEN)), EXPECTED["logits"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("pos_att_type", ["p2c|c2p", "c2p|p2c", ["c2p", "p2c"]], ids=str)
def test_both_terms_may_be_named_in_any_order(folder, pos_att_type):
    reconfigure(folder, pos_att_type=pos_att_type)
    assert np.array_equal(logits_of(load_deberta(folder.path)), logits_of(load_deberta(GOLDEN)))


def test_the_longest_distance_may_be_named_by_itself(folder):
    reconfigure(folder, max_relative_positions=8, max_position_embeddings=512)
    assert np.array_equal(logits_of(load_deberta(folder.path)), logits_of(load_deberta(GOLDEN)))
    reconfigure(folder, max_relative_positions=20)
    assert load_deberta(folder.path).config.max_distance == 20


def without_a_head(tensors):
    for name in [name for name in tensors if not name.startswith("deberta.")]:
        del tensors[name]


def with_the_heads_of_pretraining(tensors):
    without_a_head(tensors)
    tensors["lm_predictions.lm_head.dense.weight"] = np.zeros((12, 12))
    tensors["mask_predictions.classifier.weight"] = np.zeros((1, 12))
    tensors["deberta.embeddings.position_embeddings.weight"] = np.zeros((8, 12))
    tensors["deberta.embeddings.position_ids"] = np.arange(8)[None]


def without_its_prefix(tensors):
    without_a_head(tensors)
    for name in list(tensors):
        tensors[name.removeprefix("deberta.")] = tensors.pop(name)


@pytest.mark.parametrize("change", [without_a_head, with_the_heads_of_pretraining, without_its_prefix])
@pytest.mark.parametrize("architectures", [None, ["DebertaV2Model"], ["DebertaV2ForMaskedLM"]], ids=str)
def test_without_a_classifier_it_is_an_encoder(folder, change, architectures):
    reconfigure(folder, architectures=architectures)
    change_tensors(folder, change)
    model, whole = load_deberta(folder.path), load_deberta(GOLDEN)
    assert type(model) is Deberta
    hidden, _ = model.forward(EXPECTED["ids"], EXPECTED["mask"])
    assert np.array_equal(hidden, whole.hidden(EXPECTED["ids"], EXPECTED["mask"])[0])


def test_with_a_classifier_it_is_a_classifier_if_architectures_says_nothing(folder):
    reconfigure(folder, architectures=None)
    assert type(load_deberta(folder.path)) is DebertaForClassification


@pytest.mark.parametrize("changes", [{"conv_kernel_size": 0}, {"conv_kernel_size": None, "conv_act": None}], ids=str)
def test_without_a_kernel_it_has_no_convolution_as_version_3(folder, changes):
    reconfigure(folder, **changes)

    def without_the_convolution(tensors):
        for name in [name for name in tensors if ".conv." in name]:
            del tensors[name]

    change_tensors(folder, without_the_convolution)
    model = load_deberta(folder.path)
    assert model.encoder.conv is None
    assert not np.allclose(logits_of(model), EXPECTED["logits"], atol=1e-3)


# ---- what is refused

REFUSED = {
    "legacy DeBERTa": ({"model_type": "deberta"}, "model_type was 'deberta'; it must be 'deberta-v2'"),
    "projections of their own": ({"share_att_key": False}, "share_att_key was False; it must be True"),
    "projections not named": ({"share_att_key": None}, "share_att_key was False"),
    "c2p alone": ({"pos_att_type": ["c2p"]}, "pos_att_type was ['c2p']; it must be ['p2c', 'c2p'] or"),
    "no term named": ({"pos_att_type": None}, "pos_att_type was None"),
    "p2p": ({"pos_att_type": "c2p|p2c|p2p"}, "pos_att_type was 'c2p|p2c|p2p'"),
    "no relative attention": ({"relative_attention": False}, "relative_attention was False"),
    "no relative attention by default": ({"relative_attention": None}, "relative_attention was False"),
    "relative embeddings as they are": ({"norm_rel_ebd": None}, "norm_rel_ebd was 'none'; it must be"),
    "absolute positions": ({"position_biased_input": True}, "position_biased_input was True"),
    "absolute positions by default": ({"position_biased_input": None}, "position_biased_input was True"),
    "token types": ({"type_vocab_size": 2}, "type_vocab_size was 2; it must be 0"),
    "another activation": ({"hidden_act": "gelu_new"}, "hidden_act was 'gelu_new'; it must be 'gelu'"),
    "another activation of the convolution": ({"conv_act": "tanh"}, "conv_act was 'tanh'; it must be 'gelu'"),
    "its default": ({"conv_act": None}, "conv_act was 'tanh'"),
    "another activation of the pooler": ({"pooler_hidden_act": "tanh"}, "pooler_hidden_act was 'tanh'"),
    "another width of the pooler": ({"pooler_hidden_size": 6}, "pooler_hidden_size was 6; it must be 12"),
    "groups": ({"conv_groups": 2}, "conv_groups was 2; it must be 1"),
    "an even kernel": ({"conv_kernel_size": 4}, "conv_kernel_size was 4; it must be odd, or 0 for no convolution"),
    "narrow embeddings": ({"embedding_size": 6}, "embedding_size was 6; it must be 12"),
    "wide heads": ({"attention_head_size": 6}, "attention_head_size was 6; it must be 3"),
    "no buckets": ({"position_buckets": None}, "position_buckets was -1; it must be an integer of at least 2"),
    "a short distance": ({"max_position_embeddings": 4}, "max_distance was 4; with n_buckets = 7 it must be"),
    "heads that do not divide": ({"num_attention_heads": 5}, "n_head was 5; it must divide d_model = 12"),
    "another head": (
        {"architectures": ["DebertaV2ForTokenClassification"]},
        "architectures was ['DebertaV2ForTokenClassification']; it must be ['DebertaV2Model'] or",
    ),
    "pruned": ({"pruned_heads": {"0": [1]}}, "pruned_heads was {'0': [1]}; it must be {} or None"),
    "quantized": ({"quantization_config": {"bits": 4}}, "quantization_config was {'bits': 4}"),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_model_that_computes_something_else_is_refused_by_name(folder, changes, message):
    reconfigure(folder, **changes)
    with pytest.raises(ValueError, match=re.escape(f"config.json: {message}")):
        load_deberta(folder.path)


def missing(tensors):
    del tensors["deberta.encoder.rel_embeddings.weight"]


def extra(tensors):
    tensors["deberta.encoder.layer.0.attention.self.pos_key_proj.weight"] = np.zeros((12, 12))


def misshapen(tensors):
    tensors["deberta.encoder.conv.conv.weight"] = np.zeros((12, 12, 5))


def another_number_of_classes(tensors):
    tensors["classifier.weight"] = np.zeros((3, 12))


WRONG_TENSORS = [
    (missing, "lacks the tensor encoder.rel_embeddings.weight"),
    (
        extra,
        "model.safetensors holds deberta.encoder.layer.0.attention.self.pos_key_proj.weight, which the model has no",
    ),
    (misshapen, "deberta.encoder.conv.conv.weight has shape (12, 12, 5); config.json asks for (12, 12, 3)"),
    (another_number_of_classes, "classifier.weight has shape (3, 12); config.json asks for (5, 12)"),
]


@pytest.mark.parametrize(("change", "message"), WRONG_TENSORS, ids=[change.__name__ for change, _ in WRONG_TENSORS])
def test_a_wrong_tensor_is_refused_by_name(folder, change, message):
    change_tensors(folder, change)
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        load_deberta(folder.path)
    assert str(folder.path) in str(error.value)

"""RoBERTa from a Hugging Face folder: which model it becomes, its variants on the hub, and what is refused by name."""

import re

import numpy as np
import pytest

from interop.folders import Folder
from minilora.interop import load_roberta
from minilora.models import Roberta, RobertaForClassification, RobertaForMaskedLM

IDS = np.array([[3, 7, 4, 8, 1, 1], [5, 9, 2, 6, 11, 1]])
MASK = IDS != 1
NAMES = {"roberta_classification": RobertaForClassification, "roberta_masked_lm": RobertaForMaskedLM}


@pytest.fixture(params=NAMES)
def folder(request, tmp_path):
    return Folder(request.param, tmp_path / request.param)


@pytest.fixture
def classifier(tmp_path):
    return Folder("roberta_classification", tmp_path / "classifier")


@pytest.fixture
def masked_lm(tmp_path):
    return Folder("roberta_masked_lm", tmp_path / "masked_lm")


def logits_of(folder):
    return load_roberta(folder.path, dtype="float64").forward(IDS, MASK)[0]


def pooler():
    return {"roberta.pooler.dense.weight": np.ones((12, 12)), "roberta.pooler.dense.bias": np.ones(12)}


def without_head(folder):
    folder.write({name: array for name, array in folder.tensors.items() if name.startswith("roberta.")})


# ---- which model


def test_architectures_says_what_it_becomes(folder):
    assert type(load_roberta(folder.path)) is NAMES[folder.path.name]


def test_without_architectures_the_tensors_say_it(folder):
    folder.configure("architectures")
    assert type(load_roberta(folder.path)) is NAMES[folder.path.name]
    without_head(folder)
    assert type(load_roberta(folder.path)) is Roberta


def test_a_bare_encoder_gives_what_the_heads_read(masked_lm):
    expected, _ = load_roberta(masked_lm.path, dtype="float64").hidden(IDS, MASK)
    masked_lm.configure(architectures=["RobertaModel"])
    masked_lm.change(**pooler())
    encoder = load_roberta(masked_lm.path, dtype="float64")
    assert type(encoder) is Roberta
    assert np.array_equal(encoder.hidden(IDS, MASK)[0], expected)


@pytest.mark.parametrize("architectures", [["RobertaForTokenClassification"], [], ["RobertaModel", "RobertaModel"], 3])
def test_another_architecture_is_refused(folder, architectures):
    folder.configure(architectures=architectures)
    with pytest.raises(ValueError, match=re.escape(f"config.json: architectures was {architectures!r}; ")):
        load_roberta(folder.path)


# ---- variants


def test_the_prefix_may_be_missing_and_what_is_not_used_present(folder):
    expected = logits_of(folder)
    folder.rename(lambda name: name.removeprefix("roberta."))
    folder.change(**{name.removeprefix("roberta."): array for name, array in pooler().items()})
    folder.change(embeddings__position_ids=np.arange(11)[None])
    assert np.array_equal(logits_of(folder), expected)


def test_a_classifier_may_bring_the_head_that_it_was_pretrained_with(classifier, masked_lm):
    expected = logits_of(classifier)
    head = {name: array for name, array in masked_lm.tensors.items() if name.startswith("lm_head.")}
    classifier.change(**head, lm_head__decoder__weight=np.ones((23, 12)), lm_head__decoder__bias=np.ones(23))
    assert np.array_equal(logits_of(classifier), expected)


def test_a_decoder_that_equals_the_embedding_is_tied_to_it(masked_lm):
    expected, tensors = logits_of(masked_lm), masked_lm.tensors
    copies = {
        "lm_head.decoder.weight": tensors["roberta.embeddings.word_embeddings.weight"],
        "lm_head.decoder.bias": tensors["lm_head.bias"],
    }
    masked_lm.change(**copies)
    assert np.array_equal(logits_of(masked_lm), expected)
    for name in copies:
        masked_lm.change(**copies | {name: copies[name] + 1e-9})
        with pytest.raises(ValueError, match=f"{name} differs from .*, to which minilora ties it"):
            load_roberta(masked_lm.path)


def test_further_token_types_are_kept_and_not_used(folder):
    expected, name = logits_of(folder), "roberta.embeddings.token_type_embeddings.weight"
    folder.configure(type_vocab_size=2)
    folder.change(**{name: np.concatenate((folder.tensors[name], np.full((1, 12), 7.0)))})
    assert np.array_equal(logits_of(folder), expected)


@pytest.mark.parametrize("pad_id", [0, 3])
def test_the_id_of_padding_is_that_of_the_configuration(folder, pad_id):
    folder.configure(pad_token_id=pad_id)
    model = load_roberta(folder.path, dtype="float64")
    assert model.config.pad_id == pad_id and model.config.n_positions == 11 - pad_id - 1


def test_the_epsilon_is_that_of_the_configuration_or_the_one_that_transformers_takes(folder):
    assert load_roberta(folder.path).config.layer_norm_eps == 1e-5
    folder.configure("layer_norm_eps")
    assert load_roberta(folder.path).config.layer_norm_eps == 1e-12


def test_classes_are_counted_by_num_labels_or_by_their_names(classifier):
    assert load_roberta(classifier.path).config.n_classes == 6
    classifier.configure("id2label", num_labels=6)
    assert load_roberta(classifier.path).config.n_classes == 6
    classifier.configure("num_labels")
    message = "classifier.out_proj.weight has shape (6, 12); config.json asks for (2, 12)"
    with pytest.raises(ValueError, match=re.escape(message)):
        load_roberta(classifier.path)


# ---- refused by name

REFUSED = {
    "model_type": "bert",
    "hidden_act": "gelu_new",
    "position_embedding_type": "relative_key",
    "is_decoder": True,
    "add_cross_attention": True,
    "pruned_heads": {"1": [0]},
    "quantization_config": {"bits": 4},
    "hidden_size": None,
    "pad_token_id": None,
    "max_position_embeddings": 2,
    "type_vocab_size": 0,
    "intermediate_size": [20],
}


@pytest.mark.parametrize(("key", "value"), REFUSED.items(), ids=REFUSED.keys())
def test_what_changes_the_computation_or_cannot_be_is_refused_by_name(folder, key, value):
    folder.configure(**{key: value})
    with pytest.raises(ValueError, match=re.escape(f"config.json: {key} was {value!r}; ")):
        load_roberta(folder.path)


def test_an_untied_decoder_is_refused_where_there_is_one(masked_lm, classifier):
    for folder in (masked_lm, classifier):
        folder.configure(tie_word_embeddings=False)
    with pytest.raises(ValueError, match="config.json: tie_word_embeddings was False"):
        load_roberta(masked_lm.path)
    load_roberta(classifier.path)


def test_the_head_of_another_task_is_refused(masked_lm):
    masked_lm.change(qa_outputs__weight=np.ones((2, 12)))
    with pytest.raises(ValueError, match="holds qa_outputs.weight, which the model has no place for"):
        load_roberta(masked_lm.path)

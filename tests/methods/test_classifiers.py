"""What holds for every method on both kinds of classifiers: gradients, the new head, the file, what stays frozen."""

import numpy as np
import pytest

from methods.classifiers import MODELS, batch_of
from methods.every import EVERY
from methods.tiny import gradients_of, rng, same_bits, tiny_lora, trainable_names, weights_of
from minilora.gradcheck import GradientError, check_model
from minilora.methods import HeadConfig, apply_method, classes_in, load_adapter, method_of, save_adapter
from minilora.methods.houlsby import HoulsbySublayer
from minilora.training import AdamW, loss_and_backward
from models.tiny_encoders import tiny

METHODS = {
    "head": HeadConfig(),
    **{name: config for name, config in EVERY.items() if name != "prompt-tuning"},
}
CASES = [(kind, name) for kind in MODELS for name in METHODS if kind == "roberta" or "prefix" not in name]
each_case = pytest.mark.parametrize(("kind", "name"), CASES, ids=map(": ".join, CASES))
each_model = pytest.mark.parametrize("kind", MODELS)
HEAD = ["head.dense.W", "head.dense.bias", "head.out_proj.W", "head.out_proj.bias"]


def adapted(kind, method, learned=True):
    model_class, config, _ = MODELS[kind]
    model = tiny(model_class, config=config)
    apply_method(model, method, rng=rng(1), batches=[batch_of(kind)])
    if learned:
        for p in model.trainable_parameters():
            p.data += 0.3 * rng(len(p.name)).standard_normal(p.data.shape)
    return model


def check(kind, model):
    return check_model(model, batch_of(kind), rng=rng(4))


@each_case
def test_gradients_are_slopes(kind, name):
    if name == "dora":
        pytest.skip("its norm counts as a constant")
    check(kind, adapted(kind, METHODS[name]))


@each_case
def test_the_head_is_trained_and_what_is_trainable_gets_a_gradient(kind, name):
    model = adapted(kind, METHODS[name])
    assert trainable_names(model)[-len(HEAD) :] == HEAD
    assert list(gradients_of(model, batch_of(kind))) == trainable_names(model)


@each_case
def test_training_lowers_the_loss_and_leaves_what_is_frozen_to_the_bit(kind, name):
    model = adapted(kind, METHODS[name], learned=False)
    before, optimizer = weights_of(model), AdamW(model.parameters(), lr=0.01)
    losses = []
    for _ in range(6):
        model.zero_grad()
        losses.append(float(loss_and_backward(model, batch_of(kind))))
        optimizer.step()
    assert losses[-1] < losses[0]
    after, trained = weights_of(model), set(trainable_names(model))
    assert all(same_bits(before[name], after[name]) for name in before if name not in trained)


@each_case
def test_the_file_holds_all_of_it_and_the_head(kind, name, tmp_path):
    model, method = adapted(kind, METHODS[name]), METHODS[name]
    save_adapter(model, tmp_path / "adapter.safetensors")
    model_class, config, _ = MODELS[kind]
    other = tiny(model_class, config=config)
    load_adapter(other, tmp_path / "adapter.safetensors")
    texts = batch_of(kind)[:2]
    logits, same = (m.forward(*texts)[0] for m in (model, other))
    assert same_bits(logits, same) and trainable_names(other) == trainable_names(model)
    assert type(method_of(other)) is type(method)
    assert not np.allclose(logits, tiny(model_class, config=config).forward(*texts)[0])


# ---- what was wrong with adapters around DeBERTa's attention, which has a second gradient to give


@pytest.mark.parametrize("trainable", ["wre", "ln_r"])
def test_relative_embeddings_learn_through_adapters_around_the_attention(trainable):
    model = adapted("deberta", METHODS["adapter-h"])
    for p in getattr(model.encoder, trainable).parameters():
        p.trainable = True
    check("deberta", model)


def test_below_the_lowest_adapter_of_deberta_nothing_is_differentiated():
    model = adapted("deberta", METHODS["adapter-d"])
    model.encoder.blocks[0].attn.backward = None  # to be called it would have to be a function
    gradients_of(model, batch_of("deberta"))


def test_without_the_shortcut_around_the_adapter_the_check_fails(monkeypatch):
    def without_the_shortcut(self, dy, cache):
        return self.base.backward(self.adapter.backward(dy, cache.adapter), cache.base)

    monkeypatch.setattr(HoulsbySublayer, "backward", without_the_shortcut)
    with pytest.raises(GradientError):
        check("deberta", adapted("deberta", METHODS["adapter-h"]))


def test_only_a_classifier_has_a_head_that_is_new():
    model_class, config, _ = MODELS["roberta"]
    encoder = tiny(model_class, config=config).encoder
    before = trainable_names(encoder)
    with pytest.raises(ValueError, match="model was a Roberta, which has no new head; it must be a classifier"):
        apply_method(encoder, HeadConfig())
    assert trainable_names(encoder) == before


@each_model
def test_a_file_says_how_many_classes_its_head_tells_apart(kind, tmp_path):
    save_adapter(adapted(kind, EVERY["lora"]), tmp_path / "encoder")
    save_adapter(tiny_lora(), tmp_path / "decoder")
    assert classes_in(tmp_path / "encoder") == MODELS[kind][1].n_classes
    assert classes_in(tmp_path / "decoder") is None

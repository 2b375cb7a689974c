"""The gradients of RoBERTa's models: right with padding, for every choice of what is trained, and no more."""

import numpy as np
import pytest

from minilora.gradcheck import GradientError, check_model
from minilora.layers import Activation, Embedding, PostLNBlock
from minilora.methods import LoRAConfig, apply_lora, lora_layers, merge_lora, unmerge_lora
from minilora.models import Roberta, RobertaForClassification, RobertaForMaskedLM
from minilora.models.classification import ClassificationHead
from minilora.models.masked_lm import MaskedLMHead
from minilora.ops.fast import attention_backward, cross_entropy_backward, cross_entropy_forward, gelu_tanh_forward
from models.calls import count_calls
from models.tiny_encoders import ALL, BATCHES, COUNTED, HEADED, IDS, MASK, TARGETS, rng, tiny

EVERYWHERE = ("q_proj", "k_proj", "v_proj", "o_proj", "fc_in", "fc_out")


def objective(model_class):
    """What cross-entropy takes; a bare encoder's 12 channels are taken for logits."""
    return BATCHES[model_class][1] if model_class in BATCHES else (TARGETS % 12, COUNTED)


class WithALoss:
    """A bare encoder with the cross-entropy of its result: it has no loss of its own."""

    def __init__(self, model):
        self.model = model

    def loss(self, batch):
        x, cache = self.model.forward(IDS, MASK)
        loss, loss_cache = cross_entropy_forward(x, *batch)
        return loss, (cache, loss_cache)

    def backward_loss(self, dloss, cache):
        self.model.backward(cross_entropy_backward(dloss, cache[1]), cache[0])

    def __getattr__(self, name):
        return getattr(self.model, name)


def check(model):
    if type(model) is Roberta:
        return check_model(WithALoss(model), objective(Roberta), rng=rng(1))
    return check_model(model, BATCHES[type(model)][0], rng=rng(1))


def gradients(model):
    """The gradients of one forward and backward, by name."""
    model.zero_grad()
    logits, cache = model.forward(IDS, MASK)
    _, loss_cache = cross_entropy_forward(logits, *objective(type(model)))
    model.backward(cross_entropy_backward(1.0, loss_cache), cache)
    return {name: p.grad for name, p in model.named_parameters()}


def train_only(model, chosen):
    model.freeze()
    for name, p in model.named_parameters():
        p.trainable = chosen(name)


def array_leaves(tree):
    """All arrays in nested tuples."""
    if isinstance(tree, tuple):
        for item in tree:
            yield from array_leaves(item)
    elif isinstance(tree, np.ndarray):
        yield tree


# ---- right


@pytest.mark.parametrize("model_class", ALL)
def test_every_parameter_passes_with_padding(model_class):
    model = tiny(model_class)
    assert list(check(model)) == [name for name, _ in model.named_parameters()]


@pytest.mark.parametrize("trained", ["", "encoder.blocks.1.attn", "encoder.wpe", "head", "encoder.wte"])
@pytest.mark.parametrize("model_class", HEADED)
def test_loss_gives_what_forward_and_cross_entropy_give(model_class, trained):
    model = tiny(model_class)
    train_only(model, lambda name: name.startswith(trained))
    expected = gradients(model)
    expected_loss, _ = cross_entropy_forward(model.forward(IDS, MASK)[0], *objective(model_class))
    model.zero_grad()
    loss, cache = model.loss(BATCHES[model_class][0])
    model.backward_loss(0.5, cache)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-13)
    for name, p in model.named_parameters():
        if expected[name] is None:
            assert p.grad is None
        else:
            np.testing.assert_allclose(p.grad, 0.5 * expected[name], atol=1e-13)


@pytest.mark.parametrize("model_class", HEADED)
def test_no_gradient_shares_memory_with_another_or_with_a_cache(model_class):
    model = tiny(model_class)
    _, cache = model.loss(BATCHES[model_class][0])
    model.backward_loss(1.0, cache)
    grads = [p.grad for p in model.parameters()]
    others = [p.data for p in model.parameters()] + list(array_leaves(cache))
    for i, grad in enumerate(grads):
        assert not any(np.shares_memory(grad, other) for other in grads[:i] + others)


def test_a_forward_in_between_does_not_disturb_a_backward():
    model, other = tiny(RobertaForMaskedLM), tiny(RobertaForMaskedLM)
    expected = gradients(other)
    logits, cache = model.forward(IDS, MASK)
    _, loss_cache = cross_entropy_forward(logits, TARGETS, COUNTED)
    model.forward(IDS[:1, ::-1])
    model.backward(cross_entropy_backward(1.0, loss_cache), cache)
    for name, p in model.named_parameters():
        assert np.array_equal(p.grad, expected[name]), name


def test_padding_and_unused_types_get_no_gradient():
    for name, grad in gradients(tiny(RobertaForClassification)).items():
        if name in ("encoder.wte.W", "encoder.wpe.W", "encoder.wtt.W"):
            assert np.abs(grad[0]).max() > (1e-3 if name != "encoder.wpe.W" else -1.0)
            assert np.allclose(grad[1], 0.0, rtol=0, atol=1e-15)  # of the id, the position, and the type 1


# ---- with LoRA


@pytest.mark.parametrize("model_class", ALL)
def test_every_A_and_B_passes(model_class):
    model = tiny(model_class)
    apply_lora(model, LoRAConfig(rank=2, alpha=3, targets=EVERYWHERE), rng=rng(2))
    assert len(lora_layers(model)) == 2 * len(EVERYWHERE)
    before = model.forward(IDS, MASK)[0]
    for layer in lora_layers(model).values():
        layer.B.data[...] = rng(3).standard_normal(layer.B.data.shape)
    slopes = check(model)
    assert len([name for name in slopes if name.endswith((".A", ".B"))]) == 2 * 2 * len(EVERYWHERE)
    adapted = model.forward(IDS, MASK)[0]
    merge_lora(model)
    assert np.allclose(model.forward(IDS, MASK)[0], adapted, rtol=0, atol=1e-12)
    unmerge_lora(model)
    assert np.array_equal(model.forward(IDS, MASK)[0], adapted)
    assert not np.allclose(before, adapted)


# ---- wrong, and caught


def block_without_the_residual(self, dy, cache):
    dx = self.mlp.backward(self.ln_2.backward(dy, cache.ln_2), cache.mlp)
    return self.attn.backward(self.ln_1.backward(dx, cache.ln_1), cache.attn)


def block_that_is_pre_ln(self, dy, cache):
    dx = dy + self.mlp.backward(self.ln_2.backward(dy, cache.ln_2), cache.mlp)
    return dx + self.attn.backward(self.ln_1.backward(dx, cache.ln_1), cache.attn)


def head_that_reads_the_last_position(self, dlogits, cache):
    return np.roll(head_backward(self, dlogits, cache), -1, axis=1)


def decoder_that_is_not_tied(self, dlogits, cache):
    before = None if self.W.grad is None else self.W.grad.copy()
    dx = masked_lm_backward(self, dlogits, cache)
    self.W.grad = before
    return dx


def attention_that_forgets_the_mask(dy, cache):
    tiles = tuple((*where, np.full_like(probs, 1.0 / probs.shape[-1])) for *where, probs in cache.tiles)
    return attention_backward(dy, cache._replace(tiles=tiles))


def without_the_slope_of(name):
    def backward(self, dy, cache):
        return dy if self.name == name else activation_backward(self, dy, cache)

    return backward


def types_counted_once_a_batch(self, dy, cache):
    embedding_backward(self, dy / IDS.size if cache.ids.shape == (1,) else dy, cache)


activation_backward, embedding_backward = Activation.backward, Embedding.backward
head_backward, masked_lm_backward = ClassificationHead.backward, MaskedLMHead.backward
CLASSIFIER, MASKED_LM = RobertaForClassification, RobertaForMaskedLM
MUTANTS = {
    "a block without the residual": (CLASSIFIER, PostLNBlock, "backward", block_without_the_residual, "blocks.0.attn"),
    "a block differentiated as pre-LN": (CLASSIFIER, PostLNBlock, "backward", block_that_is_pre_ln, "blocks.0.attn"),
    "the wrong position": (
        CLASSIFIER,
        ClassificationHead,
        "backward",
        head_that_reads_the_last_position,
        "blocks.1.ln_2.gain",
    ),
    "no tanh": (CLASSIFIER, Activation, "backward", without_the_slope_of("tanh"), "head.dense.W"),
    "no gelu": (MASKED_LM, Activation, "backward", without_the_slope_of("gelu"), "head.dense.W"),
    "a decoder that is not tied": (MASKED_LM, MaskedLMHead, "backward", decoder_that_is_not_tied, "encoder.wte.W"),
    "the other gelu's slope": (
        Roberta,
        Activation,
        "backward",
        lambda self, dy, cache: dy * gelu_tanh_forward(cache.slope)[1].slope,
        "blocks.0.mlp.fc_in.W",
    ),
    "attention that forgets the mask": (
        MASKED_LM,
        "minilora.layers.attention",
        "attention_backward",
        attention_that_forgets_the_mask,
        "blocks.1.attn.v_proj.W",
    ),
    "types counted once a batch": (Roberta, Embedding, "backward", types_counted_once_a_batch, "wtt.W"),
}


@pytest.mark.parametrize(("model_class", "owner", "name", "mutant", "parameter"), MUTANTS.values(), ids=MUTANTS.keys())
def test_a_model_with_a_wrong_backward_fails_and_the_parameter_is_named(
    monkeypatch, model_class, owner, name, mutant, parameter
):
    if isinstance(owner, str):
        monkeypatch.setattr(f"{owner}.{name}", mutant)
    else:
        monkeypatch.setattr(owner, name, mutant)
    with pytest.raises(GradientError, match=rf"{parameter}.*: backward says .*, the loss's slope is .*, bound "):
        check(tiny(model_class))


# ---- no more than was asked for

CHOICES = {
    "the head": lambda name: name.startswith("head"),
    "out_proj": lambda name: name.startswith("head.out_proj"),
    "the last ln_2": lambda name: name.startswith("encoder.blocks.1.ln_2"),
    "one bias of q": lambda name: name == "encoder.blocks.0.attn.q_proj.bias",
    "the last block": lambda name: name.startswith("encoder.blocks.1."),
    "the first block": lambda name: name.startswith("encoder.blocks.0."),
    "ln_e": lambda name: name.startswith("encoder.ln_e"),
    "wpe": lambda name: name == "encoder.wpe.W",
    "all biases": lambda name: name.endswith("bias"),
    "nothing": lambda name: False,
}


@pytest.mark.parametrize("chosen", CHOICES.values(), ids=CHOICES.keys())
@pytest.mark.parametrize("model_class", HEADED)
def test_gradients_do_not_depend_on_what_else_is_trainable(model_class, chosen):
    expected = gradients(tiny(model_class))
    model = tiny(model_class)
    train_only(model, chosen)
    for name, grad in gradients(model).items():
        assert np.allclose(grad, expected[name], rtol=0, atol=1e-12) if chosen(name) else grad is None


@pytest.fixture
def calls(monkeypatch):
    """Count the gradients of weights, and the blocks that were visited."""
    return count_calls(
        monkeypatch,
        {
            "layers.linear.linear_backward": ("dx", "dW", "dbias"),
            "layers.layernorm.layernorm_backward": ("dx of a LayerNorm", "dgain", "dbias of a LayerNorm"),
            "layers.attention.attention_backward": "attention",
            "layers.embedding.embedding_backward": "embedding",
            "models.masked_lm.linear_backward": ("dx of the decoder", "dW of the decoder", "dbias of the decoder"),
        },
    )


#                        linear     layernorm
#                        dW dbias   dgain dbias  blocks  embedding
ASKED_FOR = {
    "the head":         ((2, 2),    (0, 0),      0, 0),
    "out_proj":         ((1, 1),    (0, 0),      0, 0),
    "the last ln_2":    ((0, 0),    (1, 1),      1, 0),
    "one bias of q":    ((0, 1),    (0, 0),      2, 0),
    "the last block":   ((6, 6),    (2, 2),      1, 0),
    "the first block":  ((6, 6),    (2, 2),      2, 0),
    "ln_e":             ((0, 0),    (1, 1),      2, 0),
    "wpe":              ((0, 0),    (0, 0),      2, 1),
    "all biases":       ((0, 14),   (0, 5),      2, 0),
    "nothing":          ((0, 0),    (0, 0),      0, 0),
}  # fmt: skip


@pytest.mark.parametrize(("choice", "expected"), ASKED_FOR.items(), ids=ASKED_FOR.keys())
def test_a_frozen_weight_gets_no_gradient_and_a_block_below_the_lowest_trainable_one_no_visit(calls, choice, expected):
    model = tiny(RobertaForClassification)
    train_only(model, CHOICES[choice])
    gradients(model)
    linear, layernorm = (calls["dW"], calls["dbias"]), (calls["dgain"], calls["dbias of a LayerNorm"])
    assert (linear, layernorm, calls["attention"], calls["embedding"]) == expected


@pytest.mark.parametrize("trained", ["encoder.wte.W", "head.bias", "head.dense.bias"])
def test_a_frozen_decoder_of_masked_tokens_gets_no_gradient(calls, trained):
    model = tiny(RobertaForMaskedLM)
    train_only(model, lambda name: name == trained)
    gradients(model)
    decoder = {name: calls[f"{name} of the decoder"] for name in ("dx", "dW", "dbias")}
    assert decoder == {"dx": 1, "dW": trained == "encoder.wte.W", "dbias": trained == "head.bias"}


def test_nothing_below_the_lowest_trainable_parameter_runs(monkeypatch):
    visited, original = [], PostLNBlock.backward

    def backward_of_a_block(self, *args, **options):
        visited.append(self)
        return original(self, *args, **options)

    monkeypatch.setattr(PostLNBlock, "backward", backward_of_a_block)
    model = tiny(RobertaForClassification)
    train_only(model, CHOICES["the last block"])
    gradients(model)
    assert visited == [model.encoder.blocks[1]]

"""The gradients of a whole DeBERTa: right, for every choice of trainable parameters, and no more than was asked for."""

from dataclasses import replace

import numpy as np
import pytest

from minilora.gradcheck import GradientError, check_model
from minilora.layers import Activation, ConvLayer, DebertaBlock
from minilora.methods import LoRAConfig, apply_lora
from minilora.models import Deberta
from minilora.ops.fast import cross_entropy_backward, cross_entropy_forward, disentangled_attention_backward
from models.calls import count_calls
from models.tiny_deberta import BATCH, CONFIG, IDS, LABELS, MASK, WITHOUT_CONV, tiny_classifier
from models.tiny_encoders import rng

SHAPES = {
    "convolution": CONFIG,
    "no convolution": WITHOUT_CONV,
    "one block": replace(CONFIG, n_layer=1),
    "one block, no convolution": replace(WITHOUT_CONV, n_layer=1),
}


def check(model, mask=MASK):
    return check_model(model, BATCH._replace(padding_mask=mask), rng=rng(1))


def train_only(model, chosen):
    model.freeze()
    for name, p in model.named_parameters():
        p.trainable = chosen(name)


def gradients(model, mask=MASK):
    """One forward and backward; the gradients by name."""
    model.zero_grad()
    logits, cache = model.forward(IDS, mask)
    _, loss_cache = cross_entropy_forward(logits, LABELS)
    model.backward(cross_entropy_backward(1.0, loss_cache), cache)
    return {name: p.grad for name, p in model.named_parameters()}


def array_leaves(tree):
    """All arrays in nested tuples."""
    if isinstance(tree, tuple):
        for item in tree:
            yield from array_leaves(item)
    elif isinstance(tree, np.ndarray):
        yield tree


# ---- right


@pytest.mark.parametrize("mask", [MASK, None], ids=["padding", "no mask"])
@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES.keys())
def test_every_parameter_passes(config, mask):
    model = tiny_classifier(config=config)
    assert list(check(model, mask)) == [name for name, _ in model.named_parameters()]


def test_the_bias_of_k_has_a_gradient_here_for_it_shifts_what_q_rel_sees():
    grads = gradients(tiny_classifier())
    assert np.linalg.norm(grads["encoder.blocks.1.attn.k_proj.bias"]) > 1e-4


def test_loss_gives_what_forward_and_cross_entropy_give():
    model = tiny_classifier()
    expected = gradients(model)
    model.zero_grad()
    loss, cache = model.loss(BATCH)
    model.backward_loss(0.5, cache)
    assert loss == cross_entropy_forward(model.forward(IDS, MASK)[0], LABELS)[0]
    assert all(np.allclose(p.grad, 0.5 * expected[name], rtol=0, atol=1e-14) for name, p in model.named_parameters())


def test_padding_moves_nothing_whatever_token_stands_there():
    expected, model = gradients(tiny_classifier()), tiny_classifier()
    logits, cache = model.forward(np.where(MASK, IDS, 10), MASK)
    model.backward(cross_entropy_backward(1.0, cross_entropy_forward(logits, LABELS)[1]), cache)
    assert not model.encoder.wte.W.grad[10].any()
    assert all(np.array_equal(p.grad, expected[name]) for name, p in model.named_parameters())


def test_no_gradient_shares_memory_with_another_or_with_a_cache():
    model = tiny_classifier()
    logits, cache = model.forward(IDS, MASK)
    _, loss_cache = cross_entropy_forward(logits, LABELS)
    model.backward(cross_entropy_backward(1.0, loss_cache), cache)
    grads = [p.grad for p in model.parameters()]
    others = [p.data for p in model.parameters()] + list(array_leaves(cache)) + list(array_leaves(loss_cache))
    for i, grad in enumerate(grads):
        assert not any(np.shares_memory(grad, other) for other in grads[:i] + others)


def test_a_backward_changes_nothing_in_its_cache_and_a_second_one_doubles():
    model = tiny_classifier()
    logits, cache = model.forward(IDS, MASK)
    before = [array.tobytes() for array in array_leaves(cache)]
    dlogits = rng(2).standard_normal(logits.shape)
    model.backward(dlogits, cache)
    assert [array.tobytes() for array in array_leaves(cache)] == before
    once = [p.grad.copy() for p in model.parameters()]
    model.backward(dlogits, cache)
    assert all(np.allclose(p.grad, 2.0 * g, rtol=1e-13, atol=0) for p, g in zip(model.parameters(), once, strict=True))


CHOICES = {
    "the classifier": lambda name: name == "head.out_proj.W",
    "the head": lambda name: name.startswith("head."),
    "the last fc_out.W": lambda name: name == "encoder.blocks.2.mlp.fc_out.W",
    "a gain of the last block": lambda name: name == "encoder.blocks.2.ln_1.gain",
    "o of the last block": lambda name: name == "encoder.blocks.2.attn.o_proj.W",
    "one bias of q": lambda name: name == "encoder.blocks.1.attn.q_proj.bias",
    "the convolution's W": lambda name: name == "encoder.conv.W",
    "the convolution's LayerNorm": lambda name: name.startswith("encoder.conv.ln"),
    "the first block": lambda name: name.startswith("encoder.blocks.0."),
    "relative embeddings": lambda name: name == "encoder.wre.W",
    "the gain of relative embeddings": lambda name: name == "encoder.ln_r.gain",
    "token embeddings": lambda name: name == "encoder.wte.W",
    "the bias of token embeddings": lambda name: name == "encoder.ln_e.bias",
    "all biases": lambda name: name.endswith("bias"),
    "nothing": lambda name: False,
}


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("chosen", CHOICES.values(), ids=CHOICES.keys())
def test_gradients_do_not_depend_on_what_else_is_trainable(config, chosen):
    expected = gradients(tiny_classifier(config=config))
    model = tiny_classifier(config=config)
    train_only(model, chosen)
    for name, grad in gradients(model).items():
        assert np.allclose(grad, expected[name], rtol=0, atol=1e-12) if chosen(name) else grad is None


# ---- LoRA, whose q_proj and k_proj act on tokens and on relative embeddings

LORA = LoRAConfig(rank=2, alpha=3, targets=("q_proj", "v_proj"))
EVERYWHERE = LoRAConfig(rank=2, alpha=3, targets=("q_proj", "k_proj", "v_proj", "o_proj", "fc_in", "fc_out"))


def adapted(config=LORA):
    model = tiny_classifier()
    apply_lora(model, config, rng=rng(5))
    for name, p in model.named_parameters():
        if name.endswith(".B"):
            p.data[...] = rng(6).standard_normal(p.data.shape)
    return model


@pytest.mark.parametrize("config", [LORA, EVERYWHERE], ids=["q and v", "everywhere"])
def test_every_factor_of_an_adapter_passes(config):
    slopes = check(adapted(config))
    assert len([name for name in slopes if name.endswith((".A", ".B"))]) == 3 * len(config.targets) * 2


def uses_of_q(model, monkeypatch):
    """What q_proj of block 1 gets in a backward: (its cache, dy), of tokens and of relative embeddings."""
    uses, layer = [], model.encoder.blocks[1].attn.q_proj
    backward = layer.backward

    def spy(dy, cache):
        uses.append((cache, dy))
        return backward(dy, cache)

    monkeypatch.setattr(layer, "backward", spy)
    gradients(model)
    return uses


def test_dA_and_dB_of_q_sum_what_tokens_and_what_relative_embeddings_say(monkeypatch):
    model = adapted()
    tokens, relative = uses_of_q(model, monkeypatch)
    assert tokens[1].shape == (2, 9, 12) and relative[1].shape == (14, 12)

    layer = model.encoder.blocks[1].attn.q_proj
    dA, dB = 0.0, 0.0
    for cache, dy in (tokens, relative):
        x, dy = cache.inner.x.reshape(-1, 12), dy.reshape(-1, 12)
        dA_of_use = layer.scale * (dy @ layer.B.data).T @ x
        dB_of_use = layer.scale * dy.T @ (x @ layer.A.data.T)
        assert np.linalg.norm(dA_of_use) > 1e-3 and np.linalg.norm(dB_of_use) > 1e-3
        dA, dB = dA + dA_of_use, dB + dB_of_use
    assert np.allclose(layer.A.grad, dA, rtol=0, atol=1e-14)
    assert np.allclose(layer.B.grad, dB, rtol=0, atol=1e-14)


def test_only_the_blocks_above_the_lowest_adapter_are_visited(monkeypatch):
    visited = []

    def backward_of_a_block(self, *args, **options):
        visited.append(self)
        return original(self, *args, **options)

    original = DebertaBlock.backward
    monkeypatch.setattr(DebertaBlock, "backward", backward_of_a_block)
    model = tiny_classifier()
    apply_lora(model, LoRAConfig(rank=2, targets=("encoder.blocks.1.attn.q_proj",)), rng=rng(5))
    gradients(model)
    assert visited == [model.encoder.blocks[2], model.encoder.blocks[1]]


# ---- wrong, and caught


def attention_without(lost):
    """Disentangled attention's backward, but that one of dq, dk, dv, dq_rel, dk_rel is zero."""

    def backward(dy, cache):
        grads = zip(("dq", "dk", "dv", "dq_rel", "dk_rel"), disentangled_attention_backward(dy, cache), strict=True)
        return tuple(0.0 * grad if name == lost else grad for name, grad in grads)

    return backward


def block_with_half_of_drelative(self, dy, cache):
    dx, drelative = BLOCK_BACKWARD(self, dy, cache)
    return dx, 0.5 * drelative


def block_without_the_residual(self, dy, cache):
    dsum = self.ln_2.backward(dy, cache.ln_2)
    dx = dsum + self.mlp.backward(dsum, cache.mlp)
    return self.attn.backward(self.ln_1.backward(dx, cache.ln_1), cache.attn)


def convolution_that_the_embeddings_do_not_feel(self, dy, cache):
    dx, dresidual = CONV_BACKWARD(self, dy, cache)
    return 0.0 * dx, dresidual


def embeddings_without_their_mask(self, dx, cache):
    HIDDEN_BACKWARD(self, dx, cache._replace(padding_mask=None))


BLOCK_BACKWARD, CONV_BACKWARD = DebertaBlock.backward, ConvLayer.backward
HIDDEN_BACKWARD = Deberta.backward_hidden
OP = ("minilora.layers.disentangled_attention", "disentangled_attention_backward")
MUTANTS = {
    "q forgets its relative use": (*OP, attention_without("dq_rel"), "encoder.blocks.2.attn.q_proj.W"),
    "k forgets its relative use": (*OP, attention_without("dk_rel"), "encoder.blocks.2.attn.k_proj.W"),
    "q forgets its tokens": (*OP, attention_without("dq"), "encoder.blocks.2.attn.q_proj.W"),
    "k forgets its tokens": (*OP, attention_without("dk"), "encoder.blocks.2.attn.k_proj.W"),
    "relative embeddings lose half": (DebertaBlock, "backward", block_with_half_of_drelative, "encoder.wre.W"),
    "a block without the residual": (DebertaBlock, "backward", block_without_the_residual, "encoder.wte.W"),
    "embeddings forget the convolution": (
        ConvLayer,
        "backward",
        convolution_that_the_embeddings_do_not_feel,
        "encoder.wte.W",
    ),
    "embeddings forget their mask": (Deberta, "backward_hidden", embeddings_without_their_mask, "encoder.ln_e"),
    "a head with the slope of another gelu": (
        Activation,
        "backward",
        lambda self, dy, cache: dy,
        "head.dense.W",
    ),
}


def patch(monkeypatch, owner, name, mutant):
    if isinstance(owner, str):
        monkeypatch.setattr(f"{owner}.{name}", mutant)
    else:
        monkeypatch.setattr(owner, name, mutant)


@pytest.mark.parametrize(("owner", "name", "mutant", "parameter"), MUTANTS.values(), ids=MUTANTS.keys())
def test_a_model_with_a_wrong_backward_fails_and_the_parameter_is_named(monkeypatch, owner, name, mutant, parameter):
    patch(monkeypatch, owner, name, mutant)
    with pytest.raises(GradientError, match=rf"{parameter}.*: backward says .*, the loss's slope is .*, bound "):
        check(tiny_classifier())


@pytest.mark.parametrize("mutant", ["q forgets its relative use", "q forgets its tokens"])
def test_an_adapter_on_q_that_forgets_one_of_its_uses_fails(monkeypatch, mutant):
    patch(monkeypatch, *MUTANTS[mutant][:3])
    with pytest.raises(GradientError) as error:
        check(adapted(LoRAConfig(rank=2, alpha=3, targets=("encoder.blocks.2.attn.q_proj", "v_proj"))))
    named = [line.split(":")[0].strip() for line in str(error.value).splitlines()[1:]]
    assert {"encoder.blocks.2.attn.q_proj.A", "encoder.blocks.2.attn.q_proj.B"} <= set(named)
    assert "encoder.blocks.2.attn.v_proj.A" not in named


# ---- no more than was asked for


@pytest.fixture
def calls(monkeypatch):
    """Count the gradients of weights, and the blocks that were visited."""
    return count_calls(
        monkeypatch,
        {
            "layers.linear.linear_backward": ("dx", "dW", "dbias"),
            "layers.layernorm.layernorm_backward": ("dx of a LayerNorm", "dgain", "dbias of a LayerNorm"),
            "layers.conv_layer.conv1d_backward": ("dx of conv1d", "dW of conv1d", "dbias of conv1d"),
            "layers.disentangled_attention.disentangled_attention_backward": "attention",
            "layers.embedding.embedding_backward": "embedding",
        },
    )


#                                      linear     layernorm    conv1d
#                                      dW dbias   dgain dbias  dW dbias   blocks  embedding
ASKED_FOR = {
    "the classifier":                  ((1, 0),    (0, 0),      (0, 0),    0, 0),
    "the head":                        ((2, 2),    (0, 0),      (0, 0),    0, 0),
    "the last fc_out.W":               ((1, 0),    (0, 0),      (0, 0),    1, 0),
    "a gain of the last block":        ((0, 0),    (1, 0),      (0, 0),    1, 0),
    "o of the last block":             ((1, 0),    (0, 0),      (0, 0),    1, 0),
    "one bias of q":                   ((0, 2),    (0, 0),      (0, 0),    2, 0),
    "the convolution's W":             ((0, 0),    (0, 0),      (1, 0),    3, 0),
    "the convolution's LayerNorm":     ((0, 0),    (1, 1),      (0, 0),    3, 0),
    "the first block":                 ((8, 8),    (2, 2),      (0, 0),    3, 0),
    "relative embeddings":             ((0, 0),    (0, 0),      (0, 0),    3, 0),
    "the gain of relative embeddings": ((0, 0),    (1, 0),      (0, 0),    3, 0),
    "token embeddings":                ((0, 0),    (0, 0),      (0, 0),    3, 1),
    "the bias of token embeddings":    ((0, 0),    (0, 1),      (0, 0),    3, 0),
    "nothing":                         ((0, 0),    (0, 0),      (0, 0),    0, 0),
}  # fmt: skip


@pytest.mark.parametrize(("choice", "expected"), ASKED_FOR.items(), ids=ASKED_FOR.keys())
def test_a_frozen_weight_gets_no_gradient_and_a_block_below_the_lowest_trainable_one_no_visit(calls, choice, expected):
    model = tiny_classifier()
    train_only(model, CHOICES[choice])
    gradients(model)
    linear, layernorm = (calls["dW"], calls["dbias"]), (calls["dgain"], calls["dbias of a LayerNorm"])
    conv = calls["dW of conv1d"], calls["dbias of conv1d"]
    assert (linear, layernorm, conv, calls["attention"], calls["embedding"]) == expected

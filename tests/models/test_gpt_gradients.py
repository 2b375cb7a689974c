"""The gradients of a whole GPT: right, for every choice of trainable parameters, and no more than was asked for."""

import numpy as np
import pytest

from minilora.data.batches import LMBatch
from minilora.gradcheck import GradientError, check_model
from minilora.layers import Activation, Block, Embedding
from minilora.ops.fast import (
    attention_backward,
    cross_entropy_backward,
    cross_entropy_forward,
    layernorm_backward,
)
from models.calls import count_calls
from ops.cases import array_leaves


def rng():
    return np.random.default_rng(1)


def train_only(model, chosen):
    model.freeze()
    for name, p in model.named_parameters():
        p.trainable = chosen(name)


@pytest.fixture
def backward(ids, targets, mask):
    """Run one forward and backward; return the gradients by name."""

    def run(model, mask=mask):
        logits, cache = model.forward(ids)
        _, loss_cache = cross_entropy_forward(logits, targets, mask)
        model.backward(cross_entropy_backward(1.0, loss_cache), cache)
        return {name: p.grad for name, p in model.named_parameters()}

    return run


# ---- right


def test_no_gradient_shares_memory_with_another_or_with_a_cache(model, ids, targets, mask):
    logits, cache = model.forward(ids)
    _, loss_cache = cross_entropy_forward(logits, targets, mask)
    model.backward(cross_entropy_backward(1.0, loss_cache), cache)
    grads = [p.grad for p in model.parameters()]
    others = [p.data for p in model.parameters()] + list(array_leaves(cache)) + list(array_leaves(loss_cache))
    for i, grad in enumerate(grads):
        assert not any(np.shares_memory(grad, other) for other in grads[:i] + others)


@pytest.mark.parametrize("masked", [True, False], ids=["mask", "all positions"])
@pytest.mark.parametrize("trained", [("",), ("blocks.1.attn",), ("wpe", "ln_f")], ids=str)
def test_loss_gives_what_forward_and_cross_entropy_give(model, backward, ids, targets, mask, masked, trained):
    mask = mask if masked else np.ones_like(mask)
    train_only(model, lambda name: name.startswith(trained))
    expected = backward(model, mask)
    expected_loss, _ = cross_entropy_forward(model.forward(ids)[0], targets, mask)
    model.zero_grad()
    loss, cache = model.loss(LMBatch(ids, targets, mask))
    model.backward_loss(0.5, cache)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-13)
    for name, p in model.named_parameters():
        if expected[name] is None:
            assert p.grad is None
        else:
            np.testing.assert_allclose(p.grad, 0.5 * expected[name], atol=1e-13)


def test_loss_refuses_a_target_out_of_range_even_where_it_does_not_count(model, ids, targets, mask):
    with pytest.raises(ValueError, match="targets ran from .* to 99; each must be from 0 to 12"):
        model.loss(LMBatch(ids, np.where(mask, targets, 99), mask))


@pytest.mark.parametrize("masked", [True, False], ids=["mask", "no mask"])
def test_every_parameter_passes(model, masked, batch, everywhere):
    slopes = check_model(model, batch if masked else everywhere, rng=rng())
    assert list(slopes) == [name for name, _ in model.named_parameters()]


def test_the_check_puts_every_parameter_back(model, everywhere):
    before = {name: (p.data, p.data.tobytes()) for name, p in model.named_parameters()}
    check_model(model, everywhere, rng=rng())
    for name, p in model.named_parameters():
        array, bits = before[name]
        assert p.data is array and p.data.tobytes() == bits


def test_the_bias_of_k_has_a_gradient_of_zero_which_passes(model, everywhere):
    slopes = check_model(model, everywhere, rng=rng())
    analytic, numerical = slopes["blocks.0.attn.k_proj.bias"]
    assert abs(analytic) < 1e-12
    assert abs(numerical) < 1e-8


CHOICES = {
    "ln_f": lambda name: name.startswith("ln_f"),
    "the last fc_out.W": lambda name: name == "blocks.1.mlp.fc_out.W",
    "one bias of q": lambda name: name == "blocks.0.attn.q_proj.bias",
    "wpe": lambda name: name == "wpe.W",
    "wte": lambda name: name == "wte.W",
    "all biases": lambda name: name.endswith("bias"),
    "the last block": lambda name: name.startswith("blocks.1."),
    "the first block": lambda name: name.startswith("blocks.0."),
    "a gain below": lambda name: name == "blocks.0.ln_1.gain",
    "nothing": lambda name: False,
}


@pytest.mark.parametrize("chosen", CHOICES.values(), ids=CHOICES.keys())
def test_gradients_do_not_depend_on_what_else_is_trainable(make_model, backward, chosen):
    expected = backward(make_model())
    model = make_model()
    train_only(model, chosen)
    for name, grad in backward(model).items():
        assert np.allclose(grad, expected[name], rtol=0, atol=1e-12) if chosen(name) else grad is None


@pytest.mark.parametrize("choice", ["ln_f", "one bias of q", "wpe", "all biases"])
def test_a_partly_frozen_model_passes(model, choice, batch):
    train_only(model, CHOICES[choice])
    slopes = check_model(model, batch, rng=rng())
    assert list(slopes) == [name for name, _ in model.named_parameters() if CHOICES[choice](name)]


def test_gradients_accumulate_over_two_backwards(model, backward):
    once = {name: grad.copy() for name, grad in backward(model).items()}
    assert all(np.allclose(grad, 2.0 * once[name], rtol=1e-14, atol=0) for name, grad in backward(model).items())


def test_a_forward_in_between_does_not_disturb_a_backward(model, make_model, ids):
    dlogits = rng().standard_normal((2, 7, 13))
    other = make_model()
    other.backward(dlogits, other.forward(ids)[1])

    _, cache = model.forward(ids)
    model.forward(ids[:1, ::-1])
    model.backward(dlogits, cache)
    for (name, p), (_, q) in zip(model.named_parameters(), other.named_parameters(), strict=True):
        assert np.array_equal(p.grad, q.grad), name


def test_a_replicas_gradients_are_its_own(model, backward):
    twin = model.replica()
    expected = backward(twin)
    assert all(p.grad is None for p in model.parameters())
    assert all(np.array_equal(grad, expected[name]) for name, grad in backward(model).items())


# ---- wrong, and caught


def block_without_the_residual(self, dy, cache):
    dx = self.ln_2.backward(self.mlp.backward(dy, cache.mlp), cache.ln_2)
    return self.ln_1.backward(self.attn.backward(dx, cache.attn), cache.ln_1)


def attention_that_forgets_dk(dy, cache):
    dq, dk, dv = attention_backward(dy, cache)
    return dq, 0.0 * dk, dv


def positions_of_the_first_sequence(self, dy, cache):
    if self.W.trainable:
        dW = np.zeros_like(self.W.data)
        np.add.at(dW, cache.ids, dy)
        self.W.accumulate(dW if cache.ids.ndim == 2 else 0.5 * dW)


MUTANTS = {
    "a block without the residual": (Block, "backward", block_without_the_residual, "blocks.0.mlp.fc_out.W"),
    "attention that forgets dk": (
        "minilora.layers.attention",
        "attention_backward",
        attention_that_forgets_dk,
        "blocks.1.attn.k_proj.W",
    ),
    "a tied head without its gradient": (
        "minilora.models.decoder",
        "linear_cross_entropy_backward",
        lambda dloss, cache: (dloss * cache.dx, 0.0 * cache.dW),
        "wte.W",
    ),
    "positions a mean over sequences": (Embedding, "backward", positions_of_the_first_sequence, "wpe.W"),
    "gelu without its slope": (Activation, "backward", lambda self, dy, cache: dy, "mlp.fc_in.W"),
    "normalisation with a dx of dy": (
        "minilora.layers.layernorm",
        "layernorm_backward",
        lambda dy, cache: (dy, *layernorm_backward(dy, cache)[1:]),
        "blocks.1",
    ),
}


@pytest.mark.parametrize(("owner", "name", "mutant", "parameter"), MUTANTS.values(), ids=MUTANTS.keys())
def test_a_model_with_a_wrong_backward_fails_and_the_parameter_is_named(
    monkeypatch, model, owner, name, mutant, parameter, batch
):
    if isinstance(owner, str):
        monkeypatch.setattr(f"{owner}.{name}", mutant)
    else:
        monkeypatch.setattr(owner, name, mutant)
    with pytest.raises(GradientError, match=rf"{parameter}.*: backward says .*, the loss's slope is .*, bound "):
        check_model(model, batch, rng=rng())


def test_only_what_is_wrong_is_named(monkeypatch, model, everywhere):
    monkeypatch.setattr("minilora.layers.attention.attention_backward", attention_that_forgets_dk)
    train_only(model, lambda name: name.startswith("blocks.1."))
    with pytest.raises(GradientError) as error:
        check_model(model, everywhere, rng=rng())
    named = [line.split(":")[0].strip() for line in str(error.value).splitlines()[1:]]
    # ln_1.bias is right all the same: it shifts all keys alike, and softmax does not see a shift
    assert named == ["blocks.1.ln_1.gain", "blocks.1.attn.k_proj.W"]


def test_a_trainable_parameter_without_a_gradient_fails_by_name(monkeypatch, model, everywhere):
    monkeypatch.setattr(Embedding, "backward", lambda self, dy, cache: None)
    with pytest.raises(GradientError, match=r"wpe\.W is trainable, but backward gave it no gradient"):
        check_model(model, everywhere, rng=rng())


def test_float32_is_refused_by_name(make_model, everywhere):
    with pytest.raises(TypeError, match=r"wte\.W was float32; gradients are checked in float64"):
        check_model(make_model("float32"), everywhere, rng=rng())


# ---- no more than was asked for


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
        },
    )


#                         linear      layernorm
#                         dW dbias    dgain dbias  blocks  embedding
ASKED_FOR = {
    "ln_f":              ((0, 0),     (1, 1),      0, 0),
    "the last fc_out.W": ((1, 0),     (0, 0),      1, 0),
    "one bias of q":     ((0, 1),     (0, 0),      2, 0),
    "the last block":    ((6, 6),     (2, 2),      1, 0),
    "the first block":   ((6, 6),     (2, 2),      2, 0),
    "wpe":               ((0, 0),     (0, 0),      2, 1),
    "wte":               ((1, 0),     (0, 0),      2, 1),  # this dW is the head's
    "all biases":        ((0, 12),    (0, 5),      2, 0),
    "nothing":           ((0, 0),     (0, 0),      0, 0),
}  # fmt: skip


@pytest.mark.parametrize(("choice", "expected"), ASKED_FOR.items(), ids=ASKED_FOR.keys())
def test_a_frozen_weight_gets_no_gradient_and_a_block_below_the_lowest_trainable_one_no_visit(
    model, backward, calls, choice, expected
):
    train_only(model, CHOICES[choice])
    backward(model)
    linear, layernorm = (calls["dW"], calls["dbias"]), (calls["dgain"], calls["dbias of a LayerNorm"])
    assert (linear, layernorm, calls["attention"], calls["embedding"]) == expected
    assert calls["dx"] == 6 * calls["attention"] + 1  # and that of the head


def test_nothing_below_the_lowest_trainable_parameter_runs(monkeypatch, model, backward):
    visited = []

    def backward_of_a_block(self, *args, **options):
        visited.append(self)
        return original(self, *args, **options)

    original = Block.backward
    monkeypatch.setattr(Block, "backward", backward_of_a_block)
    train_only(model, CHOICES["the last block"])
    backward(model)
    assert visited == [model.blocks[1]]

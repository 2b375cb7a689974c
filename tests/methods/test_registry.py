"""What holds for every method: its count, its gradients, its frozen weights, its file, its threads."""

from dataclasses import replace

import numpy as np
import pytest

from methods.every import EVERY, tiny_adapted
from methods.tiny import CONFIG, gradients_of, rng, same_bits, some_batch, tiny_gpt, trainable_names, weights_of
from minilora.accounting import count_parameters
from minilora.gradcheck import GradientError, check_model
from minilora.methods import (
    METHODS,
    LoRAConfig,
    TopKConfig,
    TrainableTokensConfig,
    apply_method,
    load_adapter,
    method_of,
    save_adapter,
    set_adapter,
)
from minilora.models.generation import generate
from minilora.training import AdamW, DataParallel, evaluate_loss, loss_and_backward

each_method = pytest.mark.parametrize("config", EVERY.values(), ids=EVERY.keys())
SHORT = some_batch(T=4)  # leaves room for a prefix of three tokens, and for one token of an answer
L, C, F = CONFIG.n_layer, CONFIG.d_model, CONFIG.d_mlp
BLOCK = 4 * (C * C + C) + (2 * C * F + F + C) + 4 * C
LORA_EVERYWHERE = L * 2 * (4 * (C + C) + 2 * (C + F))

# The paper's |Theta| (section 5.1), with d = 6, L = 2.
COUNTS = {
    "full": CONFIG.vocab_size * C + CONFIG.n_positions * C + L * BLOCK + 2 * C,
    "top-1": BLOCK,
    "top-2": 2 * BLOCK,
    "bitfit": L * (4 * C + F + C + 2 * C) + C,
    "adapter-h": 2 * L * (2 * C * 3 + 3 + C),
    "adapter-l": L * (2 * C * 3 + 3 + C) + L * 2 * C,
    "adapter-p": L * (2 * C * 5 + 5 + C),
    "adapter-d": (L - 1) * (2 * C * 3 + 3 + C),
    "prefix-embedding": C * (2 + 1),
    "prefix-embedding, before": C * 3,
    "prefix-layer": L * C * (1 + 2),
    "prefix-layer, after": L * C * 2,
    "lora+prefix-embedding": LORA_EVERYWHERE + C * 3,
    "lora+prefix-layer": (2 * L) * (2 * C + C) + L * C * 3,
    "random-subspace": 7,
    "prompt-tuning": 3 * C,
    "trainable-tokens": 3 * C,
    "ia3": L * (2 * C + F),
    "ia3, everywhere": L * (5 * C + C),
    "lora": LORA_EVERYWHERE,
    "lora, the embedding": 2 * (L * 2 * C + CONFIG.vocab_size + C),
    "rslora": 2 * (2 * L) * C * 2,
    "dora": LORA_EVERYWHERE + L * (4 * C + F + C),
    "dora, exact": LORA_EVERYWHERE + L * (4 * C + F + C),
    "adalora": L * (3 * (4 * (C + C) + 2 * (C + F)) + 6 * 3),
    "vera": L * (6 * 7 + 4 * C + F + C),
    "lora-ga": LORA_EVERYWHERE,
    "lora-fa": L * 2 * (4 * C + F + C),
    "pissa": LORA_EVERYWHERE,
}


def check(model):
    return check_model(model, SHORT, rng=rng(4))


# ---- what is trained


@each_method
def test_the_number_of_trainable_parameters_is_the_papers(config):
    name = next(name for name, value in EVERY.items() if value is config)
    assert count_parameters(tiny_adapted(config)).trainable == COUNTS[name]


@each_method
def test_what_is_trainable_gets_a_gradient_and_nothing_else(config):
    model = tiny_adapted(config)
    assert list(gradients_of(model, SHORT)) == trainable_names(model) != []


@each_method
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_lowers_the_loss_and_leaves_what_is_frozen_to_the_bit(config, dtype):
    model = tiny_adapted(config, dtype)
    before, optimizer = weights_of(model), AdamW(model.parameters(), lr=0.01, weight_decay=0.01)
    losses = []
    for _ in range(8):
        model.zero_grad()
        losses.append(float(loss_and_backward(model, SHORT)))
        optimizer.step()
    assert losses[-1] < losses[0]
    for name, p in model.named_parameters():
        assert same_bits(p.data, before[name]) == (not p.trainable), name
        assert p.data.dtype == dtype


@pytest.mark.parametrize("config", [c for n, c in EVERY.items() if "prefix" not in n and "prompt" not in n], ids=str)
def test_at_the_start_the_logits_are_the_bases(config):
    logits = tiny_adapted(config, learned=False).forward(SHORT.ids)[0]
    base = tiny_gpt().forward(SHORT.ids)[0]
    of_W = getattr(config, "init", None) in ("pissa", "lora-ga")
    if of_W or isinstance(config, TrainableTokensConfig):  # tokens: of a tied head
        assert np.allclose(logits, base, rtol=0, atol=1e-12)
    else:
        assert same_bits(logits, base)


@each_method
def test_what_is_learned_changes_the_loss(config):
    assert abs(evaluate_loss(tiny_adapted(config), [SHORT]) - evaluate_loss(tiny_gpt(), [SHORT])) > 1e-3


# ---- gradients


@pytest.mark.parametrize("config", [c for n, c in EVERY.items() if n != "dora"], ids=str)
def test_every_gradient_is_the_slope_of_the_loss(config):
    slopes = check(tiny_adapted(config))
    assert max(abs(analytic) for analytic, _ in slopes.values()) > 1e-6


def test_doras_gradient_with_a_constant_norm_is_not_the_slope():
    """As its paper says; the same model with the exact gradient passes above."""
    with pytest.raises(GradientError, match="q_proj.A: backward says"):
        check(tiny_adapted(EVERY["dora"]))


@each_method
def test_shared_out_among_threads_the_gradients_are_the_same(config):
    model = tiny_adapted(config)
    expected = gradients_of(model, SHORT)
    model.zero_grad()
    with DataParallel(model, threads=2) as objective:
        objective.loss_and_backward(SHORT)
    assert all(np.allclose(p.grad, expected[p.name], rtol=0, atol=1e-12) for p in model.trainable_parameters())


# ---- the file


@each_method
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_comes_back_from_its_file_to_the_bit(config, dtype, tmp_path):
    model, other = tiny_adapted(config, dtype), tiny_gpt(dtype)
    save_adapter(model, tmp_path / "file")
    load_adapter(other, tmp_path / "file")
    assert same_bits(weights_of(other), weights_of(model))
    assert trainable_names(other) == trainable_names(model)
    assert method_of(other) == config
    assert evaluate_loss(other, [SHORT]) == evaluate_loss(model, [SHORT])
    assert generate(other, [[3, 1]], max_tokens=3) == generate(model, [[3, 1]], max_tokens=3)


@each_method
def test_its_file_holds_what_it_trained(config, tmp_path):
    model = tiny_adapted(config, "float32")
    save_adapter(model, tmp_path / "file")
    content = (tmp_path / "file").read_bytes()
    arrays = len(content) - 8 - int.from_bytes(content[:8], "little")
    trained = 4 * count_parameters(model).trainable
    if getattr(config, "init", None) in ("pissa", "lora-ga"):
        trained *= 2  # A0 and B0 too
    if getattr(config, "freeze_A", False):
        trained += 4 * L * 2 * (4 * C + C + F)  # A
    assert arrays == trained


# ---- by name


@pytest.mark.parametrize("name", METHODS)
def test_every_name_applies_its_configuration(name):
    model = tiny_gpt()
    if name in ("full", "top-k", "bitfit", "vera", "ia3", "trainable-tokens"):
        apply_method(model, name)
        drawn = {"seed": method_of(model).seed} if hasattr(method_of(model), "seed") else {}
        assert method_of(model) == replace(METHODS[name], **drawn)
    else:  # a rank or size of 8, or 10 tokens, is too much for the tiny model
        with pytest.raises(ValueError, match=r"(rank|size) was (8|12)|before \+ after was [12]0|dimension was 1000"):
            apply_method(model, name)
        assert trainable_names(model) == list(weights_of(tiny_gpt())) and method_of(model) is None


def test_the_methods_of_the_paper_and_the_variants_are_all_there():
    papers = {"full", "top-k", "bitfit", "adapter-h", "adapter-l", "adapter-p", "adapter-d", "lora"}
    assert METHODS.keys() == papers | {
        "prefix-embedding",
        "prefix-layer",
        "rslora",
        "dora",
        "pissa",
        "lora-fa",
        "lora-ga",
        "vera",
        "adalora",
    } | {
        "lora+prefix-embedding",
        "lora+prefix-layer",
        "random-subspace",
        "ia3",
        "trainable-tokens",
        "prompt-tuning",
    }


def test_switched_off_the_method_is_none_but_full_fine_tuning_which_cannot_be_switched_off():
    for name in ("bitfit", "lora"):
        model = tiny_adapted(EVERY[name])
        set_adapter(model, None)
        assert method_of(model) is None
    model = tiny_adapted(EVERY["full"])
    set_adapter(model, None)
    assert method_of(model) == EVERY["full"]


@pytest.mark.parametrize("method", ["magic", None, TopKConfig], ids=str)
def test_an_unknown_method_is_refused_with_the_known_ones(method):
    with pytest.raises(ValueError, match="method was .*; it must be .*, or one of 'lora', .*'prefix-layer'"):
        apply_method(tiny_gpt(), method)


def test_the_method_is_the_last_one_applied():
    model = tiny_adapted(EVERY["lora"])
    assert method_of(model) == EVERY["lora"] and method_of(tiny_gpt()) is None
    apply_method(model, "bitfit")
    assert method_of(model) == METHODS["bitfit"]


def test_each_seed_draws_something_else_and_the_same_seed_the_same():
    def drawn(config, seed):
        model = tiny_gpt()
        apply_method(model, config, rng=rng(seed))
        return weights_of(model)

    for config in (EVERY["adapter-h"], EVERY["prefix-layer"], LoRAConfig(rank=2)):
        assert same_bits(drawn(config, 1), drawn(config, 1))
        assert not same_bits(drawn(config, 1), drawn(config, 2))

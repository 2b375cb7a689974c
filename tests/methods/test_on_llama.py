"""Every method on a Llama: right gradients, the base at the start, files, rows, merging; a tied head stays tied."""

import re

import numpy as np
import pytest

from device_array import DeviceArray, count_synchronisations, to_fake_device, to_host
from methods.tiny import gradients_of, rng, same_bits, some_batch, weights_of, with_B
from minilora.gradcheck import GradientError, check_model
from minilora.methods import (
    AdaLoRAConfig,
    BitFitConfig,
    FullConfig,
    HoulsbyConfig,
    IA3Config,
    LoRAConfig,
    PrefixConfig,
    PromptTuningConfig,
    TopKConfig,
    TrainableTokensConfig,
    VeRAConfig,
    adapters_per_row,
    apply_lora,
    apply_method,
    load_adapter,
    merge_lora,
    save_adapter,
    set_adapter,
    unmerge_lora,
)
from minilora.models import Llama, generate
from minilora.ops import plain_ops
from minilora.training.objective import DataParallel, loss_and_backward
from models.tiny_llama import tiny_llama

SEVEN = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
METHODS = {
    "full": FullConfig(),
    "top-1": TopKConfig(k=1),
    "bitfit": BitFitConfig(),
    "adapter-h": HoulsbyConfig("houlsby", size=3),
    "adapter-l": HoulsbyConfig("lin", size=3),
    "adapter-d": HoulsbyConfig("pfeiffer", size=3, leave_out=1),
    "prefix-embedding": PrefixConfig("embedding", before=2, after=1),
    "prefix-layer": PrefixConfig("layer", before=1, after=2),
    "prompt-tuning": PromptTuningConfig(2),
    "trainable-tokens": TrainableTokensConfig((2, 7, 3)),
    "ia3": IA3Config(),
    "lora": LoRAConfig(rank=2, alpha=3, targets=SEVEN),
    "lora, the head too": LoRAConfig(rank=2, alpha=3, targets=("q_proj", "lm_head")),
    "lora, embedding and head": LoRAConfig(rank=2, alpha=3, targets=("q_proj", "wte", "lm_head")),
    "rslora": LoRAConfig(rank=2, alpha=3, rslora=True),
    "dora": LoRAConfig(rank=2, alpha=3, targets=SEVEN, dora=True, dora_exact=True),
    "pissa": LoRAConfig(rank=2, alpha=3, targets=SEVEN, init="pissa"),
    "adalora": AdaLoRAConfig(rank=1, initial_rank=3, alpha=4, targets=SEVEN),
    "vera": VeRAConfig(rank=5, targets=SEVEN, seed=3),
    "lora-ga": LoRAConfig(rank=2, alpha=3, targets=("q_proj", "o_proj", "up_proj"), init="lora-ga"),
    "lora-fa": LoRAConfig(rank=2, alpha=3, targets=SEVEN, freeze_A=True),
}
BATCH = some_batch(T=5)
ADDS_NOTHING = (
    "full",
    "top-1",
    "bitfit",
    "adapter-h",
    "adapter-l",
    "adapter-d",
    "trainable-tokens",
    "ia3",
    "lora",
    "rslora",
    "lora, the head too",
    "lora, embedding and head",
)
each_method = pytest.mark.parametrize("name", METHODS)


def adapted(name, learned=True, **options):
    model = tiny_llama("biases of q, k and v", **options)
    apply_method(model, METHODS[name], rng=rng(1), batches=[BATCH])
    if learned:
        draw = rng(2)
        for p in model.trainable_parameters():
            p.data += (0.5 * draw.standard_normal(p.data.shape)).astype(p.data.dtype)
    return model


def logits_of(model):
    return model.forward(model.read_batch(BATCH)[0])[0]


@each_method
@pytest.mark.parametrize("plain", [False, True], ids=["engine", "page"])
def test_every_gradient_is_the_slope_of_the_loss(name, plain):
    model = adapted(name)
    if plain:
        with plain_ops():
            slopes = check_model(model, BATCH, rng=rng())
    else:
        slopes = check_model(model, BATCH, rng=rng())
    assert list(slopes) == [p.name for p in model.trainable_parameters()]


@pytest.mark.parametrize("name", ADDS_NOTHING)
def test_at_the_start_the_model_is_the_base_to_the_bit(name):
    base = tiny_llama("biases of q, k and v")
    assert same_bits(logits_of(adapted(name, learned=False)), logits_of(base))


@each_method
def test_what_is_learned_comes_back_from_its_file(tmp_path, name):
    model, other = adapted(name), tiny_llama("biases of q, k and v")
    save_adapter(model, tmp_path / "adapter.safetensors")
    load_adapter(other, tmp_path / "adapter.safetensors")
    assert same_bits(logits_of(other), logits_of(model))
    if name != "full":
        set_adapter(other, None)
        assert type(other) is Llama
        assert same_bits(logits_of(other), logits_of(tiny_llama("biases of q, k and v")))


@each_method
def test_generation_continues_as_the_whole_sequence_would(name):
    model = adapted(name)
    prompt = np.array([3, 1, 4])
    read = list(model.read_prompt(prompt))
    for _ in range(3):
        read.append(int(model.forward(np.array([read]))[0][0, -1].argmax()))
    assert generate(model, [prompt], max_tokens=3) == [read[-3:]]


@pytest.mark.parametrize(
    "name",
    [
        "lora",
        "lora, the head too",
        "lora, embedding and head",
        "ia3",
        "dora",
        "pissa",
        "adalora",
        "vera",
        "lora-fa",
        "lora-ga",
    ],
)
def test_merged_the_logits_are_the_same_and_unmerged_the_weights_are_too(name):
    model = adapted(name)
    before, weights = logits_of(model), weights_of(model)
    merge_lora(model)
    np.testing.assert_allclose(logits_of(model), before, atol=1e-12)
    np.testing.assert_allclose(model.loss(BATCH)[0], unmerged_loss(name), rtol=1e-12)
    unmerge_lora(model)
    assert same_bits(weights_of(model), weights)


def unmerged_loss(name):
    return adapted(name).loss(BATCH)[0]


# ---- the head


def test_an_adapter_of_the_head_reaches_the_loss():
    model = adapted("lora, the head too")
    loss = model.loss(BATCH)[0]
    model.lm_head.factors.B.data += rng().standard_normal((13, 2))
    assert abs(model.loss(BATCH)[0] - loss) > 1e-3


def test_a_loss_before_the_head_was_adapted_has_no_backward_any_more():
    model = tiny_llama("biases of q, k and v")
    _, cache = model.loss(BATCH)
    apply_lora(model, LoRAConfig(rank=1, targets=("lm_head",)), rng=rng())
    with pytest.raises(ValueError, match="cache was of a loss before the head was adapted"):
        model.backward_loss(1.0, cache)


def test_a_tied_head_cannot_be_adapted_and_the_message_says_what_can():
    model = tiny_llama("tied")
    with pytest.raises(ValueError, match="targets named 'lm_head', tied to the token embedding; it must stay frozen"):
        apply_lora(model, LoRAConfig(rank=2, targets=("lm_head",)), rng=rng())
    with pytest.raises(
        ValueError,
        match="targets named 'rms_1', which is not a linear layer or an embedding of this model; it has wte, ",
    ):
        apply_lora(model, LoRAConfig(rank=2, targets=("rms_1",)), rng=rng())


def test_what_is_merged_does_not_reach_a_tied_head():
    model = tiny_llama("tied")
    before = model.wte.W.data.copy()
    apply_lora(model, LoRAConfig(rank=2, targets=SEVEN), rng=rng())
    merge_lora(with_B(model))
    assert np.array_equal(model.wte.W.data, before) and model.head.W is model.wte.W


def test_a_tied_embedding_trained_beside_lora_is_one_copy_for_both_uses():
    model = tiny_llama("tied")
    apply_lora(model, LoRAConfig(rank=2, besides=("wte",)), rng=rng())
    assert model.wte.W.trainable and model.head.W is model.wte.W
    check_model(with_B(model), BATCH, rng=rng())


def test_an_adapter_of_a_tied_embedding_does_not_reach_the_head_and_is_not_merged():
    """As in PEFT; there, merging reaches the head (its issue 2018)."""
    model = tiny_llama("tied")
    apply_lora(model, LoRAConfig(rank=2, targets=("wte",)), rng=rng())
    for p in model.trainable_parameters():
        p.data += rng(3).standard_normal(p.data.shape)
    assert model.head.W is model.wte.W and same_bits(model.wte.W.data, tiny_llama("tied").wte.W.data)
    check_model(model, BATCH, rng=rng())
    untied = tiny_llama("tied")  # what the two uses are: another embedding beside the same head
    untied.wte.W.data += model.wte.delta_W()
    x, _ = untied.hidden(BATCH.ids)
    expected = x @ tiny_llama("tied").wte.W.data.T
    np.testing.assert_allclose(logits_of(model), expected, atol=1e-12)
    with pytest.raises(ValueError, match="the adapter is in the token embedding, to which the head is tied"):
        merge_lora(model)
    assert not model.wte.merged


# ---- rows, threads, devices


@pytest.mark.parametrize("kind", ["grouped", "tied"])
def test_each_row_gives_what_it_gives_with_its_adapter_alone(kind):
    model = tiny_llama(kind)
    for seed, name in enumerate(("one", "two")):
        apply_lora(model, LoRAConfig(rank=1 + seed, targets=SEVEN), rng=rng(seed), name=name)
        for p in model.trainable_parameters():
            p.data += 0.2 * rng(seed).standard_normal(p.data.shape)
    names = ["two", None, "one"]
    expected = []
    for n, name in enumerate(names):
        set_adapter(model, name)
        expected.append(model.forward(BATCH.ids[n : n + 1])[0][0])
    with adapters_per_row(model, names):
        np.testing.assert_allclose(model.forward(BATCH.ids)[0], expected, atol=1e-12)
        check_model(model, BATCH, rng=rng())


def test_rows_cannot_have_heads_of_their_own():
    model = tiny_llama()
    apply_lora(model, LoRAConfig(rank=1, targets=("lm_head",)), rng=rng(), name="one")
    message = "the adapter 'one' is in lm_head, which reads the positions that count, not rows"
    with pytest.raises(ValueError, match=message), adapters_per_row(model, ["one", None]):
        pass


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_give_the_same_gradients(threads):
    model = adapted("lora")
    expected = gradients_of(model, BATCH)
    with DataParallel(model, threads) as parallel:
        together = gradients_of(model, BATCH, lambda _, batch: parallel.loss_and_backward(batch))
    assert expected.keys() == together.keys()
    for name, grad in together.items():
        np.testing.assert_allclose(grad, expected[name], atol=1e-13)


@each_method
def test_a_step_on_a_device_agrees_and_waits_for_nothing(name):
    host, device = adapted(name, dtype="float32"), tiny_llama("biases of q, k and v", dtype="float32")
    for p in device.parameters():
        p.data = to_fake_device(p.data)
    apply_method(device, METHODS[name], rng=rng(1), batches=[BATCH])
    for p, q in zip(host.trainable_parameters(), device.trainable_parameters(), strict=True):
        q.data[...] = to_fake_device(p.data)
    with count_synchronisations() as count:
        loss_and_backward(device, BATCH)
    assert count.n == 0
    for name, grad in gradients_of(host, BATCH).items():
        p = dict(device.named_parameters())[name]
        assert isinstance(p.grad, DeviceArray) and p.grad.dtype == np.float32, name
        np.testing.assert_allclose(to_host(p.grad), grad, rtol=1e-3, atol=1e-4 * abs(grad).max(), err_msg=name)


# ---- wrong, and caught


def test_bitfit_without_biases_is_refused():
    with pytest.raises(ValueError, match="model was a Llama without biases; BitFit must have some to train"):
        apply_method(tiny_llama(), "bitfit")


def test_a_prefix_takes_one_text_a_row():
    model = adapted("prefix-layer")
    ids, targets, mask = (a[:1] for a in BATCH[:3])
    packed = BATCH._replace(ids=ids, targets=targets, loss_mask=mask, text_lengths=((2, 3),))
    with pytest.raises(ValueError, match=re.escape("text_lengths was given, but the model has a prefix")):
        model.loss(packed)


def test_an_adapter_of_the_head_without_its_gradient_is_noticed(monkeypatch):
    monkeypatch.setattr("minilora.models.decoder.cross_entropy_backward", lambda dloss, cache: 0.0 * cache.probs)
    with pytest.raises(GradientError, match=r"lm_head\.B"):
        check_model(adapted("lora, the head too"), BATCH, rng=rng())

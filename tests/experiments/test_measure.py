"""Loss, slot scores, memory and speed: each number moves when what it measures moves, and only then."""

import json
import math

import numpy as np
import pytest

from device_array import to_fake_device
from experiments.tiny import LORA, adapted, byte_encoder, byte_gpt, sum_task, trainer, words
from methods.tiny import same_bits, weights_of
from minilora.data import ClassificationTask, LabelledExample, PairTask, examples, load_task, parse_source
from minilora.experiments.measure import (
    class_logits,
    generation_speed,
    measure,
    measure_classes,
    median_and_range,
    slot_scores,
    step_memory,
)
from minilora.methods import apply_full, apply_lora
from minilora.models import GPT, GPTConfig
from minilora.training import evaluate_loss

# ---- slots


def perfect_answers(n=20):
    return [{"prompt": e.source + "\n", "answer": e.target} for e in examples("test", n)]


def test_the_references_are_exact():
    assert slot_scores(perfect_answers()) == {"slot_exact": 1.0, "slot_error_rate": 0.0}


def test_one_wrong_word_makes_one_sentence_wrong():
    samples = perfect_answers()
    asked = [parse_source(s["prompt"].strip()) for s in samples]
    samples[3]["answer"] = samples[3]["answer"].replace(asked[3]["name"], "Nowhere")
    scores = slot_scores(samples)
    assert scores["slot_exact"] == 19 / 20
    assert scores["slot_error_rate"] == pytest.approx(1 / sum(map(len, asked)))


def test_a_word_too_many_is_no_slot_error_but_not_exact():
    samples = perfect_answers()
    samples[0]["answer"] += " Indeed"
    assert slot_scores(samples) == {"slot_exact": 19 / 20, "slot_error_rate": 0.0}


def test_saying_nothing_is_all_wrong():
    samples = [s | {"answer": ""} for s in perfect_answers()]
    assert slot_scores(samples) == {"slot_exact": 0.0, "slot_error_rate": 1.0}


# ---- the whole measure


def test_a_model_that_has_learned_by_heart_is_exact():
    known = examples("test", 2)
    task = PairTask("mini-e2e", dict.fromkeys(("train", "valid", "test"), known), 256)
    model = GPT(GPTConfig(vocab_size=256, n_positions=256, n_layer=1, d_model=32, n_head=2), np.random.default_rng(0))
    before = measure(model, task)
    trainer(model, task, steps=150, lr=0.01, schedule="cosine", batch_size=2).run(progress=False)
    after = measure(model, task)
    assert before["slot_exact"] == 0.0 and before["loss"] == pytest.approx(math.log(256), rel=0.05)
    assert after["slot_exact"] == 1.0 and after["loss"] < 0.1
    assert [s["answer"] for s in after["samples"]] == [e.target for e in known]
    assert [s["reference"] for s in after["samples"]] == [e.target for e in known]
    assert [s["prompt"] for s in after["samples"]] == [e.source + "\n" for e in known]


def test_measure_of_another_task():
    model, task = byte_gpt(), sum_task()
    result = measure(model, task, split="valid", n_prompts=3, max_tokens=5)
    assert result.keys() == {"loss", "bytes_per_token", "bits_per_byte", "samples"}
    assert result["loss"] == evaluate_loss(model, task.batches("valid")) != measure(model, task)["loss"]
    assert result["bits_per_byte"] == pytest.approx(result["loss"] / math.log(2))
    assert [s["reference"] for s in result["samples"]] == [e.target for e in task.splits["valid"][:3]]
    assert all(len(s["answer"]) <= 5 for s in result["samples"])


def test_measure_of_conversations_with_subwords_and_unused_rows(tmp_path):
    """Bits per byte are of the answers' bytes, an answer stops at its end, and an id without a text is left out."""
    pytest.importorskip("tokenizers")
    from data.bpe import bpe

    rows = [{"prompt": f"number {i}", "completion": "The Eagle serves Italian food"} for i in range(60)]
    (tmp_path / "said.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tokenizer = bpe()
    task = load_task(tmp_path / "said.jsonl", length=64, tokenizer=tokenizer)
    V = tokenizer.vocab_size + 30
    config = GPTConfig(vocab_size=V, n_positions=96, n_layer=1, d_model=32, n_head=2)
    model = GPT(config, np.random.default_rng(0))
    model.wte.W.data[tokenizer.vocab_size :] *= 50.0  # so that it writes the ids that nobody has
    result = measure(model, task, n_prompts=2, max_tokens=5)
    assert all(len(s["answer"]) <= 5 * 10 for s in result["samples"])
    model = GPT(config, np.random.default_rng(0))
    trainer(model, task, steps=60, lr=0.01, schedule="cosine", batch_size=4).run(progress=False)
    result = measure(model, task, n_prompts=2)
    assert [s["answer"].strip() for s in result["samples"]] == ["The Eagle serves Italian food"] * 2
    assert result["bytes_per_token"] == task.bytes_per_token("test") > 1.5
    assert result["bits_per_byte"] == pytest.approx(result["loss"] / math.log(2) / result["bytes_per_token"])


# ---- memory


def made_trainer(method):
    model = byte_gpt()
    apply_full(model) if method == "full" else apply_lora(model, LORA, rng=np.random.default_rng(0))
    return trainer(model, sum_task())


@pytest.mark.parametrize("method", ["lora", "full"])
def test_what_stays_is_the_weights_and_two_moments_of_what_is_trained(method):
    made = made_trainer(method)
    sizes = [(p.data.size, p.trainable) for p in made.model.parameters()]
    trained = sum(size for size, trainable in sizes if trainable)
    memory = step_memory(made)
    assert memory["staying"] == 4 * (sum(size for size, _ in sizes) + 2 * trained)
    assert memory["peak"] > memory["staying"]


def test_lora_needs_less_memory_than_full_fine_tuning():
    lora, full = step_memory(made_trainer("lora")), step_memory(made_trainer("full"))
    assert lora["staying"] < full["staying"] / 2
    assert lora["peak"] < full["peak"]


def test_measuring_memory_changes_no_weight():
    made = made_trainer("full")
    before = weights_of(made.model)
    step_memory(made)
    assert same_bits(weights_of(made.model), before)
    assert all(p.grad is None for p in made.model.parameters()) and made.step == 0


# ---- speed


def test_speeds_are_measured_in_turns():
    order, model = [], byte_gpt()

    def variant(name):
        def prepare():
            order.append(name)
            return model

        return prepare

    speeds = generation_speed({"a": variant("a"), "b": variant("b")}, [65, 66], tokens=4, rounds=3)
    assert order == ["a", "b"] * 3
    assert {name: len(values) for name, values in speeds.items()} == {"a": 3, "b": 3}
    assert all(value > 0 for values in speeds.values() for value in values)


def test_a_model_that_does_more_is_slower():
    wide = GPTConfig(vocab_size=256, n_positions=256, n_layer=6, d_model=64, n_head=2)
    small, large = byte_gpt(), byte_gpt(config=wide)
    speeds = generation_speed({"small": lambda: small, "large": lambda: large}, [65], tokens=20, rounds=3)
    assert max(speeds["small"]) > max(speeds["large"])


def test_median_and_range():
    assert median_and_range([3.0, 1.0, 7.0]) == {"median": 3.0, "min": 1.0, "max": 7.0}


def test_lora_and_its_base_are_measured_as_different_models():
    task = sum_task()
    assert measure(adapted(), task)["loss"] != measure(byte_gpt(), task)["loss"]


# ---- classes


def word_task():
    """Half of the words in test, the others in train and in valid."""
    examples = [LabelledExample(word, label, word) for word, label in words()]
    splits = {"train": examples[::2], "valid": examples[::2], "test": examples[1::2]}
    return ClassificationTask("words", splits, ("other", "vowel"), 32)


def undecided(kind, task):
    """A classifier that says one class about as often as the other."""
    model = byte_encoder(kind)
    logits = class_logits(model, task.batches("test"))
    model.head.out_proj.bias.data[1] += np.median(logits[:, 0] - logits[:, 1])
    return model


@pytest.mark.parametrize("kind", ["roberta-classification", "deberta-classification"])
def test_measures_of_classes_are_those_of_one_example_at_a_time(kind):
    task = word_task()
    model = undecided(kind, task)
    found, losses, right = measure_classes(model, task), [], []
    for batch in task.batches("test", 1):
        logits = model.forward(batch.ids, batch.padding_mask)[0][0].astype(float)
        losses.append(np.log(np.exp(logits).sum()) - logits[batch.labels[0]])
        right.append(logits.argmax() == batch.labels[0])
    assert 0.2 < np.mean(right) < 0.8 and found["accuracy"] == np.mean(right)
    assert found["loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert found["loss"] == pytest.approx(evaluate_loss(model, task.batches("test")), rel=1e-5)
    assert measure_classes(model, task, split="valid") != found


def test_logits_on_a_device_are_those_of_the_host():
    task = word_task()
    model = byte_encoder("roberta-classification")
    host = class_logits(model, task.batches("test", 10))
    for p in model.parameters():
        p.data = to_fake_device(p.data)
    np.testing.assert_allclose(class_logits(model, task.batches("test", 10)), host, rtol=1e-5, atol=1e-5)

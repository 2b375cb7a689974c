"""Methods compared on a classification task: equal budgets, no choice by test, no run done twice."""

import json

import numpy as np
import pytest

from device_array import to_fake_device
from experiments.tiny import csv_text
from methods.tiny import same_bits, weights_of
from minilora.data import EncoderTokenizer, Example, load_classification_task
from minilora.experiments import classify
from minilora.experiments.classify import ClassifyConfig, adapt_and_measure, mean_and_spread, predict, report, run
from minilora.experiments.record import weights_id
from minilora.methods import LoRAConfig, apply_full, apply_lora
from minilora.models import Roberta, RobertaConfig, RobertaForClassification
from minilora.training import TrainConfig

SHAPE = RobertaConfig(vocab_size=EncoderTokenizer.vocab_size, n_positions=32, n_layer=1, d_model=16, n_head=2)
HEAD = 16 * 16 + 16 + 2 * 16 + 2
QUICK = TrainConfig(steps=2, batch_size=4, threads=1)
CONFIG = {"train": QUICK, "lrs": (1e-3, 1e-2), "seeds": (3, 4, 5)}


def full(model, rng):
    apply_full(model)


def lora(model, rng):
    apply_lora(model, LoRAConfig(rank=2, targets=("q_proj", "v_proj")), rng=rng)


def head_only(model, rng):
    model.freeze()


METHODS = {"head only": head_only, "LoRA": lora, "full": full}


def encoder(seed=0):
    """A Roberta at a generic point."""
    draw = np.random.default_rng(seed)
    model = Roberta(SHAPE, draw)
    for p in model.parameters():
        p.data += (0.2 * draw.standard_normal(p.data.shape)).astype(p.data.dtype)
    return model


@pytest.fixture(scope="module")
def task_file(tmp_path_factory):
    """Words of which those that begin with a vowel are to be told from the others."""
    draw = np.random.default_rng(0)
    words = {"".join(draw.choice(list("aeioubcdfg"), draw.integers(2, 6))) for _ in range(300)}
    path = tmp_path_factory.mktemp("task") / "words.csv"
    path.write_text(csv_text([Example(w, "vowel" if w[0] in "aeiou" else "other", w) for w in sorted(words)]))
    return str(path)


@pytest.fixture(scope="module")
def task(task_file):
    return load_classification_task(task_file, length=32)


def quick_run(task_file, folder, methods=METHODS, **settings):
    return run(encoder(), methods, ClassifyConfig(task_file, **(CONFIG | settings)), folder, progress=False)


@pytest.fixture(scope="module")
def results(task_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return quick_run(task_file, folder), folder


# ---- one run


def test_the_head_is_trained_and_not_counted(task):
    everything = sum(p.data.size for p in encoder().parameters())
    for method, trainable in (head_only, 0), (lora, 2 * 2 * (16 + 16)), (full, everything):
        result = adapt_and_measure(encoder(), task, method, QUICK)
        assert (result["trainable"], result["head"]) == (trainable, HEAD)


def test_the_encoder_stays_as_it_is(task):
    base = encoder()
    before = weights_of(base)
    adapt_and_measure(base, task, full, QUICK)
    adapt_and_measure(base, task, lora, QUICK)
    assert same_bits(weights_of(base), before) and base.config == SHAPE


def test_a_run_repeats_to_the_bit_and_follows_its_seed(task):
    def losses(seed):
        return adapt_and_measure(encoder(), task, lora, TrainConfig(steps=3, threads=1, seed=seed))["loss"]

    assert losses(0) == losses(0) != losses(1)


def test_training_learns_what_the_labels_are(task):
    result = adapt_and_measure(encoder(), task, full, TrainConfig(steps=150, batch_size=16, lr=1e-2))
    majority = max(task.class_counts("test").values()) / len(task.labels["test"])
    assert result["test"]["accuracy"] > 0.9 > majority + 0.2
    assert result["valid"]["accuracy"] > 0.9 and result["loss"] < 0.3


def test_predictions_are_in_the_order_of_the_examples_and_do_not_depend_on_the_batch(task):
    model = RobertaForClassification(SHAPE, np.random.default_rng(1), encoder=encoder())
    logits = np.concatenate([model.forward(b.ids, b.mask)[0] for b in task.batches("test", 1)])  # (n, n_classes)
    model.head.out_proj.bias.data[1] = np.median(logits[:, 0] - logits[:, 1])  # so that it says one as often as two
    by_tens = predict(model, task.batches("test", 10))
    one_by_one = [int(model.forward(batch.ids, batch.mask)[0].argmax()) for batch in task.batches("test", 1)]
    assert by_tens.tolist() == one_by_one and 0.4 < np.mean(one_by_one) < 0.6


def test_predictions_on_a_device_are_those_of_the_host(task):
    model = RobertaForClassification(SHAPE, np.random.default_rng(1), encoder=encoder())
    host = predict(model, task.batches("test", 10))
    for p in model.parameters():
        p.data = to_fake_device(p.data)
    assert predict(model, task.batches("test", 10)).tolist() == host.tolist()


# ---- the comparison


def test_every_method_has_the_same_number_of_runs(results):
    _, folder = results
    _, *lines = [json.loads(line) for line in (folder / "runs.jsonl").read_text().splitlines()]
    for name in METHODS:
        runs = [line["run"] for line in lines if line["run"]["method"] == name]
        assert [(r["lr"], r["seed"]) for r in runs[:2]] == [(1e-3, 3), (1e-2, 3)]
        assert [r["seed"] for r in runs[2:]] == [4, 5] and len({r["lr"] for r in runs[2:]}) == 1


def test_the_learning_rate_is_chosen_on_valid_whatever_test_says(task_file, tmp_path, monkeypatch):
    def made_up(encoder, task, method, train, description):
        right = {1e-3: 0.7, 1e-2: 0.9, 1e-1: 0.8}[train.lr]
        test = {"accuracy": 1 - right + 0.01 * train.seed, "macro_f1": 0.5}
        return {"trainable": 1, "head": 2, "seconds": 1.0, "valid": {"accuracy": right}, "test": test}

    monkeypatch.setattr(classify, "adapt_and_measure", made_up)
    chosen = quick_run(task_file, tmp_path, {"a": None}, lrs=(1e-3, 1e-2, 1e-1))["methods"]["a"]
    assert chosen["lr"] == 1e-2
    assert chosen["valid_accuracy_by_lr"] == [(1e-3, 0.7), (1e-2, 0.9), (1e-1, 0.8)]
    assert chosen["accuracy"]["values"] == pytest.approx([0.13, 0.14, 0.15])
    assert chosen["accuracy"]["mean"] == pytest.approx(0.14) and chosen["accuracy"]["std"] == pytest.approx(0.01)


def test_results_say_everything_that_is_needed_to_make_them_again(results):
    made, folder = results
    assert made["encoder"]["weights"] == weights_id(encoder()) and made["encoder"]["n_head"] == 2
    assert made["config"]["seeds"] == (3, 4, 5) and made["config"]["train"]["steps"] == 2
    assert made["baselines"].keys() == {"majority class", "naive Bayes, words", "naive Bayes, bytes"}
    assert sum(made["examples"]["train"].values()) > 100
    assert json.loads((folder / "classify.json").read_text()) == json.loads(json.dumps(made))
    assert (folder / "classify.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "classify.txt").read_text() == report(made) + "\n"


def test_what_is_finished_is_not_done_again(results, task_file, monkeypatch):
    made, folder = results

    def never(*_):
        raise AssertionError("trained again")

    again = quick_run(task_file, folder, dict.fromkeys(METHODS, never))
    assert {**again, "methods": None} == {**made, "methods": None}
    assert json.dumps(again["methods"]) == json.dumps(made["methods"])


def test_an_interrupted_comparison_goes_on_where_it_stopped(results, task_file, tmp_path):
    """A run that was cut short gives the same numbers as one that was not."""
    calls = []

    def stopping(model, rng):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        lora(model, rng)

    with pytest.raises(KeyboardInterrupt):
        quick_run(task_file, tmp_path, {"LoRA": stopping})
    assert not (tmp_path / "classify.json").exists()
    resumed = quick_run(task_file, tmp_path, {"LoRA": stopping})["methods"]["LoRA"]
    assert len(calls) == 3 + 2
    assert resumed["accuracy"] == results[0]["methods"]["LoRA"]["accuracy"]


def test_a_folder_with_runs_of_another_budget_is_refused(results, task_file):
    with pytest.raises(ValueError, match=r"holds the runs of another experiment; these differ: config"):
        quick_run(task_file, results[1], train=TrainConfig(steps=3))


# ---- what is said of it


def test_the_report_is_a_table_under_its_command():
    def scores(*values):
        return mean_and_spread([value / 100 for value in values])

    method = {"trainable": 1024, "head": 50, "lr": 3e-3, "accuracy": scores(90, 92, 94), "macro_f1": scores(70, 70, 73)}
    worse = {"trainable": 0, "head": 50, "lr": 1e-3, "accuracy": scores(50, 51, 52), "macro_f1": scores(40, 42, 41)}
    seconds = {"seconds": {"mean": 12.4}}
    text = report({
        "command": "minilora classify",
        "task": {"name": "words"},
        "config": {"seeds": (0, 1, 2)},
        "examples": {"train": {"a": 900, "b": 200}, "valid": {"a": 10}, "test": {"a": 20}},
        "baselines": {"majority class": {"accuracy": 0.5, "macro_f1": 1 / 3}},
        "methods": {"LoRA": method | seconds, "head only": worse | seconds},
    })
    assert text.splitlines() == [
        "$ minilora classify",
        "",
        "words: 1,100 examples in train, 10 in valid, 20 in test.",
        "Test scores as mean ± standard deviation of 3 seeds; the head's 50 are not counted.",
        "",
        "                trainable     lr  accuracy, %  macro-F1, %  seconds",
        "-------------------------------------------------------------------",
        "majority class          -      -  50.0         33.3               -",
        "head only               0  0.001  51.0 ±  1.0  41.0 ±  1.0       12",
        "LoRA                1,024  0.003  92.0 ±  2.0  71.0 ±  1.7       12",
    ]


@pytest.mark.parametrize(("settings", "message"), [
    ({"seeds": (1,)}, r"seeds was \(1,\); it may be at least 2 different numbers"),
    ({"seeds": (1, 2, 1)}, r"seeds was \(1, 2, 1\); it may be at least 2 different numbers"),
    ({"lrs": ()}, r"lrs was \(\); it may be at least 1 different numbers"),
])  # fmt: skip
def test_errors_at_the_door(settings, message):
    with pytest.raises(ValueError, match=message):
        ClassifyConfig(**settings)

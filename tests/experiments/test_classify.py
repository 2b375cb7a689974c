"""Methods compared on a classification task: equal budgets, no choice by test, no run twice, none that stops all."""

import json
import math
import re
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from multiprocessing import get_context

import pytest

from experiments.tiny import ENCODERS, byte_encoder, words_csv
from methods.tiny import same_bits
from minilora.data import load_classification_task
from minilora.experiments import classify
from minilora.experiments.classify import ClassifyConfig, ClassifyRun, adapted_classifier, run, train_and_measure
from minilora.experiments.classify_report import report
from minilora.experiments.measure import mean_and_spread
from minilora.methods import METHODS as ALL_METHODS
from minilora.methods import AdapterConfig, FullConfig, HeadConfig, LoRAConfig, PrefixConfig
from minilora.models import DebertaForClassification, RobertaForClassification, load_model, save_model, weights_id
from minilora.training import TrainConfig

HEAD = 16 * 16 + 16 + 2 * 16 + 2
QUICK = TrainConfig(steps=2, batch_size=4, threads=1)
CONFIG = {"train": QUICK, "lrs": (1e-3, 1e-2), "seeds": (3, 4, 5)}
LORA = LoRAConfig(rank=2, targets=("q_proj", "v_proj"))
METHODS = {"head": HeadConfig(), "LoRA": LORA, "full": "full"}
TOO_HIGH = 1e30
overflows = pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A file of each kind of encoder, at a generic point."""
    folder = tmp_path_factory.mktemp("encoders")
    for kind in ENCODERS:
        save_model(byte_encoder(kind), folder / kind)
    return folder


@pytest.fixture(scope="module")
def encoder(folder):
    return str(folder / "roberta")


@pytest.fixture(scope="module")
def task_file(tmp_path_factory):
    """Words of which those that begin with a vowel are to be told from the others."""
    path = tmp_path_factory.mktemp("task") / "words.csv"
    path.write_text(words_csv())
    return str(path)


@pytest.fixture(scope="module")
def task(task_file):
    return load_classification_task(task_file, length=32)


def quick_run(task_file, encoder, folder, methods=METHODS, **settings):
    config = ClassifyConfig(task_file, **(CONFIG | settings))
    return run(methods, config, folder, encoder=encoder, progress=False)


@pytest.fixture(scope="module")
def results(task_file, encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return quick_run(task_file, encoder, folder), folder


# ---- one run


def test_the_head_is_trained_and_not_counted(task_file, encoder):
    everything = sum(p.data.size for p in load_model(encoder).parameters())
    for method, trainable in (HeadConfig(), 0), (LORA, 2 * 2 * 2 * (16 + 16)), ("full", everything):
        result = train_and_measure(ClassifyRun(task_file, method, QUICK, encoder))
        assert (result["trainable"], result["head"]) == (trainable, HEAD)


@pytest.mark.parametrize("kind", ENCODERS)
def test_every_kind_of_encoder_gets_a_new_head_and_keeps_its_weights(task_file, folder, kind):
    settings = ClassifyRun(task_file, LORA, QUICK, str(folder / kind))
    model, _ = adapted_classifier(settings)
    assert type(model) is (RobertaForClassification if kind.startswith("roberta") else DebertaForClassification)
    assert model.head.out_proj.bias.data.shape == (2,)
    assert not model.head.dense.bias.data.any(), "new, and not the file's, where no bias is zero"
    loaded = load_model(folder / kind)
    assert same_bits(model.encoder.wte.W.data, getattr(loaded, "encoder", loaded).wte.W.data)
    result = train_and_measure(settings)
    assert result["trainable"] == 2 * 2 * 2 * (16 + 16) and math.isfinite(result["loss"])


@pytest.mark.parametrize("method", [name for name in ALL_METHODS if not name.startswith("prefix")])
def test_every_method_for_encoders_trains_the_head_too(task_file, folder, method):
    for kind in ("roberta", "deberta"):
        settings = ClassifyRun(task_file, method, replace(QUICK, lr=1e-2), str(folder / kind))
        model, _ = adapted_classifier(settings)
        assert all(p.trainable for p in model.head.parameters())
        result = train_and_measure(settings)
        assert result["diverged"] is None and result["trainable"] > 0 and result["head"] == HEAD
        assert result["valid"].keys() == result["test"].keys() == {"loss", "accuracy", "macro_f1"}


def test_a_run_repeats_to_the_bit_and_follows_its_seed(task_file, encoder):
    def loss(seed):
        return train_and_measure(ClassifyRun(task_file, LORA, replace(QUICK, seed=seed), encoder))["loss"]

    assert loss(0) == loss(0) != loss(1)


def test_a_run_can_be_done_in_another_process(task_file, encoder):
    settings = [ClassifyRun(task_file, method, QUICK, encoder) for method in (LORA, "bitfit")]
    here = [train_and_measure(s) for s in settings]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        there = list(pool.map(train_and_measure, settings))
    assert [{**r, "seconds": 0} for r in there] == [{**r, "seconds": 0} for r in here]
    assert json.loads(json.dumps(here)) == here and here[0] != here[1]


def test_training_learns_what_the_labels_are(task, task_file, encoder):
    train = TrainConfig(steps=200, batch_size=16, lr=3e-3)
    result = train_and_measure(ClassifyRun(task_file, "full", train, encoder))
    majority = max(task.class_counts("test").values()) / len(task.labels["test"])
    assert result["test"]["accuracy"] > 0.9 > majority + 0.2
    assert result["valid"]["accuracy"] > 0.9 and result["loss"] < 0.3


@overflows
@pytest.mark.parametrize(("steps", "when"), [(20, r"the loss became (nan|inf) at step \d+; a lower lr than 1e\+30"),
                                             (1, "the loss on valid was nan after the last step")])  # fmt: skip
def test_a_run_that_diverges_says_so_and_has_no_scores(task_file, encoder, steps, when):
    train = replace(QUICK, steps=steps, lr=TOO_HIGH, warmup=0.0, schedule="constant")
    result = train_and_measure(ClassifyRun(task_file, "full", train, encoder))
    assert re.match(when, result["diverged"])
    assert result["loss"] is result["valid"] is result["test"] is None
    assert result["head"] == HEAD and result["trainable"] > 0


# ---- the comparison


def test_every_method_has_the_same_number_of_runs(results):
    made, folder = results
    _, *lines = [json.loads(line) for line in (folder / "runs.jsonl").read_text().splitlines()]
    for label in METHODS:
        method = json.loads(json.dumps(made["methods"][label]["method"]))
        runs = [line["run"] for line in lines if line["run"]["method"] == method]
        assert [(r["lr"], r["seed"]) for r in runs[:2]] == [(1e-3, 3), (1e-2, 3)]
        assert [r["seed"] for r in runs[2:]] == [4, 5] and {r["lr"] for r in runs[2:]} == {made["methods"][label]["lr"]}


def made_up(accuracy_by_lr, monkeypatch, diverged_seeds=()):
    """Runs whose accuracy on valid depends on the rate alone, and on test on rate and seed; None: it diverges."""

    def train_and_measure(settings, bar):
        lr, seed = settings.train.lr, settings.train.seed
        right = accuracy_by_lr[lr]
        common = {"trainable": 1, "head": 2, "seconds": 1.0}
        if right is None or seed in diverged_seeds:
            return {**common, "diverged": "the loss became nan", "loss": None, "valid": None, "test": None}
        test = {"accuracy": 1 - right + 0.01 * seed, "macro_f1": 0.5}
        return {**common, "diverged": None, "loss": 0.1, "valid": {"accuracy": right}, "test": test}

    monkeypatch.setattr(classify, "train_and_measure", train_and_measure)


def test_the_learning_rate_is_chosen_on_valid_whatever_test_says(task_file, encoder, tmp_path, monkeypatch):
    made_up({1e-3: 0.7, 1e-2: 0.9, 1e-1: 0.8}, monkeypatch)
    chosen = quick_run(task_file, encoder, tmp_path, {"a": LORA}, lrs=(1e-3, 1e-2, 1e-1))["methods"]["a"]
    assert chosen["lr"] == 1e-2
    assert chosen["valid_accuracy_by_lr"] == [(1e-3, 0.7), (1e-2, 0.9), (1e-1, 0.8)]
    assert chosen["accuracy"]["values"] == pytest.approx([0.13, 0.14, 0.15])
    assert chosen["accuracy"]["mean"] == pytest.approx(0.14) and chosen["accuracy"]["std"] == pytest.approx(0.01)
    assert (chosen["seeds"], chosen["seeds_diverged"]) == (3, 0)


def test_a_rate_that_diverges_is_not_chosen_and_is_named(task_file, encoder, tmp_path, monkeypatch):
    made_up({1e-3: 0.7, 1e-2: None, 1e-1: 0.6}, monkeypatch)
    made = quick_run(task_file, encoder, tmp_path, {"a": LORA}, lrs=(1e-3, 1e-2, 1e-1))
    assert made["methods"]["a"]["lr"] == 1e-3
    assert made["methods"]["a"]["valid_accuracy_by_lr"] == [(1e-3, 0.7), (1e-2, None), (1e-1, 0.6)]
    assert report(made).splitlines()[-1] == "a: the loss became infinite at 0.01."


def test_a_seed_that_diverges_at_the_chosen_rate_is_left_out_and_counted(task_file, encoder, tmp_path, monkeypatch):
    made_up({1e-3: 0.7, 1e-2: 0.6}, monkeypatch, diverged_seeds=(5,))
    made = quick_run(task_file, encoder, tmp_path, {"a": LORA})
    assert made["methods"]["a"]["accuracy"]["values"] == pytest.approx([0.33, 0.34])
    assert made["methods"]["a"]["seeds_diverged"] == 1
    assert report(made).splitlines()[-1] == (
        "a: with 1 of 3 seeds the loss became infinite at 0.001; the scores are of the others."
    )


def test_with_one_seed_left_there_is_no_deviation(task_file, encoder, tmp_path, monkeypatch):
    made_up({1e-3: 0.7, 1e-2: 0.6}, monkeypatch, diverged_seeds=(4, 5))
    made = quick_run(task_file, encoder, tmp_path, {"a": LORA})
    assert made["methods"]["a"]["accuracy"]["std"] is None
    assert "33.0 ±    -" in report(made)


@overflows
def test_a_method_of_which_all_runs_diverge_does_not_stop_the_others(task_file, encoder, tmp_path):
    methods = {"full": FullConfig(), "head": HeadConfig()}
    train = replace(QUICK, steps=3, warmup=0.0, schedule="constant")
    made = quick_run(task_file, encoder, tmp_path, methods, lrs=(TOO_HIGH, 2 * TOO_HIGH), train=train)
    full = made["methods"]["full"]
    assert full["lr"] is None and full["accuracy"] == {"mean": None, "std": None, "values": []}
    assert full["valid_accuracy_by_lr"] == [(TOO_HIGH, None), (2 * TOO_HIGH, None)]
    assert json.loads((tmp_path / "classify.json").read_text())["methods"]["full"]["trainable"] == full["trainable"]
    text = (tmp_path / "classify.txt").read_text()
    assert "full: the loss became infinite at every rate (1e+30, 2e+30), so there is no score." in text
    assert next(line for line in text.splitlines() if line.startswith("full")).count("diverged") == 2
    assert len((tmp_path / "runs.jsonl").read_text().splitlines()) >= 1 + 2 + 2


def test_results_say_everything_that_is_needed_to_make_them_again(results, encoder):
    made, folder = results
    assert made["encoder"]["weights"] == weights_id(load_model(encoder)) and made["encoder"]["n_head"] == 2
    assert made["config"]["seeds"] == (3, 4, 5) and made["config"]["train"]["steps"] == 2
    assert made["methods"]["LoRA"]["method"] == {"kind": "lora", "config": asdict(LORA)}
    assert made["methods"]["full"]["method"] == {"kind": "full", "config": {}}
    assert made["baselines"].keys() == {"majority class", "naive Bayes, words", "naive Bayes, bytes"}
    assert sum(made["examples"]["train"].values()) > 100
    assert json.loads((folder / "classify.json").read_text()) == json.loads(json.dumps(made))
    assert (folder / "classify.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "classify.txt").read_text() == report(made) + "\n"


def test_what_is_finished_is_not_done_again(results, task_file, encoder, monkeypatch):
    made, folder = results

    def never(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(classify, "train_and_measure", never)
    again = quick_run(task_file, encoder, folder)
    assert {**again, "methods": None} == {**made, "methods": None}
    assert json.dumps(again["methods"]) == json.dumps(made["methods"])
    with pytest.raises(AssertionError, match="trained again"):  # the same label, but another method
        quick_run(task_file, encoder, folder, {"LoRA": replace(LORA, rank=3)})


def test_an_interrupted_comparison_goes_on_where_it_stopped(results, task_file, encoder, tmp_path, monkeypatch):
    """A run that was cut short gives the same numbers as one that was not."""
    calls = []

    def stopping(settings, bar):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train_and_measure(settings, bar)

    monkeypatch.setattr(classify, "train_and_measure", stopping)
    with pytest.raises(KeyboardInterrupt):
        quick_run(task_file, encoder, tmp_path, {"LoRA": LORA})
    assert not (tmp_path / "classify.json").exists()
    resumed = quick_run(task_file, encoder, tmp_path, {"LoRA": LORA})["methods"]["LoRA"]
    assert len(calls) == 3 + 2
    assert resumed["accuracy"] == results[0]["methods"]["LoRA"]["accuracy"]


def test_a_folder_with_runs_of_another_budget_is_refused(results, task_file, encoder):
    with pytest.raises(ValueError, match=r"holds the runs of another experiment; these differ: config"):
        quick_run(task_file, encoder, results[1], train=TrainConfig(steps=3))


@pytest.mark.parametrize(("method", "message"), [
    ("magic", r"method was 'magic'; it may be a configuration, or one of 'lora'"),
    (max, r"method was <built-in function max>; it may be a configuration"),
    (PrefixConfig(), r"model was a RobertaForClassification; prefix tuning needs a decoder"),
    (LoRAConfig(rank=17), r"rank was 17 for .* from 1 to 16"),
    (AdapterConfig(leave_out=2), r"leave_out was 2; it may be from 0 to 1"),
])  # fmt: skip
def test_a_method_that_does_not_fit_is_known_before_anything_is_trained(task_file, encoder, tmp_path, method, message):
    with pytest.raises(ValueError, match=message):
        quick_run(task_file, encoder, tmp_path, {"LoRA": LORA, "another": method})
    assert not list(tmp_path.iterdir())


# ---- what is said of it


def test_the_report_is_a_table_under_its_command():
    def scores(*values):
        return mean_and_spread([value / 100 for value in values])

    common = {"head": 50, "seeds": 3, "seeds_diverged": 0, "seconds": {"mean": 12.4}, "valid_accuracy_by_lr": []}
    method = {"trainable": 1024, "lr": 3e-3, "accuracy": scores(90, 92, 94), "macro_f1": scores(70, 70, 73)}
    worse = {"trainable": 0, "lr": 1e-3, "accuracy": scores(50, 51, 52), "macro_f1": scores(40, 42, 41)}
    text = report({
        "command": "minilora classify",
        "task": {"name": "words"},
        "config": {"seeds": (0, 1, 2)},
        "examples": {"train": {"a": 900, "b": 200}, "valid": {"a": 10}, "test": {"a": 20}},
        "baselines": {"majority class": {"accuracy": 0.5, "macro_f1": 1 / 3}},
        "methods": {"LoRA": method | common, "head only": worse | common},
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

"""One method on a classification task: the head is trained, a run repeats to the bit, one that diverges says so."""

import json
import math
import re
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy
import pytest

from experiments.tiny import ENCODERS, byte_encoder, words_csv
from methods.tiny import same_bits
from minilora.data import load_classification_task
from minilora.experiments.classify import ClassifyRun, adapted_classifier, task_of, train_and_measure
from minilora.experiments.measure import measure_classes
from minilora.methods import METHODS as ALL_METHODS
from minilora.methods import HeadConfig, HoulsbyConfig, LoRAConfig, PrefixConfig, PromptTuningConfig
from minilora.models import DebertaForClassification, RobertaForClassification, load_model, save_model
from minilora.training import TrainConfig

HEAD = 16 * 16 + 16 + 2 * 16 + 2
QUICK = TrainConfig(steps=2, batch_size=4, threads=1)
LORA = LoRAConfig(rank=2, targets=("q_proj", "v_proj"))
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


@pytest.mark.parametrize("method", [name for name in ALL_METHODS if name != "prompt-tuning"])
def test_every_method_for_encoders_trains_the_head_too(task_file, folder, method):
    for kind in ("roberta",) if "prefix" in method else ("roberta", "deberta"):
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
    majority = numpy.bincount(task.labels["test"]).max() / len(task.labels["test"])
    assert result["test"]["accuracy"] > 0.9 > majority + 0.2
    assert result["valid"]["accuracy"] > 0.9 and result["loss"] < 0.3


@overflows
@pytest.mark.parametrize(
    ("steps", "when"),
    [
        (20, r"the loss became (nan|inf) at step \d+; a lower lr than 1e\+30"),
        (1, "the loss on valid was nan after the last step"),
    ],
)
def test_a_run_that_diverges_says_so_and_has_no_scores(task_file, encoder, steps, when):
    train = replace(QUICK, steps=steps, lr=TOO_HIGH, warmup=0.0, schedule="constant")
    result = train_and_measure(ClassifyRun(task_file, "full", train, encoder))
    assert re.match(when, result["diverged"])
    assert result["loss"] is result["valid"] is result["test"] is None
    assert result["head"] == HEAD and result["trainable"] > 0


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("magic", r"method was 'magic'; it must be a configuration, or one of 'lora'"),
        (max, r"method was <built-in function max>; it must be a configuration"),
        (PromptTuningConfig(), r"model was a RobertaForClassification; prompt tuning needs a decoder"),
        (LoRAConfig(rank=17), r"rank was 17 for .* from 1 to 16"),
        (HoulsbyConfig(leave_out=2), r"leave_out was 2; it must be from 0 to 1"),
    ],
)
def test_a_method_that_does_not_fit_is_refused(task_file, encoder, method, message):
    with pytest.raises(ValueError, match=message):
        train_and_measure(ClassifyRun(task_file, method, QUICK, encoder))


def test_a_prefix_takes_positions_and_texts_for_which_there_is_no_room_are_left_out(task_file, encoder):
    """A word has up to 5 letters, with two tokens around it; 6 of the 32 positions are left."""
    model, task = adapted_classifier(ClassifyRun(task_file, PrefixConfig(before=20, after=6), QUICK, encoder))
    lengths = [len(ids) for ids in task.tokens["train"]]
    assert max(lengths) == 6 == model.longest_input and task.left_out > 0
    result = train_and_measure(ClassifyRun(task_file, PrefixConfig("layer", before=20, after=5), QUICK, encoder))
    assert result["trainable"] == 2 * 25 * 16 and math.isfinite(result["test"]["loss"])


def test_as_many_examples_are_measured_as_are_asked_for(task, task_file, encoder):
    few, everything = task_of(task_file, 32, 8), task_of(task_file, 32)
    assert len(few.labels["valid"]) <= 8 < len(task.labels["valid"]) and len(few.labels["test"]) <= 8
    assert few.labels["train"].tolist() == task.labels["train"].tolist()
    assert len(set(few.labels["test"].tolist())) == 2, "taken from all of the split"
    for split in ("valid", "test"):
        assert sorted(e.text for e in everything.splits[split]) == sorted(e.text for e in task.splits[split])
        lengths = [len(ids) for ids in everything.tokens[split]]
        assert lengths == sorted(lengths) and len(set(lengths)) > 1, "so that little of a batch is padding"
    run = ClassifyRun(task_file, LORA, QUICK, encoder)
    correct = len(few.labels["test"]) * train_and_measure(replace(run, n_held_out=8))["test"]["accuracy"]
    assert correct == pytest.approx(round(correct))
    model, _ = adapted_classifier(run)
    sorted_or_not = [measure_classes(model, t, split="test") for t in (task, everything)]
    assert sorted_or_not[0] == pytest.approx(sorted_or_not[1], rel=1e-5)

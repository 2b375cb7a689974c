"""`minilora finetune`, `evaluate` and `merge` on tasks of classes, with encoders; and what users get wrong there."""

import json
import re
import shlex

import numpy as np
import pytest

import minilora
from cli.running import check_refused, prints, read, table_of
from experiments.tiny import ENCODERS, byte_encoder
from methods.tiny import same_bits, weights_of
from minilora.analysis import (
    classification_scores,
)
from minilora.cli import main
from minilora.data import EncoderTokenizer, load_classification_task
from minilora.experiments.baselines import baselines
from minilora.interop import save_hf
from minilora.models import bundled


@pytest.fixture(autouse=True)
def folder(encoder_folder, monkeypatch):
    monkeypatch.chdir(encoder_folder)
    return encoder_folder


MODEL = ("--model", "roberta-masked-lm")
QUICK = ("--steps", "3", "--batch-size", "4", "--threads", "1", "--lr", "0.01")
WORDS = ("--task", "words.csv")
FOR_ENCODERS = tuple(name for name in minilora.METHODS if name != "prompt-tuning")
KINDS = {"roberta-masked-lm": FOR_ENCODERS, "deberta": tuple(name for name in FOR_ENCODERS if "prefix" not in name)}


@pytest.mark.parametrize("kind", ENCODERS)
def test_every_kind_of_encoder_is_fine_tuned_and_gives_the_same_numbers_again(kind, tmp_path):
    arguments = ["finetune", "--model", kind, *WORDS, *QUICK, "--out", str(tmp_path)]
    printed = prints(*arguments)
    result = read(tmp_path / "result.json")
    assert result["command"] == shlex.join(["minilora", *arguments])
    assert result["task"] == {"name": "words.csv", "id": result["task"]["id"], "left_out": 0}
    assert result["head"] == 16 * 16 + 16 + 2 * 16 + 2 and result["trainable"] > result["head"]
    assert f"{result['trainable']:,} parameters trained ({result['head']} of them the head's)" in printed
    assert {path.name for path in tmp_path.iterdir()} == {
        "adapter.safetensors",
        "result.json",
        "config.json",
        "history.json",
    }
    again = prints("evaluate", "--model", kind, "--adapter", tmp_path, *WORDS)
    assert table_of(again) == table_of(printed) and f"loss {result['loss']:.4f} nats per text" in again


def test_a_hugging_face_folder_is_read_with_its_own_tokenizer(tmp_path):
    pytest.importorskip("tokenizers", reason="needs the package tokenizers: pip install -e '.[hf]'")
    save_hf(byte_encoder("roberta-classification"), tmp_path / "folder", tokenizer=EncoderTokenizer())
    for task in ("words.csv", "pairs.csv"):
        printed = prints("evaluate", "--model", tmp_path / "folder", "--task", task)
        assert printed == prints("evaluate", "--model", "roberta-classification", "--task", task)
    prints("finetune", "--model", tmp_path / "folder", *WORDS, *QUICK, "--out", tmp_path / "run")
    (tmp_path / "folder" / "tokenizer.json").unlink()
    assert main(["evaluate", "--model", str(tmp_path / "folder"), *WORDS]) == 2


@pytest.mark.parametrize(("kind", "method"), [(kind, name) for kind, names in KINDS.items() for name in names])
def test_every_method_for_encoders(kind, method, tmp_path):
    own = {"lora": ("--rank", 2), "rslora": ("--rank", 2), "dora": ("--rank", 2), "pissa": ("--rank", 2)}
    own |= {"lora-fa": ("--rank", 2), "lora-ga": ("--rank", 2)}
    own |= {"prefix-embedding": ("--before", 1, "--after", 1), "prefix-layer": ("--before", 1, "--after", 0)}
    own |= {"lora+prefix-embedding": ("--rank", 2, "--before", 2, "--after", 0)}
    own |= {"lora+prefix-layer": ("--rank", 2, "--before", 1, "--after", 1)}
    options = ("--method", method, *(("--size", 4) if method.startswith("adapter") else own.get(method, ())))
    printed = prints("finetune", "--model", kind, *WORDS, *options, *QUICK, "--out", tmp_path)
    if method == "full":
        of_what = ("--model", tmp_path / "model.safetensors")
    else:
        of_what = ("--model", kind, "--adapter", tmp_path)
    assert table_of(prints("evaluate", *of_what, *WORDS)) == table_of(printed)
    assert 0 < read(tmp_path / "result.json")["head"] < read(tmp_path / "result.json")["trainable"]


def test_the_scores_are_those_of_the_model_beside_the_baselines(tmp_path):
    minilora.save_model(byte_encoder("roberta-classification"), tmp_path / "model")
    printed = prints("evaluate", "--model", tmp_path / "model", *WORDS, "--split", "valid")
    model, task = byte_encoder("roberta-classification"), load_classification_task("words.csv", length=32)
    predictions = [int(model.forward(b.ids, b.padding_mask)[0].argmax()) for b in task.batches("valid", 1)]
    expected = {"the model": classification_scores(task.labels["valid"], predictions), **baselines(task, "valid")}
    lines = printed.splitlines()
    assert lines[0] == "words.csv, valid:" and lines[2].split() == ["accuracy,", "%", "macro-F1,", "%"]
    found = {name: cells for name, *cells in (re.split(r"\s{2,}", line) for line in lines[4:])}
    assert found == {name: [f"{100 * s['accuracy']:.2f}", f"{100 * s['macro_f1']:.2f}"] for name, s in expected.items()}
    assert list(found) == ["the model", "majority class", "naive Bayes, words", "naive Bayes, bytes"]


def test_training_beats_the_majority(tmp_path):
    longer = ("--steps", "200", "--batch-size", "16", "--lr", "3e-3", "--method", "full")
    prints("finetune", *MODEL, *WORDS, *longer, "--out", tmp_path)
    result = read(tmp_path / "result.json")
    assert result["accuracy"] > result["baselines"]["majority class"]["accuracy"] + 0.2


def test_files_of_each_kind_hold_the_same_task(tmp_path):
    made = [
        prints("finetune", *MODEL, "--task", f"words.{kind}", *QUICK, "--out", tmp_path / kind)
        for kind in ("csv", "jsonl")
    ]
    assert table_of(made[0]) == table_of(made[1])


def test_pairs_of_texts_are_compared_with_word_overlap(tmp_path):
    assert "word overlap" in prints("finetune", *MODEL, "--task", "pairs.csv", *QUICK, "--out", tmp_path)


def test_what_is_too_long_is_said(tmp_path):
    printed = prints("finetune", *MODEL, "--task", "with-long-ones.csv", *QUICK, "--out", tmp_path)
    assert "examples of more than 32 tokens, left out: 2" in printed.splitlines()
    assert read(tmp_path / "result.json")["task"]["left_out"] == 2
    again = prints("evaluate", *MODEL, "--adapter", tmp_path, "--task", "with-long-ones.csv")
    assert "examples of more than 32 tokens, left out: 2" in again.splitlines()
    assert "left out" not in prints("evaluate", *MODEL, "--adapter", tmp_path, *WORDS)
    assert "left out" not in prints(
        "finetune", "--model", "deberta", "--task", "with-long-ones.csv", *QUICK, "--out", tmp_path / "deberta"
    )


def test_a_task_by_name(tmp_path):
    printed = prints("finetune", "--model", "longer", "--task", "unicode-names", *QUICK, "--out", tmp_path)
    assert "unicode-names, test:" in printed and read(tmp_path / "result.json")["head"] == 16 * 16 + 16 + 15 * 16 + 15


def test_a_head_for_as_many_classes_is_kept_and_another_is_replaced(tmp_path):
    nothing = ("--lr", "0")
    for model, kept in ("roberta-classification", True), ("three-classes", False):
        prints("finetune", "--model", model, *WORDS, *QUICK, *nothing, "--method", "full", "--out", tmp_path / model)
        before, after = (minilora.load_model(file).head for file in (model, tmp_path / model / "model.safetensors"))
        assert same_bits(before.dense.W.data, after.dense.W.data) == kept


def test_a_run_repeats_with_its_seed(tmp_path):
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        prints("finetune", *MODEL, *WORDS, *QUICK, "--seed", seed, "--out", tmp_path / name)
    one, same, other = ((tmp_path / name / "adapter.safetensors").read_bytes() for name in ("one", "same", "other"))
    assert one == same != other


@pytest.mark.parametrize("kind", ["roberta-masked-lm", "deberta"])
def test_merged_it_is_one_model_with_the_same_logits(kind, tmp_path):
    prints("finetune", "--model", kind, *WORDS, *QUICK, "--out", tmp_path)
    prints("merge", "--model", kind, "--adapter", tmp_path, "--out", tmp_path / "merged")
    merged = minilora.load_model(tmp_path / "merged")
    beside = minilora.models.new_classifier(minilora.load_model(kind), 2, np.random.default_rng(9))
    minilora.load_adapter(beside, tmp_path / "adapter.safetensors")
    ids = np.random.default_rng(0).integers(4, 260, (2, 20))
    np.testing.assert_allclose(merged.forward(ids)[0], beside.forward(ids)[0], atol=1e-5)
    assert (
        type(merged) is type(beside)
        and weights_of(merged).keys() == weights_of(byte_encoder(kind.split("-")[0] + "-classification")).keys()
    )
    assert "the model" in prints("evaluate", "--model", tmp_path / "merged", *WORDS)


def test_bitfit_of_a_classifier_becomes_a_model(tmp_path):
    prints("finetune", *MODEL, *WORDS, *QUICK, "--method", "bitfit", "--out", tmp_path)
    prints("merge", *MODEL, "--adapter", tmp_path, "--out", tmp_path / "merged")
    of_adapter, of_model = (
        table_of(prints("evaluate", *of_what, *WORDS))
        for of_what in ((*MODEL, "--adapter", tmp_path), ("--model", tmp_path / "merged"))
    )
    assert of_adapter == of_model


def test_the_adapter_of_a_classifier_goes_to_peft_and_back(tmp_path):
    prints("finetune", "--model", "roberta-classification", *WORDS, *QUICK, "--out", tmp_path)
    adapter = ("--adapter", tmp_path)
    prints("export-peft", "--model", "roberta-classification", *adapter, "--out", tmp_path / "peft")
    config = json.loads((tmp_path / "peft" / "adapter_config.json").read_text())
    assert config["task_type"] == "SEQ_CLS" and config["modules_to_save"] == ["classifier"]
    back = tmp_path / "back.safetensors"
    prints("import-peft", tmp_path / "peft", "--model", "roberta-classification", "--out", back)
    first, again = (
        prints("evaluate", "--model", "roberta-classification", "--adapter", file, *WORDS) for file in (tmp_path, back)
    )
    assert first == again


@pytest.fixture
def bundled_encoder(tmp_path, monkeypatch):
    """A tiny encoder in the place of the bundled one, beside the bundled decoder."""
    assets = tmp_path / "assets"
    assets.mkdir()
    (assets / "decoder.safetensors").symlink_to(bundled.ASSETS / "decoder.safetensors")
    minilora.save_model(byte_encoder("roberta-masked-lm"), assets / "encoder.safetensors", dtype="float16")
    (assets / "encoder.json").write_text('{"command": "minilora pretrain --kind encoder"}')
    monkeypatch.setattr(bundled, "ASSETS", assets)


def test_classes_are_told_apart_by_the_bundled_encoder_if_no_model_is_named(bundled_encoder, tmp_path):
    assert type(minilora.load_bundled("encoder")) is minilora.models.RobertaForMaskedLM
    assert bundled.bundled_recipe("encoder")["command"] == "minilora pretrain --kind encoder"
    printed = prints("finetune", *WORDS, *QUICK, "--out", tmp_path / "run")
    assert table_of(prints("evaluate", *WORDS, "--adapter", tmp_path / "run")) == table_of(printed)
    prints("merge", "--adapter", tmp_path / "run", "--out", tmp_path / "merged")
    assert type(minilora.load_model(tmp_path / "merged")) is minilora.RobertaForClassification


def test_texts_for_which_a_prefix_leaves_no_room_are_left_out_and_counted(tmp_path):
    prefix = ("--method", "prefix-embedding", "--before", 20, "--after", 6)  # of 32 positions, 6 are left
    printed = prints("finetune", *MODEL, *WORDS, *prefix, *QUICK, "--out", tmp_path)
    assert read(tmp_path / "result.json")["task"]["left_out"] > 0
    assert table_of(prints("evaluate", *MODEL, "--adapter", tmp_path, *WORDS)) == table_of(printed)


def test_texts_are_still_the_bundled_decoder_s(bundled_encoder):
    assert prints("generate", "The ", "--max-tokens", 3).startswith("The ")


def test_an_encoder_s_adapter_is_for_no_task_of_texts(bundled_encoder, tmp_path, capsys):
    prints("finetune", *WORDS, *QUICK, "--out", tmp_path / "run")
    capsys.readouterr()
    for arguments, said in (
        (["evaluate", "--task", "mini-e2e"], "has a head for 2 classes; mini-e2e is a text task: give --task"),
        (["generate", "The "], "is a classifier's; this command needs a decoder's"),
    ):
        assert main([*arguments, "--adapter", str(tmp_path / "run")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.endswith(f": --adapter {tmp_path / 'run'} {said}")


def test_the_adapter_of_another_number_of_classes(tmp_path, capsys):
    prints("finetune", "--model", "longer", "--task", "unicode-names", *QUICK, "--out", tmp_path)
    assert main(["evaluate", "--model", "longer", *WORDS, "--adapter", str(tmp_path)]) == 2
    assert "the model tells 15 classes apart; words.csv has 2" in capsys.readouterr().err


FINETUNE = ("finetune", *QUICK, "--out", "out")


WRONG = {
    "a decoder for classes": (
        [*FINETUNE, "--model", "gpt", *WORDS],
        r"gpt holds a GPT; words\.csv is a classification task, for which --model must be an encoder",
    ),
    "a decoder for classes by name": (
        [*FINETUNE, "--model", "gpt", "--task", "unicode-names"],
        r"gpt holds a GPT; unicode-names is a classification task",
    ),
    "an encoder for texts": (
        [*FINETUNE, *MODEL, "--task", "mini-e2e"],
        r"roberta-masked-lm holds a RobertaForMaskedLM; mini-e2e is a text task, for which --model must be a decoder",
    ),
    "an encoder for running text": ([*FINETUNE, *MODEL, "--text", "notes.txt"], r"notes\.txt is a text task"),
    "an encoder for a text file": ([*FINETUNE, *MODEL, "--task", "notes.txt"], r"notes\.txt is a text task"),
    "an encoder and no task": ([*FINETUNE, *MODEL], r"mini-e2e is a text task, for which --model must be a decoder"),
    "an encoder to generate": (["generate", "a", *MODEL], r"holds a RobertaForMaskedLM; this command needs a decoder"),
    "no such task": (
        [*FINETUNE, *MODEL, "--task", "glue"],
        r"--task was glue; .* mini-e2e, .* unicode-names, .* \.jsonl file",
    ),
    "no label column": (
        [*FINETUNE, *MODEL, "--task", "no-label.csv"],
        r"lacks the column label; its header has text, answer",
    ),
    "sources and targets": ([*FINETUNE, *MODEL, "--task", "sums.csv"], r"sums\.csv lacks the column text and label; "),
    "one class": ([*FINETUNE, *MODEL, "--task", "one-class.csv"], r"one-class\.csv has only one class, 'same'; "),
    "labels not in train": (
        [*FINETUNE, *MODEL, "--task", "own-labels.csv"],
        r"has the labels \[.*\] in valid and not in train",
    ),
    "an empty text": ([*FINETUNE, *MODEL, "--task", "empty-text.csv"], r"line 3: text must be a text .*, not ''"),
    "no such file": ([*FINETUNE, *MODEL, "--task", "none.csv"], r"--task was none\.csv, but there is no such file"),
    "too short": ([*FINETUNE, *MODEL, "--task", "unicode-names"], r"examples of up to \d+ tokens; the model takes 32"),
    "another vocabulary": (
        [*FINETUNE, "--model", "other-vocabulary", *WORDS],
        "--model was other-vocabulary, which reads the ids of a tokenizer that it does not name; tokenizer.json must ",
    ),
    "prompt tuning": (
        [*FINETUNE, *MODEL, *WORDS, "--method", "prompt-tuning"],
        r"prompt tuning needs a decoder, a GPT or a Llama",
    ),
    "a prefix on a DeBERTa": (
        [*FINETUNE, "--model", "deberta", *WORDS, "--method", "prefix-layer", "--before", "1", "--after", "0"],
        r"model was a DebertaForClassification; prefix tuning needs a GPT, a Llama, or a RoBERTa",
    ),
    "to evaluate without a head": (
        ["evaluate", *MODEL, *WORDS],
        r"the model is a RobertaForMaskedLM, without a head for the classes of words\.csv",
    ),
    "to evaluate with another head": (
        ["evaluate", "--model", "three-classes", *WORDS],
        r"the model tells 3 classes apart; words\.csv has 2",
    ),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_written(arguments, message, folder, capsys):
    check_refused(arguments, message, folder, capsys)

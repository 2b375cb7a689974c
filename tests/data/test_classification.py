"""Tasks with labels, and their batches."""

import json
import math

import numpy as np
import pytest

from minilora.data import (
    CLASSIFICATION_TASKS,
    TASKS,
    ClassificationTask,
    EncoderTokenizer,
    LabelledExample,
    has_classes,
    load_classification_task,
)
from minilora.training.objective import split_batch

SPLITS = ("train", "valid", "test")
tokenizer = EncoderTokenizer()


def rng(seed=0):
    return np.random.default_rng(seed)


def parity(n):
    """Texts of n different lengths, labelled by whether their length is odd."""
    return [LabelledExample("x" * i, "odd" if i % 2 else "even", str(i)) for i in range(1, n + 1)]


def task(examples=None, length=64, **splits):
    splits = dict.fromkeys(SPLITS, examples or parity(40)) | splits
    return ClassificationTask("parity", splits, ("even", "odd"), length)


def test_a_batch_is_padded_texts_and_their_labels():
    examples = [LabelledExample("ab", "odd", "1"), LabelledExample("a", "even", "2", second="cd")]
    (batch,) = task(examples).batches("test")
    assert batch.ids.dtype == batch.labels.dtype == np.int64 and batch.padding_mask.dtype == bool
    assert batch.n_targets == 2
    assert [row[mask].tolist() for row, mask in zip(batch.ids, batch.padding_mask)] == [
        tokenizer.encode("ab").tolist(),
        tokenizer.encode("a", "cd").tolist(),
    ]
    assert (batch.ids[~batch.padding_mask] == 1).all() and batch.ids.shape == batch.padding_mask.shape == (2, 7)
    assert batch.labels.tolist() == [1, 0]


def test_batches_hold_each_example_once_and_in_order():
    batches = list(task().batches("test", batch_size=16))
    assert [batch.n_targets for batch in batches] == [16, 16, 8]
    texts = [tokenizer.decode(row) for batch in batches for row in batch.ids]
    assert texts == [f"<s>{e.text}</s>" for e in parity(40)]
    assert np.concatenate([batch.labels for batch in batches]).tolist() == [i % 2 for i in range(1, 41)]


def test_a_batch_can_be_cut_into_parts():
    (batch,) = task(parity(5)).batches("test")
    parts = split_batch(batch, 2)
    assert [part.n_targets for part in parts] == [2, 3]
    assert np.concatenate([part.labels for part in parts]).tolist() == batch.labels.tolist()


def test_drawn_batches_follow_the_seed():
    one, same, other = (task().sample_batch(rng(seed), 8).ids.tobytes() for seed in (0, 0, 1))
    assert one == same != other


def test_drawn_labels_are_those_of_their_texts():
    batch = task().sample_batch(rng(), 16)
    assert batch.labels.tolist() == [(n - 2) % 2 for n in batch.padding_mask.sum(axis=1)]


def test_every_example_is_drawn_equally_often_and_beside_others_of_its_length():
    drawn_from, draw, count, spread = task(parity(60)), rng(), np.zeros(61), []
    for _ in range(4000):
        lengths = drawn_from.sample_batch(draw, 6).padding_mask.sum(axis=1) - 2
        np.add.at(count, lengths, 1)
        spread.append(lengths.max() - lengths.min())
    assert np.abs(count[1:] / 400 - 1).max() < 0.25
    assert np.mean(spread) < 20, "of six uniform draws out of 60, it would be 43"


def test_batches_are_drawn_from_train():
    some = [LabelledExample("train", "odd", "1"), LabelledExample("TRAIN", "even", "2")]
    drawn = task(train=some).sample_batch(rng(), 50)
    assert {tokenizer.decode(row) for row in drawn.ids} == {"<s>train</s>", "<s>TRAIN</s>"}


@pytest.mark.parametrize("split", SPLITS)
def test_the_id_changes_with_any_split(split):
    changed = parity(40)
    changed[-1] = LabelledExample(changed[-1].text, "odd", "40")
    assert task().id == task().id != task(**{split: changed}).id


def test_errors_at_the_door():
    with pytest.raises(ValueError, match="parity has examples of up to 42 tokens; the model takes 41"):
        task(length=41)
    with pytest.raises(ValueError, match="parity has no example in valid"):
        task(valid=[])
    with pytest.raises(ValueError, match=r"parity has the labels \['prime'\] in test; label_names are even, odd"):
        task(test=[LabelledExample("xx", "prime", "2")])
    with pytest.raises(ValueError, match="parity has only one class, 'even'; a task must have at least two"):
        ClassificationTask("parity", dict.fromkeys(SPLITS, parity(3)[1:2]), ("even",), 64)
    with pytest.raises(ValueError, match="batch_size must be at least 1, not 0"):
        task().sample_batch(rng(), 0)
    with pytest.raises(ValueError, match="split must be one of train, valid, test, not 'dev'"):
        next(task().batches("dev"))


# ---- by name, and from a file


@pytest.mark.parametrize("name", CLASSIFICATION_TASKS)
def test_tasks_by_name(name):
    made = load_classification_task(name, length=256)
    assert made.name == name and made.length == 256
    batch = made.sample_batch(rng(), 32)
    assert batch.ids.shape[1] <= 256 and len(batch.labels) == 32
    for split in SPLITS:
        assert [made.label_names[i] for i in made.labels[split]] == [e.label for e in made.splits[split]]


def test_names_and_pairs_are_labelled_as_they_should_be():
    names = load_classification_task("unicode-names", length=256)
    i = next(i for i, e in enumerate(names.splits["train"]) if e.text == "latin small letter b")
    assert names.label_names[names.labels["train"][i]] == "Ll"
    pairs = load_classification_task("docstring-pairs", length=256)
    assert pairs.label_names == ("no", "yes")
    assert pairs.labels["test"][:4].tolist() == [1, 0, 1, 0]
    assert tokenizer.decode(pairs.tokens["test"][0]).count("</s>") == 3


def numbers(n=80, label=lambda i: "odd" if i % 2 else "even"):
    """Rows of which, by the hashes of their texts, all three splits get some."""
    return [{"text": f"number {i}", "label": label(i)} for i in range(n)]


def write(folder, rows, name="numbers.csv"):
    if name.endswith(".csv"):
        lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    else:
        lines = [json.dumps(row) for row in rows]
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


@pytest.mark.parametrize("name", ["numbers.csv", "numbers.jsonl"])
def test_a_task_from_a_file(tmp_path, name):
    made = load_classification_task(write(tmp_path, numbers(), name), length=64)
    assert made.name == name and made.label_names == ("even", "odd") and made.left_out == 0
    found = [{"text": e.text, "label": e.label} for split in SPLITS for e in made.splits[split]]
    assert sorted(found, key=str) == sorted(numbers(), key=str)
    assert all(e.second is None for e in made.splits["train"])


def test_a_file_of_two_texts(tmp_path):
    rows = [row | {"second": f"is it {i}?"} for i, row in enumerate(numbers())]
    made = load_classification_task(write(tmp_path, rows), length=64)
    example, ids = made.splits["test"][0], made.tokens["test"][0]
    assert example.second.startswith("is it ")
    assert ids.tolist() == tokenizer.encode(example.text, example.second).tolist()


def test_what_is_too_long_is_left_out_and_counted(tmp_path):
    rows = [*numbers(), {"text": "x" * 62, "label": "odd"}, {"text": "x" * 63, "label": "odd"}]
    assert load_classification_task(write(tmp_path, rows), length=64).left_out == 1
    assert load_classification_task(write(tmp_path, rows), length=math.inf).left_out == 0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (numbers(label=str), r"numbers\.csv has the labels \[.*\] in valid and not in train; give more of each"),
        (numbers(label=lambda i: "same"), r"numbers\.csv has only one class, 'same'; a task must have at least two"),
        (numbers(2), r"numbers\.csv has 2 examples of at most 64 tokens, and none .* falls into .*; give more"),
        ([{"text": "a", "label": "b"}, {"text": " ", "label": "b"}], "line 3: text must be a text .*, not ' '"),
        ([{"text": "a", "label": ""}], "line 2: label must be a text that is not empty, not ''"),
        ([{"text": "a", "label": "b", "second": ""}], "line 2: second must be a text that is not empty, not ''"),
        ([{"text": "a", "answer": "b"}], "lacks the column label; its header has text, answer"),
        ([{"source": "a", "target": "b"}], "lacks the column text and label; its header has source, target"),
    ],
)
def test_what_is_wrong_with_a_file(tmp_path, rows, message):
    with pytest.raises(ValueError, match=message):
        load_classification_task(write(tmp_path, rows), length=64)


def test_a_label_that_is_a_number_is_refused_by_line(tmp_path):
    with pytest.raises(ValueError, match=r"line 1: label must be a text that is not empty, not 1"):
        load_classification_task(write(tmp_path, [{"text": "a", "label": 1}], "n.jsonl"), length=64)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", "id,text,label\n", True),
        ("a.csv", "label,source,target\n", False),
        ("a.csv", "source,target\n", False),
        ("a.jsonl", '\n{"text": "a", "label": "b"}\n{', True),
        ("a.jsonl", '{"source": "a", "target": "b"}\n', False),
        ("a.jsonl", "no JSON", False),
        ("a.jsonl", "[1]", False),
    ],
)
def test_a_file_with_labels_is_a_task_of_classes(tmp_path, name, content, expected):
    (tmp_path / name).write_text(content)
    assert has_classes(tmp_path / name) is expected


def test_tasks_of_classes_by_name():
    assert all(has_classes(name) for name in CLASSIFICATION_TASKS)
    assert not any(has_classes(name) for name in (*TASKS, "notes.txt", "glue"))
    with pytest.raises(ValueError, match=r"there is no file none\.csv"):
        has_classes("none.csv")


@pytest.mark.parametrize("name", ["glue", "notes.txt", ""])
def test_an_unknown_task_lists_the_known_ones(name):
    message = f"the task was '{name}'; it must be {', '.join(CLASSIFICATION_TASKS)}, or a .csv or .jsonl file"
    with pytest.raises(ValueError, match=message):
        load_classification_task(name, length=64)

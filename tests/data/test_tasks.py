"""What a model is trained and measured on."""

import numpy as np
import pytest

from experiments.tiny import csv_text, jsonl_text, prose_text, sum_task, sums
from minilora.data import EOT, TASKS, ByteTokenizer, Example, PairTask, TextTask, encode_documents, load_task

SPLITS = ("train", "valid", "test")
tokenizer = ByteTokenizer()


def rng(seed=0):
    return np.random.default_rng(seed)


def pair_task(examples, length=256):
    return PairTask("task", {split: examples for split in SPLITS}, length)


def text_task(length=16, texts=("The first text.", "Another one, in two parts.", "Ünïcode")):
    return TextTask("text", {"train": list(texts), "valid": ["valid"], "test": ["a test", "of two"]}, length)


# ---- pairs


def test_the_loss_is_on_the_target_alone():
    task = sum_task()
    (batch,) = task.batches("test", batch_size=20)
    for example, targets, mask in zip(task.splits["test"], batch.targets, batch.loss_mask, strict=True):
        assert bytes(targets[mask].astype(np.uint8)) == example.target.encode() + bytes([EOT])


def test_batches_hold_each_example_once_and_in_order():
    task = sum_task()
    batches = list(task.batches("test", batch_size=8))
    assert [len(batch.ids) for batch in batches] == [8, 8, 4]
    read = [tokenizer.decode(row) for batch in batches for row in batch.ids]
    assert read == [f"{e.source}\n{e.target}" for e in task.splits["test"]]


def test_drawn_batches_follow_the_seed():
    task = sum_task()
    one, same, other = (task.sample_batch(rng(seed), 8).ids.tobytes() for seed in (0, 0, 1))
    assert one == same != other


def test_a_batch_is_of_all_lengths():
    """Rows of one length would say in each step that answers are short, or long: the model then leaves things out."""
    task, draw, spans = pair_task([Example("s", "x" * n, str(n)) for n in range(1, 101)]), rng(), []
    for _ in range(300):
        lengths = task.sample_batch(draw, 8).loss_mask.sum(axis=1)  # the target and its EOT
        spans.append(lengths.max() - lengths.min())
    assert abs(np.mean(spans) - 99 * 7 / 9) < 4  # the span of 8 uniform draws


def test_every_example_is_drawn_equally_often():
    task, draw, count = pair_task([Example("s", "x" * n, str(n)) for n in range(1, 41)]), rng(), np.zeros(41)
    for _ in range(4000):
        np.add.at(count, task.sample_batch(draw, 4).loss_mask.sum(axis=1) - 1, 1)
    assert np.abs(count[1:] / 400 - 1).max() < 0.25


def test_batches_are_drawn_from_the_training_split():
    task = sum_task()
    drawn = {tokenizer.decode(row).split("\n")[0] for _ in range(20) for row in task.sample_batch(rng(_), 16).ids}
    assert drawn <= {e.source for e in task.splits["train"]}


def test_a_batch_may_be_larger_than_the_task():
    assert len(pair_task(sums(3)).sample_batch(rng(), 8).ids) == 8


def test_prompts_end_with_the_separator():
    task = sum_task()
    prompts, targets = task.prompts("test", 3)
    assert [tokenizer.decode(prompt) for prompt in prompts] == [e.source + "\n" for e in task.splits["test"][:3]]
    assert targets == [e.target for e in task.splits["test"][:3]]


# ---- running text


@pytest.mark.parametrize("split", SPLITS)
def test_each_token_is_scored_once(split):
    task = text_task()
    scored = np.concatenate([batch.targets[batch.loss_mask] for batch in task.batches(split, batch_size=2)])
    np.testing.assert_array_equal(scored, encode_documents(task.texts[split], tokenizer))


def test_windows_of_text_follow_the_seed():
    one, same, other = (text_task().sample_batch(rng(seed), 4).ids.tobytes() for seed in (0, 0, 1))
    assert one == same != other
    assert text_task().sample_batch(rng(), 4).ids.shape == (4, 16)


def test_a_text_shorter_than_a_window():
    batch = text_task(length=256, texts=["short"]).sample_batch(rng(), 3)
    assert [bytes(row.astype(np.uint8)) for row in batch.ids] == [b"short"] * 3


def test_prompts_of_text_are_beginnings_and_how_they_go_on():
    texts = ["abcdefghij" * 3, "short", "0123456789" * 4]
    prompts, following = TextTask("text", dict.fromkeys(SPLITS, texts), 32).prompts("test", 5, length=10)
    assert [tokenizer.decode(prompt) for prompt in prompts] == ["abcdefghij", "sh", "0123456789"]
    assert following == ["abcdefghij" * 2, "ort", "0123456789" * 2]


# ---- what a task is


@pytest.mark.parametrize("split", SPLITS)
def test_the_id_changes_with_any_split(split):
    task, same, other = sum_task(), sum_task(), sum_task()
    changed = other.splits | {split: [*other.splits[split][:-1], Example("1", "2", "3")]}
    assert task.id == same.id != PairTask("sums", changed, 64).id
    texts = text_task().texts
    assert text_task().id != TextTask("text", texts | {split: [*texts[split][:-1], "another"]}, 16).id


def test_mini_e2e_and_pairs_by_name():
    mini = load_task("mini-e2e", length=256, n_train=50, n_held_out=10)
    assert [len(mini.splits[split]) for split in SPLITS] == [50, 10, 10]
    assert mini.splits["test"][0].source.startswith("name: ")
    pairs = load_task("pairs", length=100)
    assert pairs.name == "pairs" and all(e.source.startswith(("def ", "async def ")) for e in pairs.splits["test"])
    assert max(batch.ids.shape[1] for split in SPLITS for batch in pairs.batches(split)) == 99


@pytest.mark.parametrize("name", ["prose", "code"])
def test_corpora_by_name(name):
    task = load_task(name, length=64)
    assert isinstance(task, TextTask) and task.name == name
    assert len(task.tokens["train"]) > 10 * len(task.tokens["valid"]) > 0
    assert next(iter(task.batches("valid"))).ids.shape == (16, 64)


def test_every_name_is_known():
    assert TASKS == ("mini-e2e", "pairs", "prose", "code")


@pytest.mark.parametrize(("name", "text"), [("sums.csv", csv_text(sums())), ("sums.jsonl", jsonl_text(sums()))])
def test_task_files_are_split_by_their_sources(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    task = load_task(tmp_path / name, length=64)
    assert task.name == name and task.length == 64
    assert all(task.splits[split] for split in SPLITS)
    assert sorted(e.source for split in SPLITS for e in task.splits[split]) == sorted(e.source for e in sums())


def test_a_file_does_not_move_its_examples_when_it_grows(tmp_path):
    (tmp_path / "sums.csv").write_text(csv_text(sums(80)))
    (tmp_path / "more.csv").write_text(csv_text(sums(99)))
    before, after = (load_task(tmp_path / name, length=64).splits for name in ("sums.csv", "more.csv"))
    assert all(set(before[split]) <= set(after[split]) for split in SPLITS)


def test_a_text_file_by_name(tmp_path):
    (tmp_path / "notes.TXT").write_text(prose_text())
    task = load_task(tmp_path / "notes.TXT", length=64)
    assert isinstance(task, TextTask) and all(task.texts[split] for split in SPLITS)
    assert sum(len(text) for texts in task.texts.values() for text in texts) == len(prose_text())


def test_examples_that_are_too_long_are_left_out(tmp_path):
    examples = [*sums(), Example("fits", "x" * 26, ""), Example("does not fit", "x" * 19, "")]
    (tmp_path / "sums.csv").write_text(csv_text(examples))
    task = load_task(tmp_path / "sums.csv", length=32)  # source, line break, target and EOT
    kept = {e.source for split in SPLITS for e in task.splits[split]}
    assert "fits" in kept and "does not fit" not in kept
    assert task.left_out == 1 and load_task(tmp_path / "sums.csv", length=64).left_out == 0


@pytest.mark.parametrize(("n", "length"), [(1, 64), (80, 8)])
def test_a_file_must_fill_all_splits(tmp_path, n, length):
    (tmp_path / "few.csv").write_text(csv_text(sums(n)))
    count = r"(1 example|(0|[2-9]|\d\d+) examples)"
    message = rf"few.csv has {count} of at most {length} tokens, and none of them falls into .*(valid|test)"
    with pytest.raises(ValueError, match=message):
        load_task(tmp_path / "few.csv", length=length)


@pytest.mark.parametrize("name", ["mini_e2e", "notes.md", "", "folder"])
def test_an_unknown_task_lists_the_known_ones(name):
    message = f"the task was '{name}'; it must be {', '.join(TASKS)}, or a .txt, .csv or .jsonl file"
    with pytest.raises(ValueError, match=message):
        load_task(name, length=64)


def test_a_file_with_none_of_the_columns_that_a_task_has_is_told_all_of_them(tmp_path):
    (tmp_path / "asked.jsonl").write_text('{"question": "a", "answer": "b"}\n')
    forms = "source and target, or messages, or prompt and completion, or text"
    with pytest.raises(ValueError, match=f"asked.jsonl: each line must have {forms}; .* 'question, answer'$"):
        load_task(tmp_path / "asked.jsonl", length=64)

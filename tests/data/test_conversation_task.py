"""Conversations as a task: what PairTask can, this can."""

import json

import numpy as np
import pytest

from data.chat_templates import TEMPLATES, said
from minilora.data import ByteTokenizer, ConversationTask, PairTask, load_task, pack_batch, template_for

pytest.importorskip("tokenizers")
from data.bpe import bpe

SPLITS = ("train", "valid", "test")


def rng(seed=0):
    return np.random.default_rng(seed)


def write(tmp_path, rows, name="said.jsonl"):
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def sums(n=80):
    return [{"messages": said(f"{i} and {7 * i}?", "x" * (i % 9) + str(8 * i))} for i in range(n)]


def task_of(tmp_path, rows=None, *, length=128, name="smollm2", **changes):
    tokenizer = bpe()
    settings = {"tokenizer": tokenizer, "template": template_for(tokenizer, TEMPLATES.get(name))} | changes
    return load_task(write(tmp_path, rows or sums()), length=length, **settings)


def test_the_columns_choose_the_task(tmp_path):
    pairs = [{"source": f"{i}", "target": "b", "text": "c"} for i in range(80)]
    assert isinstance(load_task(write(tmp_path, pairs), length=64), PairTask)
    for rows in (
        sums(),
        [{"prompt": str(i), "completion": "b"} for i in range(80)],
        [{"text": str(i)} for i in range(80)],
    ):
        task = load_task(write(tmp_path, rows), length=64)
        assert isinstance(task, ConversationTask) and sum(len(task.splits[split]) for split in SPLITS) == 80
        assert all(task.splits[split] for split in SPLITS) and isinstance(task.tokenizer, ByteTokenizer)


def test_batches_hold_each_conversation_once_and_count_the_answers(tmp_path):
    task = task_of(tmp_path)
    batches = list(task.batches("test", batch_size=4))
    counted = [task.tokenizer.decode(t[m]) for b in batches for t, m in zip(b.targets, b.loss_mask, strict=True)]
    assert counted == [row.answer for row in task.splits["test"]]
    packed = pack_batch(batches[0])
    assert packed.n_targets == batches[0].n_targets and packed.ids.size < batches[0].ids.size


def test_drawn_batches_follow_the_seed_and_are_of_all_lengths(tmp_path):
    task = task_of(tmp_path)
    one, same, other = (task.sample_batch(rng(seed), 8).ids.tobytes() for seed in (0, 0, 1))
    assert one == same != other

    longest = [max(pack_batch(task.sample_batch(rng(seed), 1)).text_lengths[0]) for seed in range(60)]
    together = [pack_batch(task.sample_batch(rng(seed), 8)).text_lengths[0] for seed in range(20)]
    assert np.mean([max(lengths) - min(lengths) for lengths in together]) > 0.5 * (max(longest) - min(longest))


def test_prompts_end_where_the_answer_begins(tmp_path):
    task = task_of(tmp_path)
    prompts, answers = task.prompts("test", 3)
    assert all(task.tokenizer.decode(prompt).endswith("assistant\n") for prompt in prompts)
    assert answers == [row.answer for row in task.splits["test"][:3]] and len(prompts) == 3


def test_bytes_per_token_is_of_what_counts(tmp_path):
    task = task_of(tmp_path)
    n_bytes = sum(len(row.answer) + 1 for row in task.splits["valid"])
    n_tokens = sum(batch.n_targets for batch in task.batches("valid"))
    assert task.bytes_per_token("valid") == n_bytes / n_tokens
    assert (
        load_task(write(tmp_path, [{"text": f"text {i}"} for i in range(80)]), length=64).bytes_per_token("test") == 1
    )


def test_what_is_too_long_is_left_out_and_counted(tmp_path):
    rows = [*sums(), {"messages": said("a", "word " * 150)}, {"messages": said("b", "word " * 160)}]
    task = task_of(tmp_path, rows, length=128)
    assert task.left_out == 2 and max(len(r.tokens) for split in SPLITS for r in task.splits[split]) <= 128
    assert task.longest > 300 and task_of(tmp_path, rows, length=1024).left_out == 0
    texts = [{"text": f"{i} " * 50} for i in range(40)]
    assert load_task(write(tmp_path, texts), length=64).left_out == 0, "a text is cut"


def test_the_id_changes_with_what_is_said_and_with_the_template(tmp_path):
    one, same = task_of(tmp_path), task_of(tmp_path)
    changed = [*sums(79), {"messages": said("79 and 553?", "other")}]
    ids = {
        one.id,
        task_of(tmp_path, changed).id,
        task_of(tmp_path, name="qwen2").id,
        task_of(tmp_path, name="plain").id,
    }
    assert one.id == same.id and len(ids) == 4 and len(one.id) == 12


def test_answers_to_one_question_stay_in_one_split(tmp_path):
    rows = [{"messages": said(f"question {i % 40}", f"answer {i}")} for i in range(80)]
    task = task_of(tmp_path, rows)
    keys = [{row.key for row in task.splits[split]} for split in SPLITS]
    assert sum(map(len, keys)) == 40 and all(len(task.splits[split]) == 2 * len(k) for split, k in zip(SPLITS, keys))


@pytest.mark.parametrize(
    ("name", "ends"), [("smollm2", ["<|im_end|>"]), ("plain", ["<|im_end|>"]), ("llama3", ["<|im_end|>"])]
)
def test_the_tokens_that_end_an_answer(tmp_path, name, ends):
    task = task_of(tmp_path, name=name)
    assert task.stops == tuple(task.tokenizer.token_id(token) for token in ends)
    other = task_of(tmp_path, tokenizer=bpe(eos="<|endoftext|>"), name="smollm2")
    assert other.stops == tuple(bpe().token_id(token) for token in ("<|endoftext|>", "<|im_end|>"))

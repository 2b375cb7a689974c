"""Every task works with a tokenizer of subwords, with a BOS or without."""

import numpy as np
import pytest

from minilora.data import Example, PairTask, TextTask, encode_documents, encode_example, load_task

pytest.importorskip("tokenizers")
from data.bpe import bpe

SPLITS = ("train", "valid", "test")
BOS = pytest.mark.parametrize("bos", [None, "<s>"])


def begins(tokenizer, bos):
    return [tokenizer.token_id(bos)] if bos else []


@BOS
def test_a_row_is_bos_source_target_end_each_once(bos):
    tokenizer = bpe(bos)
    ids, n_source = encode_example(Example("name: The Eagle", "The Eagle is a coffee shop.", ""), tokenizer)
    assert ids[: len(begins(tokenizer, bos))].tolist() == begins(tokenizer, bos)
    assert (ids == tokenizer.token_id("<s>")).sum() == len(begins(tokenizer, bos))
    assert ids[-1] == tokenizer.end_of_text and (ids == tokenizer.end_of_text).sum() == 1
    assert tokenizer.decode(ids[:n_source]) == "name: The Eagle\n"
    assert tokenizer.decode(ids[n_source:]) == "The Eagle is a coffee shop."
    np.testing.assert_array_equal(ids[:n_source], tokenizer.encode("name: The Eagle\n"))


@BOS
def test_a_target_begins_as_it_is_written_and_not_inside_a_token_of_the_source(bos):
    """Its tokens are those of the target alone, whatever the source ends with: so a model meets them as it writes."""
    tokenizer = bpe(bos)
    first, second = (encode_example(Example(source, "\n\n 12", ""), tokenizer) for source in ("a", "b\n"))
    assert first[0][first[1] :].tolist() == second[0][second[1] :].tolist()
    assert tokenizer.decode(first[0][first[1] :]) == "\n\n 12"


@BOS
def test_pairs_count_their_targets_and_the_bytes_of_these(bos):
    tokenizer = bpe(bos)
    examples = [Example(f"{i}", "The Eagle serves Italian food é " * (1 + i % 3), f"{i}") for i in range(9)]
    task = PairTask("pairs", dict.fromkeys(SPLITS, examples), 128, tokenizer=tokenizer)
    batches = list(task.batches("test", 4))
    n_targets = sum(batch.n_targets for batch in batches)
    assert task.bytes_per_token("test") == sum(len(e.target.encode()) + 1 for e in examples) / n_targets > 1.5
    read = [tokenizer.decode(row[mask]) for b in batches for row, mask in zip(b.targets, b.loss_mask, strict=True)]
    assert read == [e.target for e in examples]
    prompts, targets = task.prompts("test", 2)
    assert [tokenizer.decode(prompt) for prompt in prompts] == ["0\n", "1\n"] and targets == read[:2]
    assert [p[: len(begins(tokenizer, bos))].tolist() for p in prompts] == [begins(tokenizer, bos)] * 2


@BOS
def test_running_text_has_one_end_after_each_text_and_each_token_counts_once(bos):
    tokenizer = bpe(bos)
    texts = ["The Eagle.", "It serves Italian food. " * 5]
    tokens = encode_documents(texts, tokenizer)
    assert (tokens == tokenizer.end_of_text).sum() == 2
    assert (tokens == tokenizer.token_id("<s>")).sum() == 2 * len(begins(tokenizer, bos))
    task = TextTask("text", dict.fromkeys(SPLITS, texts), 16, tokenizer)
    scored = np.concatenate([batch.targets[batch.loss_mask] for batch in task.batches("test")])
    np.testing.assert_array_equal(scored, tokens)
    assert task.bytes_per_token("test") == sum(len(text) + 1 for text in texts) / len(tokens)
    prompts, rest = task.prompts("test", 2)
    assert [tokenizer.decode(p) + r for p, r in zip(prompts, rest, strict=True)] == texts


def test_mini_e2e_and_prose_with_subwords():
    tokenizer = bpe()
    task = load_task("mini-e2e", length=256, n_train=20, n_held_out=5, tokenizer=tokenizer)
    prompts, targets = task.prompts("test", 5)
    assert all(tokenizer.decode(prompt).startswith("name: ") for prompt in prompts) and len(targets) == 5
    assert task.bytes_per_token("test") > 1.2


def test_windows_of_running_text_are_short_whatever_the_model_takes(tmp_path):
    (tmp_path / "a.txt").write_text("".join(f"line {i} {'x' * 90}\n" for i in range(400)))
    assert load_task(tmp_path / "a.txt", length=8192).length == 512
    assert load_task(tmp_path / "a.txt", length=64).length == 64

"""A small Llama learns to answer from a file of conversations, in its own chat template, and the run is kept."""

import json

import numpy as np
import pytest

from data.chat_templates import TEMPLATES, said
from minilora.data import chat_prompt, load_task, template_for
from minilora.experiments import finetune
from minilora.models import Llama, LlamaConfig
from minilora.models.generation import generate
from minilora.training import TrainConfig

pytest.importorskip("tokenizers")
pytest.importorskip("jinja2")
from data.bpe import bpe


def conversations():
    """Short and long answers by turns; the second turn asks for what the first said."""
    drinks = ("coffee", "tea", "water that is cold and clear and good")
    for i in range(60):
        drink = drinks[i % 3]
        yield {"messages": said(f"number {i}: I like {drink}.", "Good.", "What do I like?", f"You like {drink}.")}


@pytest.fixture
def task(tmp_path):
    (tmp_path / "said.jsonl").write_text("".join(json.dumps(row) + "\n" for row in conversations()))
    tokenizer = bpe()
    return load_task(
        tmp_path / "said.jsonl", length=256, tokenizer=tokenizer, template=template_for(tokenizer, TEMPLATES["qwen2"])
    )


def new_model(task):
    config = LlamaConfig(
        vocab_size=task.tokenizer.vocab_size, n_layer=2, d_model=48, n_head=4, n_kv_head=2, d_mlp=96, n_positions=256,
        tied_head=True,
    )  # fmt: skip
    return Llama(config, np.random.default_rng(0))


def test_it_answers_and_the_run_is_kept_and_not_repeated(tmp_path, task):
    train = TrainConfig(steps=250, batch_size=8, lr=1e-2, threads=1, eval_every=250)
    config = finetune.FinetuneConfig(task.name, "full", None, train)
    model = new_model(task)
    result, history = finetune.run(model, task, config, tmp_path / "run", progress=False, checkpoint_every=100)
    assert result["loss"] < 0.1 * history.losses[0]
    assert result["task"] == {"name": "said.jsonl", "id": task.id, "left_out": 0}
    asked = said("number 99: I like tea.", "Good.", "What do I like?")
    prompt = chat_prompt(asked, task.tokenizer, task.template)
    (answer,) = generate(model, [prompt], max_tokens=30, stop=task.stops)
    assert task.tokenizer.decode(answer) == "You like tea."
    untrained = new_model(task)
    again, _ = finetune.run(untrained, task, config, tmp_path / "run", progress=False, checkpoint_every=100)
    assert again == result

"""The search for the demonstration's settings trains as it is told, and measures on the valid split."""

import json

import numpy as np
import pytest

from minilora.data import load_task
from minilora.experiments.demo_search import adapted, errors_by_slot, main
from minilora.models import GPT, GPTConfig, save_model


def tiny_model():
    config = GPTConfig(vocab_size=256, n_positions=256, n_layer=1, d_model=16, n_head=2)
    return GPT(config, np.random.default_rng(0))


@pytest.mark.parametrize("method", ["lora", "full"])
def test_what_a_method_reaches_is_measured_on_the_valid_split(method):
    result = adapted(tiny_model, method=method, steps=2, batch_size=3, threads=1, rate=1e-3)
    valid = {example.source for example in load_task("mini-e2e", length=256, n_held_out=96).splits["valid"]}
    assert {prompt.strip() for prompt, _ in result["samples"]} <= valid and len(result["samples"]) == 96
    assert result["steps"] == 2 and result["batch_size"] == 3 and result["method"] == method
    assert result["rate"] == 1e-3 and result["errors"]["missing"]["name"] == 96
    assert result["slot_exact"] == 0.0 and 4.0 < result["loss"] < 7.0


def test_errors_are_counted_by_slot():
    prompt = "name: Blue Heron; type: cafe; price: low; rating: good\n"
    answers = [
        "Blue Heron is a cheap well-rated cafe.",
        "Blue Heron is a pricey well-rated cafe.",
        "Blue Heron is a cheap Thai cafe.",
        "Blue Heron is a cheap well-rated cafe and costs little.",
    ]
    assert errors_by_slot([{"prompt": prompt, "answer": answer} for answer in answers]) == {
        "missing": {"rating": 1},
        "wrong": {"price": 1},
        "extra": {"food": 1},
        "unparsed": {"price is stated again": 1},
    }


def test_each_rate_is_tried_with_each_ratio(tmp_path, capsys):
    save_model(tiny_model(), tmp_path / "tiny.safetensors")
    grid = ["--rates", "1e-3", "1e-2", "--ratios", "1", "4"]
    main(["--model", str(tmp_path / "tiny.safetensors"), "--lora", "2x2", "--full", "1x2", "--threads", "1", *grid])
    runs = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    tried = [(run["method"], run["steps"], run["rate"], run["lr_ratio_B"]) for run in runs]
    lora = [("lora", 2, rate, ratio) for rate in (1e-3, 1e-2) for ratio in (1.0, 4.0)]
    assert tried == [*lora, ("full", 1, 1e-3, 1.0), ("full", 1, 1e-2, 1.0)]
    assert len({run["loss"] for run in runs}) == len(runs)  # each setting reaches the trainer

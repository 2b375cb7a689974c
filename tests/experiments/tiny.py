"""A decoder and encoders small enough to train in a moment, and tasks for them; the vocabulary is the bytes."""

import json
from dataclasses import replace

import numpy as np

from minilora.data import EncoderTokenizer, Example, PairTask
from minilora.methods import LoRAConfig, apply_lora
from minilora.models import (
    GPT,
    Deberta,
    DebertaConfig,
    DebertaForClassification,
    GPTConfig,
    Roberta,
    RobertaConfig,
    RobertaForClassification,
    RobertaForMaskedLM,
    bundled,
    save_model,
)
from minilora.training import TrainConfig, Trainer
from tiny_models import at_a_generic_point

CONFIG = GPTConfig(vocab_size=256, n_positions=256, n_layer=1, d_model=16, n_head=2)
LORA = LoRAConfig(rank=2, alpha=4, targets=("q_proj", "v_proj", "fc_in"))

V = EncoderTokenizer.vocab_size
ROBERTA = RobertaConfig(vocab_size=V, n_positions=32, n_layer=2, d_model=16, n_head=2)
DEBERTA = DebertaConfig(vocab_size=V, n_layer=2, d_model=16, n_head=2, n_buckets=4, max_distance=8)
ENCODERS = {  # by the kind that a file of it has
    "roberta": (Roberta, ROBERTA),
    "roberta-masked-lm": (RobertaForMaskedLM, ROBERTA),
    "roberta-classification": (RobertaForClassification, ROBERTA),
    "deberta": (Deberta, DEBERTA),
    "deberta-classification": (DebertaForClassification, DEBERTA),
}


def byte_gpt(seed=0, config=CONFIG):
    """A GPT at a generic point, which says various things."""
    return at_a_generic_point(GPT, config, dtype="float32", seed=seed, spread=0.2)


def in_place_of_the_bundled_decoder(folder, monkeypatch):
    """Let "decoder" name `byte_gpt`, in a file in `folder`."""
    save_model(byte_gpt(), folder / "decoder.safetensors")
    monkeypatch.setattr(bundled, "ASSETS", folder)


def byte_encoder(kind="roberta", seed=0, **settings):
    """An encoder, or one with a head, at a generic point."""
    model_class, config = ENCODERS[kind]
    return at_a_generic_point(model_class, replace(config, **settings), dtype="float32", seed=seed, spread=0.2)


def words(n=300):
    """Made-up words, each with its label: does it begin with a vowel?"""
    draw = np.random.default_rng(0)
    made = {"".join(draw.choice(list("aeioubcdfg"), draw.integers(2, 6))) for _ in range(n)}
    return [(word, "vowel" if word[0] in "aeiou" else "other") for word in sorted(made)]


def adapted(config=LORA, B=0.3):
    """`byte_gpt` with an adapter whose delta_W is not zero."""
    model = byte_gpt()
    draw = np.random.default_rng(1)
    apply_lora(model, config, rng=draw)
    for name, p in model.named_parameters():
        if name.endswith(".B"):
            p.data[...] = B * draw.standard_normal(p.data.shape)
    return model


def sums(n=80):
    """Examples of which, by their keys' hashes, all three splits get some."""
    return [Example(f"{i} plus 1", f"{i} and one more is {i + 1}", f"{i} plus 1") for i in range(n)]


def sum_task():
    """The sums as a task, 20 of them in valid and in test."""
    examples = sums()
    return PairTask("sums", {"train": examples[:40], "valid": examples[40:60], "test": examples[60:]}, 64)


def words_csv(n=300):
    return "text,label\n" + "".join(f"{word},{label}\n" for word, label in words(n))


def csv_text(examples):
    return "source,target\n" + "".join(f"{e.source},{e.target}\n" for e in examples)


def jsonl_text(examples):
    return "".join(json.dumps({"source": e.source, "target": e.target}) + "\n" for e in examples)


def prose_text(paragraphs=6, ending=""):
    """A text that is cut into one document a paragraph, and one for the ending."""
    return "".join(f"Paragraph {i}. " + "It goes on for a while. " * 42 + "\n\n" for i in range(paragraphs)) + ending


def trainer(model, task, **settings):
    """A Trainer that is quick and repeats to the bit."""
    config = TrainConfig(**({"steps": 2, "batch_size": 4, "lr": 0.01, "threads": 1} | settings))
    return Trainer(model, lambda rng: task.sample_batch(rng, config.batch_size), config)

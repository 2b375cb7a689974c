"""Folders in which commands are given: with small models, adapters, task files, and files with something wrong."""

import json
from dataclasses import replace

import numpy as np
import pytest

import minilora
from experiments.tiny import (
    CONFIG,
    ENCODERS,
    LORA,
    adapted,
    byte_encoder,
    byte_gpt,
    csv_text,
    jsonl_text,
    prose_text,
    sums,
    words_csv,
)
from methods.tiny import with_B

# A text of which the hashes choose the short ending for the test split.
PARAGRAPHS = "".join(f"Paragraph {i} of text 0. " + "It goes on. " * 100 + "\n\n" for i in range(4))
TASK_FILES = {
    "sums.csv": csv_text(sums()),
    "sums.jsonl": jsonl_text(sums()),
    "notes.txt": prose_text(),
    "short_ending.txt": PARAGRAPHS + "The end.\n",
}


@pytest.fixture(scope="session")
def gpt_folder(tmp_path_factory):
    """A folder with a small model, adapters, task files, and files with something wrong."""
    folder = tmp_path_factory.mktemp("cli")
    minilora.save_model(byte_gpt(), folder / "model.safetensors")
    minilora.save_model(byte_gpt(config=replace(CONFIG, n_positions=64)), folder / "short.safetensors")
    minilora.save_adapter(adapted(), folder / "adapter.safetensors")
    wider = byte_gpt(config=replace(CONFIG, d_model=24, d_mlp=96))
    minilora.apply_lora(wider, LORA, rng=np.random.default_rng(0))
    minilora.save_adapter(wider, folder / "wider.safetensors")
    for name, text in TASK_FILES.items():
        (folder / name).write_text(text)
    houlsby = byte_gpt()
    minilora.apply_method(houlsby, "adapter-h")
    minilora.save_adapter(houlsby, folder / "houlsby.safetensors")
    (folder / "empty.txt").write_text("")
    (folder / "latin1.txt").write_bytes(b"caf\xe9 " * 2000)
    (folder / "columns.csv").write_text("question,answer\na,b\n")
    (folder / "few.csv").write_text(csv_text(sums(2)))
    (folder / "noise.safetensors").write_bytes(b"x" * 200)
    return folder


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory):
    """A folder with a model of each kind, a decoder, task files, and files with something wrong."""
    folder = tmp_path_factory.mktemp("cli-classify")
    for kind in ENCODERS:
        minilora.save_model(byte_encoder(kind), folder / kind)
    minilora.save_model(byte_encoder("roberta-classification", n_classes=3), folder / "three-classes")
    minilora.save_model(byte_encoder("roberta", n_positions=96), folder / "longer")
    minilora.save_model(byte_encoder(vocab_size=300), folder / "other-vocabulary")
    minilora.save_model(byte_gpt(), folder / "gpt")
    rows = words_csv().splitlines(keepends=True)
    (folder / "words.csv").write_text("".join(rows))
    (folder / "words.jsonl").write_text(
        "".join(json.dumps(dict(zip(("text", "label"), row.strip().split(",")))) + "\n" for row in rows[1:])
    )
    (folder / "with-long-ones.csv").write_text("".join(rows) + f"{'a' * 31},vowel\n{'b' * 40},other\n")
    (folder / "pairs.csv").write_text(
        "text,label,second\n" + "".join(f"{row.strip()},{'xy'[i % 2]}\n" for i, row in enumerate(rows[1:]))
    )
    (folder / "sums.csv").write_text(csv_text(sums()))
    (folder / "one-class.csv").write_text("text,label\n" + "".join(f"text {i},same\n" for i in range(99)))
    (folder / "own-labels.csv").write_text("text,label\n" + "".join(f"text {i},{i}\n" for i in range(99)))
    (folder / "empty-text.csv").write_text("text,label\na,b\n,c\n")
    (folder / "no-label.csv").write_text("text,answer\na,b\n")
    (folder / "notes.txt").write_text(prose_text())
    return folder


def with_adapter(rank, targets=("q_proj", "fc_in"), seed=1, **lora):
    model = byte_gpt()
    config = minilora.LoRAConfig(rank=rank, targets=targets, **lora)
    minilora.apply_lora(model, config, rng=np.random.default_rng(seed))
    return with_B(model, seed)


@pytest.fixture(scope="session")
def lora_models():
    return {
        "one": with_adapter(2),
        "two": with_adapter(3, ("fc_in", "v_proj"), seed=2),
        "none_in_common": with_adapter(2, ("o_proj",)),
        "dora": with_adapter(2, dora=True),
    }


@pytest.fixture(scope="session")
def lora_folder(lora_models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("looking")
    minilora.save_model(byte_gpt(), folder / "model.safetensors")
    tuned = byte_gpt()
    rng = np.random.default_rng(5)
    for p in tuned.parameters():
        p.data += 0.1 * rng.standard_normal(p.data.shape)
    minilora.save_model(tuned, folder / "tuned.safetensors")
    for name, model in lora_models.items():
        minilora.save_adapter(model, folder / f"{name}.safetensors")
    start = byte_gpt()
    minilora.apply_lora(start, minilora.LoRAConfig(rank=2), rng=rng)
    minilora.save_adapter(start, folder / "start.safetensors")
    bitfit = byte_gpt()
    minilora.apply_method(bitfit, "bitfit")
    minilora.save_adapter(bitfit, folder / "bitfit.safetensors")
    return folder

"""Pretraining a decoder that reads its context: it copies names and values that stand before.

    python -m minilora.experiments.pretrain_reader --out runs/reader --rounds 8

It starts from a decoder that has read prose (`pretrain_decoder.py`; the bundled one, if no other is given) and goes
through stages, each a run of its own that continues where it was stopped:

- copying: half random strings, half prose. After some hundred steps the model suddenly copies.
- rounds of reading: prose from more sources, keywords to sentences, made-up tasks, and still some strings.
- cooling: the same mixture while the learning rate goes to zero.

With the same folder and more rounds, it goes on after the last round and cools again.
"""

import argparse
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from minilora.data.batches import encode_documents, windows
from minilora.data.corpus_folder import STDLIB, corpus_attributes, corpus_record, corpus_texts, make_corpus_folder
from minilora.data.reading_windows import ReadingWindows
from minilora.data.tokenizer import ByteTokenizer
from minilora.files import write_json
from minilora.models import load_bundled, load_model, save_model
from minilora.training import TrainConfig, Trainer, evaluate_loss, resume_newest

MODEL = "decoder.safetensors"
STDLIB_TIMES = 4  # the standard library's prose is what the package measures; it is read as often as four of its size
COPYING = {"prose": 0.45, "strings": 0.45, "periods": 0.1}
READING = {
    "prose": 0.40,
    "tasks": 0.27,
    "keywords": 0.15,
    "strings": 0.07,
    "lists": 0.05,
    "periods": 0.03,
    "repeats": 0.03,
}
TRAIN = TrainConfig(
    steps=2000,
    batch_size=8,
    lr=1.5e-3,
    betas=(0.9, 0.99),
    weight_decay=0.1,
    warmup=0.05,
    schedule="constant",
    threads=1,
    eval_every=500,
)


@dataclass(frozen=True)
class Stage:
    """A run: what it reads, and how it is trained."""

    name: str
    parts: dict[str, float]  # of ReadingWindows.KINDS
    train: TrainConfig


def stages(rounds, *, without=(), copying_steps=1500, round_steps=2000, cooling_steps=1500):
    """All stages of a pretraining, in order; `without` leaves kinds of windows out, and prose takes their part."""

    def kept(parts):
        parts = dict(parts)
        for kind in without:
            parts["prose"] += parts.pop(kind, 0.0)
        return parts

    cooling = replace(TRAIN, steps=cooling_steps, schedule="linear", seed=1000 + rounds)
    return [
        Stage("00-copying", kept(COPYING), replace(TRAIN, steps=copying_steps)),
        *(
            Stage(f"{n:02}-reading", kept(READING), replace(TRAIN, steps=round_steps, seed=n))
            for n in range(1, rounds + 1)
        ),
        Stage(f"{rounds:02}-cooling", kept(READING), cooling),
    ]


def run_stage(stage, model, reading, held_out, folder, about):
    """Train a stage to its end, in a folder of its own; returns what the recipe says of it."""
    trainer = Trainer(
        model,
        lambda rng: reading.batch(rng, stage.parts, batch_size=TRAIN.batch_size, length=model.config.n_positions),
        stage.train,
        validate=lambda: evaluate_loss(model, held_out(model)),
        folder=folder,
        checkpoint_every=100,
        about={**asdict(model.config), **about, "parts": stage.parts},
    )
    resume_newest(trainer, folder)
    history = trainer.run(stage.name)
    n = 100
    curve = [
        sum(losses) / len(losses) for i in range(0, len(history.losses), n) if (losses := history.losses[i : i + n])
    ]
    record = {
        "stage": stage.name,
        "parts": stage.parts,
        "train": asdict(stage.train),
        "tokens": history.tokens,
        "seconds": round(history.seconds),
        "validation_bits_per_byte": [[step, round(loss / math.log(2), 4)] for step, loss in history.validation],
        "train_nats": [round(loss, 4) for loss in curve],
    }
    write_json(folder / "stage.json", record)
    save_model(model, folder / MODEL)
    return record


def run(folder, corpus, plan, *, start=None, command=None):
    """Go through all stages of a plan that are not done yet; returns the recipe."""
    folder, corpus = Path(folder), Path(corpus)
    if not (corpus / "corpus.json").exists():
        make_corpus_folder(corpus)
    record = corpus_record(corpus)
    texts = {name: corpus_texts(corpus, name, "train") for name in record}
    reading = ReadingWindows([t for name in texts for t in texts[name] * times(name)], corpus_attributes(corpus))
    valid = encode_documents(corpus_texts(corpus, STDLIB, "valid"), ByteTokenizer())

    def held_out(model):
        return windows(valid, length=model.config.n_positions, batch_size=16)

    model = load_model(start) if start else load_bundled("decoder")
    digests = {name: source["train"]["sha256"] for name, source in record.items()}
    records = []
    for stage in plan:
        of_stage = folder / stage.name
        if (of_stage / MODEL).exists():
            model = load_model(of_stage / MODEL)
        else:
            run_stage(stage, model, reading, held_out, of_stage, {"corpus": digests})
        records.append(stage.name)
    return records


def times(name):
    """How often a source's texts are read in a turn."""
    return STDLIB_TIMES if name == STDLIB else 1


def main(arguments=None):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, help="folder of the run")
    parser.add_argument("--corpus", help="folder of the corpus; made if it is not there (default: OUT/corpus)")
    parser.add_argument("--start", help="a model file to start from (default: the bundled decoder)")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--without", nargs="*", default=(), choices=ReadingWindows.KINDS[1:])
    options = parser.parse_args(arguments)
    corpus = options.corpus or Path(options.out) / "corpus"
    run(options.out, corpus, stages(options.rounds, without=options.without), start=options.start)


if __name__ == "__main__":
    main()

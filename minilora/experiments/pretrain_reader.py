"""Pretraining a decoder that uses its context: it copies names and values that came earlier.

    python -m minilora.experiments.pretrain_reader --out runs/reader

It starts from a decoder trained on prose (`pretrain_decoder.py`; the bundled one, if no other is given) and goes
through stages, each a run of its own that resumes where it was stopped:

- copying: half random strings, half prose. After some hundred steps the model suddenly copies.
- rounds of reading: prose from more sources, keywords to sentences, made-up tasks, and still some strings.
- cooling: more of the standard library's prose, while the learning rate decays to zero.

With the same folder and more rounds, it continues after the last round and cools again.
"""

import argparse
import hashlib
import json
import math
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from minilora.data.batches import encode_documents, windows
from minilora.data.corpus_folder import STDLIB, corpus_attributes, corpus_record, corpus_texts, make_corpus_folder
from minilora.data.reading_windows import ReadingWindows
from minilora.data.tokenizer import ByteTokenizer
from minilora.experiments.pretrain import mean_of_runs
from minilora.experiments.pretrain_decoder import gzip_bits_per_byte
from minilora.experiments.record import provenance
from minilora.files import read_json, write_json
from minilora.models import GPT, load_model, save_model, weights_hash
from minilora.models.bundled import ASSETS
from minilora.training import TrainConfig, Trainer, evaluate_loss, resume_newest

MODEL, RECORD = "decoder.safetensors", "stage.json"
HELD_OUT = ("valid", "test")
END_OF_TEXT = ByteTokenizer.end_of_text
ROUNDS, COOLING_STEPS = 7, 3000
COPYING = {"strings": 0.45, "own": 0.25, "prose": 0.2, "periods": 0.1}
READING = {
    "tasks": 0.26,
    "own": 0.2,
    "prose": 0.16,
    "records": 0.12,
    "keywords": 0.08,
    "missing": 0.05,
    "strings": 0.05,
    "lists": 0.04,
    "periods": 0.02,
    "repeats": 0.02,
}
# At last more of the prose that the package measures on.
COOLING = READING | {
    "own": 0.42,
    "prose": 0.06,
    "tasks": 0.22,
    "records": 0.08,
    "keywords": 0.06,
    "strings": 0.04,
    "lists": 0.03,
}
TRAIN = TrainConfig(
    steps=2000,
    batch_size=8,
    lr=1.5e-3,
    betas=(0.9, 0.99),
    weight_decay=0.1,
    warmup=0.05,
    schedule="constant",
    threads=2,
    eval_every=500,
)


@dataclass(frozen=True)
class Stage:
    """A run: what it reads, and how it is trained."""

    name: str
    parts: dict[str, float]  # of ReadingWindows.KINDS
    train: TrainConfig


def stages(
    rounds: int,
    *,
    without: Sequence[str] = (),
    copying_steps: int = 1000,
    round_steps: int = 1000,
    cooling_steps: int = COOLING_STEPS,
) -> list[Stage]:
    """All stages of a pretraining, in order; `without` drops kinds of windows, and the own prose takes their share."""

    def kept(parts):
        parts = dict(parts)
        for kind in without:
            parts["own"] += parts.pop(kind, 0.0)
        return parts

    cooling = replace(TRAIN, steps=cooling_steps, schedule="linear", seed=1000 + rounds)
    return [
        Stage("00-copying", kept(COPYING), replace(TRAIN, steps=copying_steps)),
        *(
            Stage(f"{n:02}-reading", kept(READING), replace(TRAIN, steps=round_steps, seed=n))
            for n in range(1, rounds + 1)
        ),
        Stage(f"{rounds:02}-cooling", kept(COOLING), cooling),
    ]


def run_stage(
    stage: Stage,
    model: GPT,
    reading: ReadingWindows,
    validate: Callable[[], float],
    folder: Path,
    *,
    about: dict,
    checkpoint_every: int,
) -> None:
    """Train a model through a stage, and leave the stage's record and the model in the stage's own folder."""
    length = model.config.n_positions
    trainer = Trainer(
        model,
        lambda rng: reading.batch(rng, stage.parts, batch_size=stage.train.batch_size, length=length),
        stage.train,
        validate=validate,
        folder=folder,
        checkpoint_every=checkpoint_every,
        about={**asdict(model.config), **about, "parts": stage.parts},
    )
    resume_newest(trainer, folder)
    history = trainer.run(stage.name)
    record = {
        "stage": stage.name,
        "parts": stage.parts,
        "train": asdict(stage.train),
        "tokens": history.tokens,
        "seconds": round(history.seconds),
        "validation": [{"step": step, "bits_per_byte": loss / math.log(2)} for step, loss in history.validation],
        "train_bits_per_byte": mean_of_runs([loss / math.log(2) for loss in history.losses], 100),
    }
    write_json(folder / RECORD, record)
    save_model(model, folder / MODEL)


def run(
    folder: str | Path,
    corpus: str | Path,
    plan: Sequence[Stage],
    *,
    start: str | Path | None = None,
    checkpoint_every: int = 100,
    command: str | None = None,
) -> dict:
    """Go through the stages of a plan, skipping those that are done already.

    Parameters
    ----------
    folder : str or Path
        Gets a folder for each stage; at the end ``decoder.safetensors`` (float16), its recipe ``decoder.json`` and its
        loss curve ``decoder.png``.
    corpus : str or Path
        A corpus folder (`data/corpus_folder.py`); it is made from installed packages if it is missing.
    plan : list of Stage
    start : str or Path, optional
        The model that the first stage starts from; the bundled decoder, if not given. If there is a recipe beside it,
        it becomes part of this one.
    checkpoint_every : int
        Steps between checkpoints, which are also made at Ctrl-C; a stopped stage resumes from its last one.
    command : str, optional
        The command line, for the record.

    Returns
    -------
    recipe : dict
        What ``decoder.json`` holds.
    """
    folder, corpus = Path(folder), Path(corpus)
    if not (corpus / "corpus.json").exists():
        make_corpus_folder(corpus)
    sources = corpus_record(corpus)
    others = [text for name in sources if name != STDLIB for text in corpus_texts(corpus, name, "train")]
    reading = ReadingWindows(corpus_texts(corpus, STDLIB, "train"), others, corpus_attributes(corpus))
    held_out = {split: encode_documents(corpus_texts(corpus, STDLIB, split), ByteTokenizer()) for split in HELD_OUT}
    start = Path(start or ASSETS / "decoder.safetensors")
    model = load_model(start, dtype="float32")
    start_id, length = weights_hash(model), model.config.n_positions

    def loss_on(split):
        return evaluate_loss(model, windows(held_out[split], length=length, batch_size=16, end_of_text=END_OF_TEXT))

    about = {"start": start_id, "corpus": {name: source["train"]["sha256"] for name, source in sources.items()}}
    for stage in plan:
        if (folder / stage.name / MODEL).exists():
            model = load_model(folder / stage.name / MODEL)
        else:
            of_stage = {"about": about, "checkpoint_every": checkpoint_every}
            run_stage(stage, model, reading, lambda: loss_on("valid"), folder / stage.name, **of_stage)
    records = [read_json(folder / stage.name / RECORD) for stage in plan]
    of_start = start.with_suffix(".json")
    corpus_id = hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest()[:12]
    recipe = {
        "command": command,
        "start": {"id": start_id, "recipe": read_json(of_start) if of_start.exists() else None},
        "config": {"model": asdict(model.config)},
        "corpus": {"id": corpus_id, "bytes": {split: len(t) for split, t in held_out.items()}, "sources": sources},
        "tokens_seen": sum(record["tokens"] for record in records),
        "seconds": sum(record["seconds"] for record in records),
        "bits_per_byte": {split: loss_on(split) / math.log(2) for split in HELD_OUT},
        "gzip_bits_per_byte": {split: gzip_bits_per_byte(None, tokens) for split, tokens in held_out.items()},
        "validation": joined([record["validation"] for record in records]),
        "stages": records,
        **provenance(),
    }
    save_model(model, folder / MODEL, dtype="float16", corpus=corpus_id, command=command)
    write_json(folder / "decoder.json", recipe)
    draw(recipe, folder / "decoder.png")
    return recipe


def joined(curves: Sequence[Sequence[dict]]) -> list[dict]:
    """Validation curves of runs that follow each other as one, in which steps are counted from the first run's on."""
    whole: list[dict] = []
    for curve in curves:
        before = whole[-1]["step"] if whole else 0
        whole += [{**point, "step": before + point["step"]} for point in curve]
    return whole


def draw(recipe: dict, path: Path) -> None:
    """The validation curves: of the model that this one started from, if its recipe is known, and of all stages."""
    from minilora import plots

    before = recipe["start"]["recipe"]
    curves = [before["validation"] if before else [], recipe["validation"]]
    whole = [(point["step"], point["bits_per_byte"]) for point in joined(curves)]
    lines = {"prose alone": whole[: len(curves[0])], "then copying, reading, cooling": whole[len(curves[0]) :]}
    gzips = recipe["gzip_bits_per_byte"]["valid"]
    lines["gzip"] = [(step, gzips) for step in (whole[0][0], whole[-1][0])]
    drawn = {label: tuple(zip(*points, strict=True)) for label, points in lines.items() if points}
    plots.save(plots.curves(drawn, x="training step", y="bits per byte of held-out prose"), path)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, help="folder of the run")
    parser.add_argument("--corpus", help="folder of the corpus; made if it is not there (default: OUT/corpus)")
    parser.add_argument("--start", help="a model file to start from (default: the bundled decoder)")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--cooling-steps", type=int, default=COOLING_STEPS)
    parser.add_argument("--without", nargs="*", default=(), choices=ReadingWindows.KINDS[1:])
    options = parser.parse_args(arguments)
    corpus = options.corpus or Path(options.out) / "corpus"
    command = shlex.join(["python", "-m", "minilora.experiments.pretrain_reader", *(arguments or sys.argv[1:])])
    plan = stages(options.rounds, without=options.without, cooling_steps=options.cooling_steps)
    recipe = run(options.out, corpus, plan, start=options.start, command=command)
    print(f"{recipe['bits_per_byte']['valid']:.3f} bits per byte of held-out prose; {Path(options.out) / MODEL}")


if __name__ == "__main__":
    main()

"""What each part of the reader's recipe gives: short pretrainings without it, and what LoRA then reaches.

    python -m minilora.experiments.reader_ablations --out runs/ablations --start runs/prose/decoder.safetensors
    python -m minilora.experiments.reader_ablations --out runs/ablations --into runs/reader/decoder.json

All start from one model, which has read prose alone, and take as many steps; what is left out is replaced by prose.
Each is measured as `reader_probe.py` and `demo_search.py` measure, on held-out prose and mini-E2E's valid split. The
second command adds the table, and what the finished decoder reaches itself, to its recipe.
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from minilora.experiments.demo_search import adapted
from minilora.experiments.pretrain_reader import MODEL, RECORD, Stage, run, stages
from minilora.experiments.reader_probe import copying_bits, prose_bits
from minilora.files import read_json, write_json
from minilora.models import load_model

WITHOUT = {
    "nothing": (),
    "strings": ("strings", "periods"),
    "tasks": ("tasks",),
    "records and keywords": ("records", "keywords"),
    "lists": ("lists", "missing", "repeats"),
    "all that is generated": ("strings", "periods", "tasks", "records", "keywords", "lists", "missing", "repeats"),
}
STEPS = {"copying_steps": 1000, "round_steps": 1000, "cooling_steps": 500}
LORA = {"method": "lora", "steps": 300, "batch_size": 16, "threads": None}


def plan_without(kinds: Sequence[str]) -> list[Stage]:
    """A short pretraining of one round without these kinds of windows."""
    return stages(1, without=kinds, **STEPS)


def probe(path: Path, runs: Sequence[dict]) -> dict:
    """What a model file reaches: bits per byte of prose and of copies, and what each run of `adapted` gives."""

    def new_model():
        return load_model(path, dtype="float32")

    found = {"prose": prose_bits(new_model()), **copying_bits(new_model())}
    return found | {"adapted": [adapted(new_model, **settings) for settings in runs]}


def ablations(folder: Path, corpus: Path, *, start: Path, without: Sequence[str] = (*WITHOUT,)) -> dict:
    """Run each ablation that is not done yet; return what ``ablations.json`` holds: a row for each.

    Parameters
    ----------
    folder : Path
        Gets a folder for each, and ``ablations.json``.
    corpus : Path
    start : Path
        A decoder that has read prose alone.
    without : sequence of str
        Names in WITHOUT.
    """
    table = folder / "ablations.json"
    rows = read_json(table) if table.exists() else {}
    for name in without:
        if name not in rows:
            plan, own = plan_without(WITHOUT[name]), folder / name.replace(" ", "-")
            for other in rows:
                take_stages(plan, own, plan_without(WITHOUT[other]), folder / other.replace(" ", "-"))
            recipe = run(own, corpus, plan, start=start)
            rows[name] = {
                "without": WITHOUT[name],
                "tokens_seen": recipe["tokens_seen"],
                "start": recipe["start"],
                **probe(own / MODEL, [LORA]),
            }
            write_json(table, rows)
    return rows


def take_stages(plan: Sequence[Stage], own: Path, others: Sequence[Stage], theirs: Path) -> None:
    """Copy the first stages in which two plans agree: the same windows in the same order end in the same model."""
    for stage, other in zip(plan, others, strict=True):
        if stage != other:
            return
        (own / stage.name).mkdir(parents=True, exist_ok=True)
        for file in (RECORD, MODEL):  # with the model a stage is done
            shutil.copy(theirs / stage.name / file, own / stage.name / file)


def add_to_recipe(path: Path, folder: Path, runs: Sequence[dict]) -> dict:
    """Add the table of ablations, and what the model beside it reaches, to the recipe at `path`."""
    rows = read_json(folder / "ablations.json")
    recipe = {**read_json(path), "probe": probe(path.with_suffix(".safetensors"), runs), "ablations": rows}
    write_json(path, recipe)
    return recipe


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the ablations")
    parser.add_argument("--corpus", type=Path, help="folder of the corpus")
    parser.add_argument("--start", type=Path, help="a decoder that has read prose alone, from which all start")
    parser.add_argument("--without", nargs="*", default=(*WITHOUT,), choices=WITHOUT)
    parser.add_argument("--into", type=Path, help="a recipe, decoder.json, that gets the table; nothing is trained")
    options = parser.parse_args(arguments)
    if options.into is None and options.start is None:
        parser.error("--start is needed; `minilora pretrain --out runs/prose` makes such a decoder")
    if options.into:
        add_to_recipe(options.into, options.out, [{**LORA, "steps": n} for n in (300, 900)])
    else:
        corpus = options.corpus or options.out / "corpus"
        for name, row in ablations(options.out, corpus, start=options.start, without=options.without).items():
            lora = row["adapted"][0]
            print(
                f"without {name}: prose {row['prose']:.3f}, a name again {row['name_second']:.2f}, "
                f"LoRA's loss {lora['loss']:.3f}, slot-exact {lora['slot_exact']:.1%}"
            )


if __name__ == "__main__":
    main()

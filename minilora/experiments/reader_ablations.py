"""What each part of the reader's recipe gives: short pretrainings without it, and what LoRA then reaches.

    python -m minilora.experiments.reader_ablations --out runs/ablations --start runs/prose/decoder.safetensors
    python -m minilora.experiments.reader_ablations --out runs/ablations --into runs/reader/decoder.json

All start from one model, which has read prose alone, and take as many steps; what is left out is replaced by prose.
Each is measured as `reader_probe.py` and `demo_search.py` measure, on held-out prose and mini-E2E's valid split. The
second command adds the table, and what the finished decoder reaches itself, to its recipe; ``make pages`` puts it into
the page beside it.
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from minilora.experiments.demo_search import adapted
from minilora.experiments.pretrain_reader import MODEL, RECORD, Stage, run, stages
from minilora.experiments.reader_probe import copying_bits, prose_bits
from minilora.experiments.record import provenance
from minilora.experiments.text_table import aligned
from minilora.files import read_json, write_json
from minilora.models import load_model, weights_hash

WITHOUT = {
    "nothing": (),
    "strings": ("strings", "periods"),
    "tasks": ("tasks",),
    "records and keywords": ("records", "keywords"),
    "lists": ("lists", "missing", "repeats"),
    "all that is generated": ("strings", "periods", "tasks", "records", "keywords", "lists", "missing", "repeats"),
}
STEPS = {"copying_steps": 1000, "round_steps": 1000, "cooling_steps": 500}
BEFORE, FINISHED = "before", "finished"
LABELS = {BEFORE: "(before: prose alone)", FINISHED: "(the finished decoder)"}
LORA = {"method": "lora", "batch_size": 16, "threads": None}
STEPS_OF_LORA = dict.fromkeys(WITHOUT, (300,)) | dict.fromkeys(
    (BEFORE, "nothing", "all that is generated", FINISHED), (300, 900)
)


def plan_without(kinds: Sequence[str]) -> list[Stage]:
    """A short pretraining of one round without these kinds of windows."""
    return stages(1, without=kinds, **STEPS)


def probe(path: Path, steps: int, found: dict) -> dict:
    """What a model file reaches: bits per byte of prose and of copies, and LoRA after so many steps.

    What `found`, an earlier answer, has already is not measured again.
    """

    def new_model():
        return load_model(path, dtype="float32")

    if "prose" not in found:
        found = {**found, "prose": prose_bits(new_model()), **copying_bits(new_model()), "adapted": []}
    if any(run["steps"] == steps for run in found["adapted"]):
        return found
    return {**found, "adapted": [*found["adapted"], adapted(new_model, steps=steps, **LORA)]}


def ablations(folder: Path, corpus: Path, *, start: Path, without: Sequence[str] = (*WITHOUT,)) -> dict:
    """Run what is not done yet of each ablation; return what ``ablations.json`` holds: BEFORE's row, and one for each.

    Parameters
    ----------
    folder : Path
        Gets a folder for each, and ``ablations.json``.
    corpus : Path
    start : Path
        A decoder that has read prose alone; the same for all that is in the folder.
    without : sequence of str
        Names in WITHOUT.
    """
    table, start_id = folder / "ablations.json", weights_hash(load_model(start, dtype="float32"))
    rows = read_json(table) if table.exists() else {}
    for name, row in rows.items():
        if row["start"] != start_id:
            raise ValueError(
                f"start was {start}, with id {start_id}; it must be the one that {name!r} in {table} started from, "
                f"{row['start']}"
            )

    def complete(name: str, path: Path) -> None:
        for steps in STEPS_OF_LORA[name]:
            rows[name] = probe(path, steps, rows[name])
            write_json(table, rows)

    rows.setdefault(BEFORE, {"tokens_seen": 0, "start": start_id})
    complete(BEFORE, start)
    for name in without:
        own = folder / name.replace(" ", "-")
        if name not in rows:
            plan = plan_without(WITHOUT[name])
            for other in [done for done in WITHOUT if done in rows]:
                take_stages(plan, own, plan_without(WITHOUT[other]), folder / other.replace(" ", "-"))
            seen = run(own, corpus, plan, start=start)["tokens_seen"]
            rows[name] = {"without": WITHOUT[name], "tokens_seen": seen, "start": start_id}
        complete(name, own / MODEL)
    return rows


def take_stages(plan: Sequence[Stage], own: Path, others: Sequence[Stage], theirs: Path) -> None:
    """Copy the first stages in which two plans agree: the same windows in the same order end in the same model."""
    for stage, other in zip(plan, others, strict=True):
        if stage != other:
            return
        (own / stage.name).mkdir(parents=True, exist_ok=True)
        for file in (RECORD, MODEL):  # with the model a stage is done
            shutil.copy(theirs / stage.name / file, own / stage.name / file)


def add_to_recipe(path: Path, folder: Path) -> dict:
    """Add the table of ablations to the recipe at `path`, and the finished model's own row, FINISHED."""
    recipe, rows = read_json(path), read_json(folder / "ablations.json")
    found = recipe.get("ablations", {"rows": {}})["rows"].get(FINISHED, {"tokens_seen": recipe["tokens_seen"]})
    for steps in STEPS_OF_LORA[FINISHED]:
        found = probe(path.with_suffix(".safetensors"), steps, found)
    rows[FINISHED] = found
    recipe["ablations"] = {"rows": {name: without_samples(row) for name, row in rows.items()}, **provenance()}
    write_json(path, recipe)
    return recipe


def without_samples(row: dict) -> dict:
    """A row without the answers to each prompt."""
    return {
        **row,
        "adapted": [{key: value for key, value in run.items() if key != "samples"} for run in row["adapted"]],
    }


def table_lines(rows: dict[str, dict]) -> list[str]:
    """Rows of ablations as lines of text."""
    steps = sorted({run["steps"] for row in rows.values() for run in row["adapted"]})
    heads = (head for n in steps for head in (f"loss at {n}", f"right at {n}, %"))
    lines = [("left out", "tokens, M", "prose", "name again", "string again", *heads)]
    for name, row in rows.items():
        bits = (f"{row[kind]:.2f}" for kind in ("prose", "name_second", "string_second"))
        runs = {run["steps"]: (f"{run['loss']:.3f}", f"{100 * run['slot_exact']:.0f}") for run in row["adapted"]}
        reached = (cell for n in steps for cell in runs.get(n, ("-", "-")))
        lines.append((LABELS.get(name, name), f"{row['tokens_seen'] / 1e6:.1f}", *bits, *reached))
    return aligned(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the ablations")
    parser.add_argument("--corpus", type=Path, help="folder of the corpus")
    parser.add_argument("--start", type=Path, help="a decoder that has read prose alone, from which all start")
    parser.add_argument("--without", nargs="*", default=(*WITHOUT,), choices=WITHOUT)
    parser.add_argument("--into", type=Path, help="a recipe, decoder.json, that gets the table")
    options = parser.parse_args(arguments)
    if options.into is None and options.start is None:
        parser.error("--start is needed; `minilora pretrain --out runs/prose` makes such a decoder")
    if options.into:
        add_to_recipe(options.into, options.out)
    else:
        corpus = options.corpus or options.out / "corpus"
        rows = ablations(options.out, corpus, start=options.start, without=options.without)
        print("\n".join(table_lines(rows)))


if __name__ == "__main__":
    main()

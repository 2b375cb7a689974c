"""The adapter that comes with the bundled decoder: LoRA on mini-E2E, which shows at once what LoRA does.

    python -m minilora.experiments.bundled_adapter --out minilora/assets/adapters

It is trained as the demonstration trains its own, only longer, and measured on mini-E2E's valid split.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy

from minilora.data import load_task
from minilora.experiments.demo_settings import configs
from minilora.experiments.measure import measure
from minilora.experiments.record import provenance
from minilora.files import write_json
from minilora.methods import apply_method, bundled_adapter, save_adapter
from minilora.models import GPT, load_bundled, load_model, weights_hash
from minilora.training import Trainer, evaluate_loss

MOST_BYTES = 500_000
ADAPTER = bundled_adapter().name
STEPS, BATCH_SIZE, N_TRAIN, N_PROMPTS = 1500, 16, 20_000, 96
RANK, RATE = 16, 3.5e-3  # half of the demonstration's rank, so that the file is small


def run(
    folder: str | Path,
    model: GPT,
    *,
    steps: int = STEPS,
    batch_size: int = BATCH_SIZE,
    n_prompts: int = N_PROMPTS,
    seed: int = 0,
    command: str | None = None,
) -> dict:
    """Train the adapter on a model, in place.

    Parameters
    ----------
    folder : str or Path
        Gets the adapter, ``decoder-mini-e2e.safetensors``, and beside it how it was made, as JSON.
    model : GPT
        The decoder that the adapter is for.
    steps, batch_size : int
    n_prompts : int
        How many prompts of the valid split are answered.
    seed : int
    command : str, optional
        The command line, for the record.

    Returns
    -------
    record : dict
        What the JSON file holds.

    Raises
    ------
    ValueError
        If the adapter's file is larger than MOST_BYTES.
    """
    folder, base = Path(folder), weights_hash(model)
    task = load_task("mini-e2e", length=model.config.n_positions, n_train=N_TRAIN, n_held_out=N_PROMPTS)
    config = configs(model, task.name, steps, seed)["LoRA"]
    train = replace(config.train, batch_size=batch_size, lr=RATE)
    settings = replace(config.settings, rank=RANK, alpha=2 * RANK)
    apply_method(model, settings, rng=numpy.random.default_rng(seed))
    trainer = Trainer(
        model,
        lambda rng: task.sample_batch(rng, batch_size),
        train,
        validate=lambda: evaluate_loss(model, task.batches("valid")),
    )
    history = trainer.run("LoRA")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ADAPTER
    for p in model.trainable_parameters():
        p.data[...] = p.data.astype("float16")  # what is measured is what the file holds
    save_adapter(model, path, dtype="float16")
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size:,} bytes; it must have at most {MOST_BYTES:,}")
    measured = measure(model, task, split="valid", n_prompts=n_prompts)
    record = {
        "command": command,
        "base": base,
        "task": {"name": task.name, "id": task.id, "n_train": N_TRAIN},
        "settings": asdict(settings),
        "train": asdict(train),
        "seconds": round(history.seconds),
        "validation": history.validation,
        "valid": measured,
        "bytes": path.stat().st_size,
        **provenance(),
    }
    write_json(path.with_suffix(".json"), record)
    return record


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, help="folder of the adapter")
    parser.add_argument("--model", help="a model file (default: the bundled decoder)")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE)
    options = parser.parse_args(arguments)
    model = load_model(options.model, dtype="float32") if options.model else load_bundled("decoder")
    given = sys.argv[1:] if arguments is None else arguments
    command = shlex.join(["python", "-m", "minilora.experiments.bundled_adapter", *given])
    sizes = {"steps": options.steps, "batch_size": options.batch_size}
    record = run(options.out, model, **sizes, command=command)
    print(f"{record['valid']['slot_exact']:.1%} of valid's sentences are slot-exact; {Path(options.out) / ADAPTER}")


if __name__ == "__main__":
    main()

"""How well a decoder uses its context, and how well LoRA adapts it: the numbers in a pretraining recipe.

    python -m minilora.experiments.reader_probe decoder.safetensors --lora 300x8 900x16
    python -m minilora.experiments.reader_probe decoder.safetensors --lora 900x16 --rates 2.5e-3 5e-3 1e-2

Everything is measured on held-out prose and on mini-E2E's valid split; the test split is for the final result only.
"""

import argparse
import json
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from minilora.data import load_corpus, load_task, parse_source, slot_errors
from minilora.data.batches import LMBatch, encode_documents, windows
from minilora.data.copying import PRINTABLE, Words
from minilora.data.tokenizer import ByteTokenizer
from minilora.experiments.demo_settings import configs
from minilora.experiments.measure import measure
from minilora.methods import apply_method
from minilora.models import GPT, load_bundled, load_model
from minilora.training import TrainConfig, Trainer, evaluate_loss

UNFORESEEN = 3  # the first bytes of a copy: before these, nothing shows that it is one


def copying_bits(model: GPT, *, n: int = 128, seed: int = 0) -> dict[str, float]:
    """Bits per byte of something's first and second occurrence in a window, from its fourth byte on.

    Parameters
    ----------
    model : GPT
    n : int
        How many windows of each kind.
    seed : int

    Returns
    -------
    dict of str to float
        name_first, name_second: two made-up words within held-out prose; string_first, string_second: 60 random
        printable characters, and the same on the next line.
    """
    rng, words = random.Random(seed), Words(())
    prose = "".join(load_corpus("prose").texts("valid")).replace("\n", " ")

    def piece():
        start = rng.randrange(len(prose) - 40)
        return prose[start : start + 40]

    def names():
        name = " ".join(words.made_up(rng).capitalize() for _ in range(2))
        return [piece() + " ", name, " " + piece() + " ", name]

    def strings():
        text = "".join(rng.choices(PRINTABLE, k=60))
        return ["", text, "\n", text]

    found = {}
    for kind, draw in (("name", names), ("string", strings)):
        drawn = [draw() for _ in range(n)]
        for which, part in (("first", 1), ("second", 3)):
            batches = [copy_batch(parts, part) for parts in drawn]
            found[f"{kind}_{which}"] = evaluate_loss(model, batches) / math.log(2)
    return found


def copy_batch(parts: Sequence[str], counted: int) -> LMBatch:
    """The parts of a text as one row; only the part `counted` counts, from its fourth byte on."""
    tokens = np.concatenate([[ByteTokenizer.end_of_text], ByteTokenizer().encode("".join(parts))])  # (T + 1,)
    start = sum(map(len, parts[:counted])) + UNFORESEEN
    mask = np.zeros(len(tokens) - 1, dtype=bool)
    mask[start : start - UNFORESEEN + len(parts[counted])] = True
    return LMBatch(tokens[None, :-1], tokens[None, 1:], mask[None])


def prose_bits(model: GPT) -> float:
    """Bits per byte of the standard library's held-out prose."""
    tokenizer = ByteTokenizer()
    tokens = encode_documents(load_corpus("prose").texts("valid"), tokenizer)
    sizes = {"length": model.config.n_positions, "batch_size": 16}
    return evaluate_loss(model, windows(tokens, **sizes, end_of_text=tokenizer.end_of_text)) / math.log(2)


def adapted(
    new_model: Callable[[], GPT],
    *,
    method: str,
    steps: int,
    batch_size: int,
    threads: int | None,
    seed: int = 0,
    rate: float | None = None,
    n_train: int = 4000,
) -> dict:
    """What the demonstration's LoRA, or its full fine-tuning, achieves on mini-E2E's valid split.

    Parameters
    ----------
    new_model : callable
        Gives a new copy of the model each time.
    method : {"lora", "full"}
    steps, batch_size : int
    threads : int, optional
    seed : int
    rate : float, optional
        The learning rate, instead of the demonstration's.
    n_train : int
        How many examples are trained on.

    Returns
    -------
    dict
        The settings; loss in nats per token; slot_exact and slot_error_rate of 96 prompts, all answers, and how often
        each slot was missing, wrong or extra; seconds.
    """
    model = new_model()
    task = load_task("mini-e2e", length=model.config.n_positions, n_train=n_train, n_held_out=96)
    of_demo = {config.method: config for config in configs(model, "mini-e2e", steps, seed).values()}[method]
    train = {"batch_size": batch_size, "threads": threads, "eval_every": steps}
    config = TrainConfig(**{**vars(of_demo.train), **train, **({"lr": rate} if rate else {})})
    apply_method(model, of_demo.settings, rng=np.random.default_rng(seed))
    history = Trainer(model, lambda rng: task.sample_batch(rng, batch_size), config).run(
        f"{method} {steps}x{batch_size}"
    )
    started = time.perf_counter()
    result = measure(model, task, split="valid", n_prompts=96)
    return {
        "method": method,
        "steps": steps,
        "batch_size": batch_size,
        "seed": seed,
        "rate": config.lr,
        "n_train": n_train,
        "loss": round(result["loss"], 4),
        "slot_exact": round(result["slot_exact"], 4),
        "slot_error_rate": round(result["slot_error_rate"], 4),
        "errors": errors_by_slot(result["samples"]),
        "seconds": round(history.seconds),
        "seconds_of_measuring": round(time.perf_counter() - started),
        "samples": [(s["prompt"], s["answer"]) for s in result["samples"]],
    }


def errors_by_slot(samples: Sequence[dict]) -> dict[str, dict[str, int]]:
    """How many answers to mini-E2E's prompts have each slot missing, wrong or extra, or something else wrong."""
    found = {kind: Counter[str]() for kind in ("missing", "wrong", "extra", "unparsed")}
    for sample in samples:
        errors = slot_errors(parse_source(sample["prompt"].strip()), sample["answer"])
        for kind in ("missing", "wrong", "extra"):
            found[kind].update(list(getattr(errors, kind)))
        found["unparsed"].update({problem.split(":")[0] for problem in errors.unparsed})
    return {kind: dict(counts.most_common()) for kind, counts in found.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line: one line of JSON per figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", help="a model file (default: the bundled decoder)")
    parser.add_argument("--lora", nargs="*", default=(), help="runs of LoRA, as STEPSxBATCH")
    parser.add_argument("--full", nargs="*", default=(), help="runs of full fine-tuning, as STEPSxBATCH")
    parser.add_argument("--rates", nargs="*", type=float, default=(None,), help="learning rates, a run with each")
    parser.add_argument("--n-train", type=int, default=4000, help="examples that are trained on")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)

    def new_model():
        return load_model(options.model, dtype="float32") if options.model else load_bundled("decoder")

    model = new_model()
    print(json.dumps({"prose": prose_bits(model), **copying_bits(model)}), flush=True)
    for method, runs in (("lora", options.lora), ("full", options.full)):
        for steps, batch_size in (map(int, run.split("x")) for run in runs):
            common = {"threads": options.threads, "seed": options.seed, "n_train": options.n_train}
            for rate in options.rates:
                sizes = {"steps": steps, "batch_size": batch_size, "rate": rate}
                print(json.dumps(adapted(new_model, method=method, **sizes, **common)), flush=True)


if __name__ == "__main__":
    main()

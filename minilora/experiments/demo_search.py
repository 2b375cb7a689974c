"""Choosing the demonstration's settings on mini-E2E's valid split, with the same search for LoRA and full fine-tuning.

    python -m minilora.experiments.demo_search --lora 900x16 --full 900x16 --rates 2.5e-3 5e-3 1e-2
    python -m minilora.experiments.demo_search --model smollm2 --lora 300x8 --rates 1e-3 2e-3 --ratios 1 4

A line of JSON for each run. The test split is for the demonstration itself.
"""

import argparse
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from minilora.data import Tokenizer, load_task, parse_source, slot_errors
from minilora.experiments.demo import LONGEST
from minilora.experiments.demo_settings import configs, settings_for
from minilora.experiments.measure import measure
from minilora.interop.opening import open_language_model
from minilora.methods import apply_method
from minilora.models.decoder import Decoder
from minilora.training import Trainer


def adapted(
    new_model: Callable[[], Decoder],
    *,
    method: str,
    steps: int,
    batch_size: int,
    threads: int | None,
    seed: int = 0,
    rate: float | None = None,
    lr_ratio_B: float | None = None,
    rank: int | None = None,
    n_train: int | None = None,
    tokenizer: Tokenizer | None = None,
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
    lr_ratio_B : float, optional
        LoRA+'s ratio of B's rate to A's, instead of the demonstration's.
    rank : int, optional
        LoRA's, instead of the demonstration's, at the same scale alpha / r.
    n_train : int, optional
        How many examples are trained on; as many as in the demonstration, if not given.
    tokenizer : Tokenizer, optional
        The model's; bytes, if not given.

    Returns
    -------
    dict
        The settings; loss in nats per token; slot_exact and slot_error_rate of 96 prompts, all answers, and how often
        each slot was missing, wrong or extra; seconds.
    """
    model = new_model()
    length = min(int(model.longest_input), LONGEST)
    n_train = n_train or settings_for(model).n_train
    task = load_task("mini-e2e", length=length, n_train=n_train, n_held_out=96, tokenizer=tokenizer)
    of_demo = {config.method: config for config in configs(model, "mini-e2e", steps, seed).values()}[method]
    given = {"lr": rate, "lr_ratio_B": lr_ratio_B}
    given = {name: value for name, value in given.items() if value is not None}
    config = replace(of_demo.train, batch_size=batch_size, threads=threads, eval_every=steps, **given)
    adaptation = of_demo.settings
    if rank is not None and method == "lora":
        adaptation = replace(adaptation, rank=rank, alpha=adaptation.alpha / adaptation.rank * rank)
    apply_method(model, adaptation, rng=np.random.default_rng(seed))
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
        "lr_ratio_B": config.lr_ratio_B,
        "rank": adaptation.rank if method == "lora" else None,
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
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="decoder", help="a decoder, as `minilora demo` takes it")
    parser.add_argument("--lora", nargs="*", default=(), help="runs of LoRA, as STEPSxBATCH")
    parser.add_argument("--full", nargs="*", default=(), help="runs of full fine-tuning, as STEPSxBATCH")
    parser.add_argument("--rates", nargs="*", type=float, default=(None,), help="learning rates, a run with each")
    parser.add_argument("--ratios", nargs="*", type=float, default=(None,), help="LoRA's lr_ratio_B, a run with each")
    parser.add_argument("--rank", type=int, help="LoRA's")
    parser.add_argument("--n-train", type=int, help="examples that are trained on (default: the demonstration's)")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    tokenizer = open_language_model(options.model).tokenizer
    common = {
        "threads": options.threads,
        "seed": options.seed,
        "n_train": options.n_train,
        "rank": options.rank,
        "tokenizer": tokenizer,
    }
    for method, runs, ratios in (("lora", options.lora, options.ratios), ("full", options.full, (None,))):
        for steps, batch_size in (map(int, run.split("x")) for run in runs):
            for rate, ratio in itertools.product(options.rates, ratios):
                found = adapted(
                    lambda: open_language_model(options.model).model,
                    method=method,
                    steps=steps,
                    batch_size=batch_size,
                    rate=rate,
                    lr_ratio_B=ratio,
                    **common,
                )
                print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()

"""`minilora finetune`: adapt a model to a task by any method."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy

from minilora.arrays.products import PRODUCTS, gpu_products
from minilora.cli.completion import from_words
from minilora.cli.measures import print_left_out, print_measures
from minilora.cli.method_options import (
    ADALORA,
    ALL_PREFIXES,
    HOULSBY,
    IA3,
    LORA_WITH_PREFIX,
    PROMPT_TUNING,
    RANDOM_SUBSPACE,
    TRAINABLE_TOKENS,
    VERA,
    add_rank_and_targets,
    add_settings_of_baselines,
)
from minilora.cli.options import (
    add_bits,
    add_choice,
    add_device,
    add_json,
    add_model,
    add_seed,
    add_task,
    add_threads,
    integer,
    names_in,
    number,
    one_of,
    refuse_unused,
)
from minilora.cli.parser import Parser
from minilora.cli.paths import check_output_folder
from minilora.cli.printing import print_json
from minilora.cli.tasks import open_model_and_task
from minilora.data import ClassificationTask
from minilora.methods import METHODS, LoRAConfig, LoRAPrefixConfig, PrefixConfig, PromptTuningConfig
from minilora.models.classification import EncoderForClassification, new_classifier

EXAMPLE = "minilora finetune --rank 4 --alpha 8 --out runs/my-adapter"
ARGUMENTS = {"k": "--blocks", "lr_ratio_B": "--lr-ratio-b"}  # what Python calls some options

LORA = ("lora", "rslora", "dora", "pissa", "lora-fa", "lora-ga", *LORA_WITH_PREFIX)
WITH_B = tuple(name for name in LORA if name != "lora-fa")  # and an A beside it that learns
WITH_MATRICES = ("full", "top-k", "pissa", "lora-ga", "random-subspace")  # which have float32 matrices of their own
USED_BY = {  # the methods that use an option
    "feedforward": (IA3,),
    "tokens": (TRAINABLE_TOKENS,),
    **dict.fromkeys(("prompt_length", "start_text"), (PROMPT_TUNING,)),
    **dict.fromkeys(("rank", "alpha"), (*LORA, ADALORA)),
    "rslora": LORA,
    "dropout": (*LORA, VERA, ADALORA),
    "vera_rank": (VERA,),
    "initial_rank": (ADALORA,),
    "lr_ratio_b": WITH_B,
    "targets": (*LORA, RANDOM_SUBSPACE, VERA, ADALORA, IA3),
    "dimension": (RANDOM_SUBSPACE,),
    "dora_exact": ("dora",),
    "size": HOULSBY,
    "leave_out": ("adapter-d",),
    **dict.fromkeys(("before", "after"), ALL_PREFIXES),
    "blocks": ("top-k",),
    "bits": tuple(name for name in METHODS if name not in WITH_MATRICES),
}
SETTINGS = {  # as the configurations say
    **{name: name for name in USED_BY if name not in ("lr_ratio_b", "bits", "start_text")},
    "blocks": "k",
    "prompt_length": "length",
    "vera_rank": "rank",
}
CHECKPOINT_EVERY = 50  # steps
WRITTEN = ("result.json", "config.json", "history.json")  # and what was learned


def add_options(p: Parser) -> None:
    """The options, with the defaults of the configurations that they go into."""
    from minilora.training import TrainConfig
    from minilora.training.schedules import SCHEDULES

    add_model(p)
    add_bits(p)
    add_task(p)
    p.add_argument(
        "--method",
        type=one_of(METHODS),
        metavar="METHOD",
        default="lora",
        help=f"what is trained: {', '.join(METHODS)}",
    ).completer = from_words(METHODS)
    lora = ", ".join(LORA)
    add_rank_and_targets(p, LORA)
    p.add_argument(
        "--alpha",
        type=number(0, 1_000_000, above=True),
        metavar="NUMBER",
        default=LoRAConfig.alpha,
        help=f"delta W is scaled by alpha / r ({lora}; {ADALORA}: by alpha / its initial r)",
    )
    p.add_argument(
        "--dropout",
        type=number(0, 1, below=True),
        metavar="P",
        default=LoRAConfig.dropout,
        help=f"probability that an input of A is dropped ({lora}, {VERA}, {ADALORA})",
    )
    p.add_argument("--rslora", action="store_true", help=f"scale by alpha / sqrt(r) instead ({lora})")
    p.add_argument("--dora-exact", action="store_true", help="differentiate through DoRA's norm (dora)")
    add_settings_of_baselines(p)
    p.add_argument(
        "--start-text",
        metavar="TEXT",
        help=f"the embeddings start as those of this text's tokens (default: of random tokens) ({PROMPT_TUNING})",
    )
    p.add_argument("--steps", type=integer(1, 10**9), metavar="N", default=TrainConfig.steps, help="training steps")
    p.add_argument(
        "--batch-size",
        type=integer(1, 65_536),
        metavar="N",
        default=TrainConfig.batch_size,
        help="examples, or windows of text, in a step",
    )
    p.add_argument(
        "--accumulation",
        type=integer(1, 65_536),
        metavar="N",
        default=TrainConfig.accumulation,
        help="micro-batches in which a batch is computed, to save memory",
    )
    p.add_argument(
        "--recompute",
        action="store_true",
        help="keep only the input of each block, and recompute the rest in the backward: less memory, more time",
    )
    p.add_argument(
        "--lr",
        type=number(0, 1_000_000),
        metavar="NUMBER",
        help="learning rate (default: one that suits the method)",
    )
    p.add_argument(
        "--lr-ratio-b",
        type=number(0, 1_000_000, above=True),
        metavar="NUMBER",
        default=TrainConfig.lr_ratio_B,
        help=f"LoRA+: B's learning rate divided by A's ({', '.join(WITH_B)})",
    )
    add_choice(
        p,
        "--schedule",
        tuple(SCHEDULES),
        default=TrainConfig.schedule,
        help="how the learning rate falls after warming up",
    )
    add_threads(p, "threads that share a batch")
    add_device(p)
    add_choice(
        p,
        "--products",
        PRODUCTS,
        default="float32",
        help="how a GPU multiplies by weights: bfloat16 and tf32 round the factors, and sum in float32",
    )
    add_seed(p)
    p.add_argument("--out", metavar="DIR", default="runs/finetune", help="the run's folder")
    add_json(p)


def run(options: argparse.Namespace) -> int:
    """Adapt, or resume an interrupted run; print the results."""
    from minilora.experiments import finetune as experiment
    from minilora.experiments.rates import default_rate
    from minilora.experiments.targets import with_all_linear
    from minilora.training import TrainConfig

    gpu_products(options.products, options.device)  # refuses what this machine cannot do, before anything is opened
    settings = method_settings(options)
    if options.accumulation > options.batch_size:
        raise ValueError(
            f"--accumulation was {options.accumulation:,}; it must be from 1 to the batch size, {options.batch_size:,}"
        )
    reads = {"--model": options.model, "--text": options.text, "--task": options.task}
    learned = "model.safetensors" if options.method == "full" else "adapter.safetensors"
    check_output_folder("--out", options.out, reads, (learned, *WRITTEN))
    prefix = settings.prefix if isinstance(settings, LoRAPrefixConfig | PromptTuningConfig) else settings
    reserved = prefix.before + prefix.after if isinstance(prefix, PrefixConfig) else 0
    opened, task = open_model_and_task(options, reserved=reserved)
    model = opened.model
    if isinstance(task, ClassificationTask):
        model = with_head_for(task, model, options.seed)
    train = TrainConfig(
        steps=options.steps,
        batch_size=options.batch_size,
        lr=options.lr if options.lr is not None else default_rate(options.method, task, model),
        lr_ratio_B=options.lr_ratio_b,
        schedule=options.schedule,
        accumulation=options.accumulation,
        recompute=options.recompute,
        threads=options.threads,
        seed=options.seed,
    )
    settings = with_all_linear(settings, model)
    if options.start_text is not None:
        settings = replace(settings, start=tuple(map(int, opened.tokenizer.encode(options.start_text))))
    config = experiment.FinetuneConfig(task.name, options.method, settings, train)
    was_there = (Path(options.out) / experiment.RESULT).exists()
    result, _ = experiment.run(
        model,
        task,
        config,
        options.out,
        command=options.command,
        about=opened.about(),
        products=options.products,
        checkpoint_every=CHECKPOINT_EVERY,
        ranks=options.ranks,
    )
    if options.json:
        print_json(result)
        return 0
    if was_there:
        print(f"{options.out} already holds this run, finished: nothing was trained")
    print(f"{task.name}, test:")
    print_left_out(task)
    print_measures(result)
    head = f" ({result['head']:,} of them the head's)" if "head" in result else ""
    print(f"{result['trainable']:,} parameters trained{head}, {result['percent']:.2f} % of all")
    print(f"in {options.out}: {result['file']['name']} ({result['file']['bytes'] / 1e3:,.0f} KB), result.json")
    return 0


def method_settings(options: argparse.Namespace) -> Any:
    """The configuration of --method, with the settings that were typed.

    Raises
    ------
    ValueError
        If an option was typed that the method does not use.
    """
    refuse_unused(options, USED_BY, "method")
    typed = {SETTINGS[name]: getattr(options, name) for name in SETTINGS if name in options.typed}
    typed |= {name: names_in(typed[name]) for name in ("targets", "feedforward") if name in typed}
    config = METHODS[options.method]
    if not isinstance(config, LoRAPrefixConfig):
        return replace(config, **typed)
    of_prefix = {name: typed.pop(name) for name in ("before", "after") if name in typed}
    return replace(config, lora=replace(config.lora, **typed), prefix=replace(config.prefix, **of_prefix))


def with_head_for(task: ClassificationTask, model, seed: int):
    """The model, if its head has the task's number of classes; else its encoder with a new head."""
    n_classes = len(task.label_names)
    if isinstance(model, EncoderForClassification) and model.config.n_classes == n_classes:
        return model
    return new_classifier(model, n_classes, numpy.random.default_rng([seed, 1]))  # `seed` by itself is the method's

"""`minilora demo`, `pretrain` and `finetune`."""

from dataclasses import replace
from pathlib import Path

import numpy

import minilora
from minilora.data import ClassificationTask
from minilora.models.classification import EncoderForClassification, new_classifier
from minilora.verbs.opening import names_in, open_model_and_task
from minilora.verbs.using import print_left_out, print_measures

# If --lr is not given, of texts: found in short runs of the bundled decoder on mini-E2E, to a factor of two.
LEARNING_RATES = {
    "lora": 1e-2,
    "rslora": 1e-2,
    "dora": 1e-2,
    "pissa": 5e-3,
    "full": 2e-3,
    "top-k": 5e-3,
    "bitfit": 3e-2,
    "adapter-h": 1e-2,
    "adapter-l": 1e-2,
    "adapter-p": 1e-2,
    "adapter-d": 1e-2,
    "prefix-embedding": 1e-1,
    "prefix-layer": 1e-1,
}
# Of classes: those of figures/table2.json, the bundled encoder's best of three on valid.
LEARNING_RATES_OF_CLASSES = dict.fromkeys(
    ("lora", "rslora", "dora", "pissa", "adapter-h", "adapter-l", "adapter-p"), 3e-3
) | {"full": 3e-4, "top-k": 1e-3, "bitfit": 1e-2, "adapter-d": 1e-2}
CHECKPOINT_EVERY = 50  # steps


def demo(options):
    from minilora.experiments import demo as experiment
    from minilora.experiments.demo_report import report

    results = experiment.run(
        options.out,
        options.runs,
        text=options.text,
        steps=options.steps,
        device=options.device,
        seed=options.seed,
        command=options.command,
    )
    print(report(results, options.out))


def pretrain(options):
    from minilora.experiments.pretrain import run
    from minilora.experiments.pretrain_decoder import DECODER
    from minilora.experiments.pretrain_encoder import ENCODER

    kind = {"decoder": DECODER, "encoder": ENCODER}[options.kind]
    model, train = kind.config.model, kind.config.train
    width = options.width if options.width is not None else model.d_model
    config = replace(
        kind.config,
        corpus=options.corpus,
        model=replace(model, n_layer=options.layers, d_model=width, n_head=options.heads, d_mlp=4 * width),
        train=replace(train, steps=options.steps if options.steps is not None else train.steps, seed=options.seed),
    )
    out = options.out if options.out is not None else f"runs/{options.kind}"
    recipe = run(kind, config, out, device=options.device, command=options.command, ranks=options.ranks)
    ours, rivals = recipe["bits_per_byte"]["test"], recipe[f"{kind.rival}_bits_per_byte"]["test"]
    print(f"{out}/{kind.name}.safetensors: {ours:.3f} bits a byte on held-out text; {kind.rival}: {rivals:.3f}")


def finetune(options):
    from minilora.experiments import finetune as experiment
    from minilora.training import TrainConfig

    settings = method_settings(options)
    is_prefix = isinstance(settings, minilora.PrefixConfig)
    model, task = open_model_and_task(options, reserved=settings.before + settings.after if is_prefix else 0)
    if isinstance(task, ClassificationTask):
        model = with_head_for(task, model, options.seed)
    train = TrainConfig(
        steps=options.steps,
        batch_size=options.batch_size,
        lr=options.lr if options.lr is not None else default_rate(options.method, task),
        lr_ratio_B=options.lr_ratio_b,
        schedule=options.schedule,
        accumulation=options.accumulation,
        threads=options.threads,
        seed=options.seed,
    )
    config = experiment.FinetuneConfig(task.name, options.method, settings, train)
    was_there = (Path(options.out) / experiment.RESULT).exists()
    result, _ = experiment.run(
        model,
        task,
        config,
        options.out,
        command=options.command,
        checkpoint_every=CHECKPOINT_EVERY,
        ranks=options.ranks,
    )
    if was_there:
        print(f"{options.out} holds this run already, finished: nothing was trained")
    print(f"{task.name}, test:")
    print_left_out(task)
    print_measures(result)
    head = f" ({result['head']:,} of them the head's)" if "head" in result else ""
    print(f"{result['trainable']:,} parameters trained{head}, {result['percent']:.2f} % of all")
    print(f"in {options.out}: {result['file']['name']} ({result['file']['bytes'] / 1e3:,.0f} KB), result.json")


def default_rate(method, task):
    """The learning rate of a method on a task, if none is given."""
    of_classes = LEARNING_RATES_OF_CLASSES if isinstance(task, ClassificationTask) else {}
    return of_classes.get(method, LEARNING_RATES[method])  # prefixes are for texts alone, and are refused elsewhere


def with_head_for(task, model, seed):
    """The model, if its head tells as many classes apart as the task has; else its encoder with a new head."""
    n_classes = len(task.label_names)
    if isinstance(model, EncoderForClassification) and model.config.n_classes == n_classes:
        return model
    return new_classifier(model, n_classes, numpy.random.default_rng([seed, 1]))  # seed alone is the method's


def method_settings(options):
    """The configuration of --method, with those of its options that it has."""
    settings = minilora.METHODS[options.method]
    if isinstance(settings, minilora.LoRAConfig):
        return replace(
            settings,
            rank=options.rank,
            alpha=options.alpha,
            targets=names_in(options.targets),
            dropout=options.dropout,
            rslora=options.rslora or settings.rslora,
            dora_exact=options.dora_exact,
        )
    if isinstance(settings, minilora.AdapterConfig):
        leave_out = options.leave_out if options.method == "adapter-d" else 0
        return replace(settings, size=options.size, leave_out=leave_out)
    if isinstance(settings, minilora.PrefixConfig):
        return replace(settings, before=options.before, after=options.after)
    if isinstance(settings, minilora.TopKConfig):
        return minilora.TopKConfig(options.blocks)
    return settings

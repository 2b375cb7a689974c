"""The command line: ``minilora demo``, and the steps of the demonstration one by one."""

import shlex
import sys
from dataclasses import replace
from pathlib import Path

import minilora
from minilora.arguments import parse


def main(argv=None):
    """Run ``minilora VERB ...``; returns the exit status."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a model may write what the terminal's encoding cannot
    options = parse(arguments)
    options.command = shlex.join(["minilora", *arguments])
    try:
        if options.seed < 0:
            raise ValueError(f"--seed was {options.seed}; it may be an integer of at least 0")
        VERBS[options.verb](options)
    except (ValueError, RuntimeError, OSError) as error:
        print(f"minilora {options.verb}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nminilora {options.verb}: stopped", file=sys.stderr)
        return 130
    return 0


def open_model(options, adapter=None):
    """The model that --model and --device name, with the adapter in a file or run folder, if one is given."""
    if options.model is None:
        model = minilora.load_bundled("decoder", device=options.device)
    else:
        model = minilora.load_model(options.model, device=options.device)
    if adapter is not None:
        path = Path(adapter)
        minilora.load_adapter(model, path / "adapter.safetensors" if path.is_dir() else path)
    return model


def open_task(options, model):
    """The task that --task or --text names."""
    from minilora.data import load_task, text_task

    if options.text is not None:
        return text_task(options.text, length=model.config.n_positions)
    return load_task(options.task, length=model.config.n_positions)


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
    from minilora.experiments import pretrain as experiment

    config = experiment.PretrainConfig(corpus=options.corpus)
    config = replace(
        config,
        model=replace(
            config.model, n_layer=options.layers, d_model=options.width, n_head=options.heads, d_mlp=4 * options.width
        ),
        train=replace(config.train, steps=options.steps, seed=options.seed),
    )
    recipe = experiment.run(config, options.out, device=options.device, command=options.command)
    ours, gzips = recipe["bits_per_byte"]["test"], recipe["gzip_bits_per_byte"]["test"]
    print(f"{options.out}/decoder.safetensors: {ours:.3f} bits a byte on held-out text; gzip needs {gzips:.3f}")


def finetune(options):
    from minilora.experiments import finetune as experiment
    from minilora.training import TrainConfig

    model = open_model(options)
    task = open_task(options, model)
    lora = minilora.LoRAConfig(
        rank=options.rank,
        alpha=options.alpha,
        targets=target_names(options.targets),
        dropout=options.dropout,
        rslora=options.rslora,
    )
    train = TrainConfig(
        steps=options.steps,
        batch_size=options.batch_size,
        lr=options.lr if options.lr is not None else {"lora": 1e-2, "full": 2e-3}[options.method],
        lr_ratio_B=options.lr_ratio_b,
        schedule=options.schedule,
        accumulation=options.accumulation,
        threads=options.threads,
        seed=options.seed,
    )
    config = experiment.FinetuneConfig(task.name, options.method, lora, train)
    result, _ = experiment.run(model, task, config, options.out, command=options.command)
    print(f"{task.name}, test:")
    print_measures(result)
    print(f"{result['trainable']:,} parameters trained, {result['percent']:.2f} % of all")
    print(f"in {options.out}: {result['file']['name']} ({result['file']['bytes'] / 1e3:,.0f} KB), result.json")


def evaluate(options):
    from minilora.experiments.measure import measure

    model = open_model(options, options.adapter)
    task = open_task(options, model)
    print(f"{task.name}, {options.split}:")
    print_measures(measure(model, task, split=options.split))


def print_measures(result):
    """The loss, and for mini-E2E the slot scores."""
    print(f"loss {result['loss']:.4f} nats a byte, {result['bits_per_byte']:.4f} bits a byte")
    if "slot_exact" in result:
        exact, errors = 100 * result["slot_exact"], 100 * result["slot_error_rate"]
        print(f"slot-exact sentences {exact:.0f} %, slot error rate {errors:.0f} %")


def generate(options):
    import numpy

    from minilora.data import EOT, SEPARATOR, ByteTokenizer

    tokenizer, model = ByteTokenizer(), open_model(options, options.adapter)
    (answer,) = minilora.generate(
        model,
        [encode_prompt(options.prompt + (SEPARATOR if options.source else ""), tokenizer)],
        max_tokens=options.max_tokens,
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        stop=EOT,
        rng=numpy.random.default_rng(options.seed),
    )
    answer = tokenizer.decode(answer)
    print(answer if options.source else options.prompt + answer)


def encode_prompt(prompt, tokenizer):
    """The prompt's tokens, or an error that names it."""
    try:
        return tokenizer.encode(prompt)
    except ValueError as error:
        raise ValueError(f"the prompt: {error}") from None


def merge(options):
    if options.adapter is None:
        raise ValueError("--adapter was not given; it names the adapter to merge")
    if Path(options.out).is_dir():
        raise ValueError(f"--out was {options.out}, a folder; it may be a file, such as merged.safetensors")
    model = open_model(options, options.adapter)
    minilora.merge_lora(model)
    minilora.remove_lora(model)
    minilora.save_model(model, options.out, command=options.command)
    print(f"{options.out}: the merged model")


def import_peft(options):
    from minilora.interop import load_peft

    check_file(options.out)
    model = open_model(options)
    load_peft(model, options.folder)
    besides = [p.name for p in model.trainable_parameters() if not p.name.endswith((".A", ".B"))]
    if besides:
        raise ValueError(
            f"{options.folder} replaces {', '.join(besides)} too, for which an adapter's file has no place; "
            "minilora.interop.load_peft does it in Python"
        )
    minilora.save_adapter(model, options.out)
    print(f"{options.out}: the adapter")


def export_peft(options):
    from minilora.interop import save_peft

    if options.adapter is None:
        raise ValueError("--adapter was not given; it names the adapter to export")
    save_peft(open_model(options, options.adapter), options.out, base=options.base)
    print(f"{options.out}: the adapter for PEFT")


def check_file(out):
    """Raise a ValueError if --out names a folder."""
    if Path(out).is_dir():
        raise ValueError(f"--out was {out}, a folder; it may be a file, such as adapter.safetensors")


def count(options):
    from minilora.analysis import Settings, architecture_of, count_parameters, find_architecture
    from minilora.experiments import count_report as report

    if (options.architecture is None) == (options.model is None):
        raise ValueError("count takes either an architecture (`minilora count list` names them) or --model FILE")
    if options.architecture == "list":
        print(report.list_report())
        return
    if options.architecture == "published":
        print(report.published_report())
        return
    if options.model is None:
        name, architecture = options.architecture, find_architecture(options.architecture)
    else:
        model = open_model(options)
        name, architecture = options.model, architecture_of(model.config)
        print(f"{name} holds {count_parameters(model).total:,} parameters")
    settings = {key: getattr(options, key) for key in Settings.__dataclass_fields__}
    settings["targets"] = target_names(options.targets)
    print(
        report.architecture_report(
            name,
            architecture,
            options.method,
            settings,
            batch_size=options.batch_size,
            length=options.length if options.length is not None else min(512, architecture.n_positions),
            optimizer=options.optimizer,
        )
    )


def target_names(text):
    """The names in a list with commas between."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


VERBS = {
    "demo": demo,
    "pretrain": pretrain,
    "finetune": finetune,
    "evaluate": evaluate,
    "generate": generate,
    "merge": merge,
    "import-peft": import_peft,
    "export-peft": export_peft,
    "count": count,
}


if __name__ == "__main__":
    sys.exit(main())

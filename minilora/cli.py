"""The command line: ``minilora demo``, and the steps of the demonstration one by one."""

import argparse
import shlex
import sys
from dataclasses import replace

import minilora

MODEL_HELP = "a model that minilora saved (default: the bundled decoder)"


def main(argv=None):
    """Run ``minilora VERB ...``; returns the exit status."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a model may write what the terminal's encoding cannot
    options = parser().parse_args(arguments)
    options.command = shlex.join(["minilora", *arguments])
    try:
        if options.seed < 0:
            raise ValueError(f"--seed was {options.seed}; it may be an integer of at least 0")
        options.run(options)
    except (ValueError, RuntimeError, OSError) as error:
        print(f"minilora {options.verb}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nminilora {options.verb}: stopped", file=sys.stderr)
        return 130
    return 0


def parser():
    """The parser of all verbs."""
    top = argparse.ArgumentParser(prog="minilora", description=minilora.__doc__)
    top.add_argument("--version", action="version", version=f"minilora {minilora.__version__}")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name, run, summary, example):
        p = verbs.add_parser(name, help=summary, description=summary, epilog=f"example:  {example}")
        p.set_defaults(run=run)
        p.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto", help="where to compute")
        p.add_argument("--seed", type=int, default=0)
        return p

    p = verb("demo", demo, "Adapt the bundled decoder with LoRA and in full, and compare.",
             "minilora demo --text my.txt")  # fmt: skip
    p.add_argument("--text", metavar="FILE", help="adapt to this UTF-8 text instead of mini-E2E")
    p.add_argument("--steps", type=int, default=None, help="training steps of each method")
    p.add_argument("--out", metavar="DIR", default="figures/demo", help="for figures and numbers")
    p.add_argument("--runs", metavar="DIR", default="runs/demo", help="for the adapter and the fine-tuned model")

    p = verb("pretrain", pretrain, "Pretrain a byte-level decoder; continues if DIR holds a run.",
             "minilora pretrain --out runs/decoder")  # fmt: skip
    p.add_argument("--out", metavar="DIR", default="runs/decoder")
    p.add_argument("--corpus", choices=("prose", "code"), default="prose")
    p.add_argument("--steps", type=int, help="training steps")
    p.add_argument("--layers", type=int, help="L")
    p.add_argument("--width", type=int, help="C")
    p.add_argument("--heads", type=int, help="H")

    p = verb("finetune", finetune, "Adapt a model to a task, and keep the adapter in a run folder.",
             "minilora finetune --rank 4 --alpha 8 --targets q_proj,v_proj --out runs/my-adapter")  # fmt: skip
    p.add_argument("--model", metavar="FILE", help=MODEL_HELP)
    task_options(p)
    p.add_argument("--method", choices=("lora", "full"), default="lora")
    p.add_argument("--rank", type=int, default=8, help="r")
    p.add_argument("--alpha", type=float, default=16)
    p.add_argument("--targets", default="q_proj,v_proj", help="names of linear layers, with commas between")
    p.add_argument("--dropout", type=float, default=0.0, help="on what enters A")
    p.add_argument("--rslora", action="store_true", help="scale by alpha / sqrt(r)")
    p.add_argument("--steps", type=int, default=300)
    p.add_argument("--batch-size", type=int, default=8)
    p.add_argument("--accumulation", type=int, default=1, help="turns in which a batch is computed")
    p.add_argument("--lr", type=float, help="learning rate (default: 1e-2 for lora, 2e-3 for full)")
    p.add_argument("--lr-ratio-b", type=float, default=1.0, help="LoRA+: the learning rate of B over that of A")
    p.add_argument("--schedule", choices=("linear", "cosine", "constant"), default="linear")
    p.add_argument("--threads", type=int, help="among which a batch is shared out (default: all cores)")
    p.add_argument("--out", metavar="DIR", default="runs/finetune")

    p = verb("evaluate", evaluate, "Measure a model on a task.",
             "minilora evaluate --adapter runs/my-adapter/adapter.safetensors")  # fmt: skip
    model_options(p)
    task_options(p)
    p.add_argument("--split", choices=("valid", "test"), default="test")

    p = verb("generate", generate, "Continue a text.", 'minilora generate "The function returns " --temperature 0.8')
    p.add_argument("prompt")
    model_options(p)
    p.add_argument("--max-tokens", type=int, default=120)
    p.add_argument("--temperature", type=float, default=0.0, help="0: always the likeliest byte")
    p.add_argument("--top-k", type=int)
    p.add_argument("--top-p", type=float)

    p = verb("merge", merge, "Merge an adapter into its base: one model file, without added latency.",
             "minilora merge --adapter runs/my-adapter/adapter.safetensors --out merged.safetensors")  # fmt: skip
    model_options(p)
    p.add_argument("--out", metavar="FILE", required=True)
    return top


def model_options(p):
    """Which model: a base, and an adapter for it."""
    p.add_argument("--model", metavar="FILE", help=MODEL_HELP)
    p.add_argument("--adapter", metavar="FILE", help="a LoRA adapter for it")


def task_options(p):
    """Which task."""
    tasks = p.add_mutually_exclusive_group()
    tasks.add_argument("--task", default="mini-e2e", help="mini-e2e, pairs, prose, code, or a .txt, .csv, .jsonl file")
    tasks.add_argument("--text", metavar="FILE", help="any UTF-8 text file")


def open_model(options, adapter=None):
    """The model that --model and --device name, with the adapter in a file, if one is given."""
    if options.model is None:
        model = minilora.load_bundled("decoder", device=options.device)
    else:
        model = minilora.load_model(options.model, device=options.device)
    if adapter is not None:
        minilora.load_adapter(model, adapter)
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

    settings = {} if options.steps is None else {"steps": options.steps}
    results = experiment.run(
        options.out,
        options.runs,
        text=options.text,
        device=options.device,
        seed=options.seed,
        command=options.command,
        **settings,
    )
    print(report(results, options.out))


def pretrain(options):
    from minilora.experiments import pretrain as experiment

    config = experiment.PretrainConfig(corpus=options.corpus)
    shape = {"n_layer": options.layers, "d_model": options.width, "n_head": options.heads}
    shape = {name: value for name, value in shape.items() if value is not None}
    if "d_model" in shape:
        shape["d_mlp"] = 4 * shape["d_model"]
    steps = config.train.steps if options.steps is None else options.steps
    config = replace(
        config,
        model=replace(config.model, **shape),
        train=replace(config.train, steps=steps, seed=options.seed),
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
        targets=tuple(options.targets.split(",")),
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
    print_measures(result)
    print(f"{result['trainable']:,} parameters trained, {result['percent']:.2f} % of the model")
    print(f"in {options.out}: {result['file']['name']} ({result['file']['bytes'] / 1e3:,.0f} KB), result.json")


def evaluate(options):
    from minilora.experiments.measure import measure

    model = open_model(options, options.adapter)
    task = open_task(options, model)
    print_measures(measure(model, task, split=options.split))


def print_measures(result):
    """The loss, and for mini-E2E the slot scores."""
    print(f"loss {result['loss']:.4f} nats a byte, {result['bits_per_byte']:.4f} bits a byte")
    if "slot_exact" in result:
        exact, errors = 100 * result["slot_exact"], 100 * result["slot_error_rate"]
        print(f"slot-exact sentences {exact:.0f} %, slot error rate {errors:.0f} %")


def generate(options):
    import numpy

    from minilora.data import EOT, ByteTokenizer

    tokenizer, model = ByteTokenizer(), open_model(options, options.adapter)
    (answer,) = minilora.generate(
        model,
        [encode_prompt(options.prompt, tokenizer)],
        max_tokens=options.max_tokens,
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        stop=EOT,
        rng=numpy.random.default_rng(options.seed),
    )
    print(options.prompt + tokenizer.decode(answer))


def encode_prompt(prompt, tokenizer):
    """The prompt's tokens, or an error that names it."""
    try:
        return tokenizer.encode(prompt)
    except ValueError as error:
        raise ValueError(f"the prompt: {error}") from None


def merge(options):
    if options.adapter is None:
        raise ValueError("--adapter was not given; it names the adapter to merge")
    model = open_model(options, options.adapter)
    minilora.merge_lora(model)
    minilora.remove_lora(model)
    minilora.save_model(model, options.out, command=options.command)
    print(f"{options.out}: the merged model")


if __name__ == "__main__":
    sys.exit(main())

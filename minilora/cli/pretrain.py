"""`minilora pretrain`: a decoder or encoder of bytes from scratch."""

import argparse
from dataclasses import replace

from minilora.accounting import architecture_of
from minilora.cli.options import add_choice, add_device, add_json, add_seed, integer
from minilora.cli.parser import Parser
from minilora.cli.paths import check_output_folder
from minilora.cli.printing import print_json, print_lines

EXAMPLE = "minilora pretrain --kind encoder --out runs/encoder"
ARGUMENTS = {"d_model": "--width", "n_head": "--heads", "n_layer": "--layers"}  # what Python calls some options

MOST_PARAMETERS = 1_000_000_000  # with gradients and AdamW's state, 16 GB


def add_options(p: Parser) -> None:
    """The options, with the bundled models' values as defaults."""
    decoder, encoder = (kind.config for kind in kinds().values())
    add_choice(
        p,
        "--kind",
        tuple(kinds()),
        default="decoder",
        help="a GPT, which predicts the next byte, or a RoBERTa, which predicts hidden bytes",
    )
    p.add_argument("--out", metavar="DIR", help="the run's folder (default: runs/decoder or runs/encoder)")
    add_choice(p, "--corpus", ("prose", "code"), default=decoder.corpus, help="what it reads")
    p.add_argument("--steps", type=integer(1, 10**9), metavar="N", default=decoder.train.steps, help="training steps")
    p.add_argument(
        "--layers", type=integer(1, 1000), metavar="L", default=decoder.model.n_layer, help="number of blocks"
    )
    p.add_argument(
        "--width",
        type=integer(1, 16_384),
        metavar="C",
        help=f"width of the model (default: {decoder.model.d_model}; {encoder.model.d_model} for an encoder)",
    )
    p.add_argument("--heads", type=integer(1, 1024), metavar="H", default=decoder.model.n_head, help="attention heads")
    add_device(p)
    add_seed(p)
    add_json(p)


def kinds():
    """What can be pretrained, by its name: the bundled models' Kinds."""
    from minilora.experiments.pretrain_decoder import DECODER
    from minilora.experiments.pretrain_encoder import ENCODER

    return {"decoder": DECODER, "encoder": ENCODER}


def run(options: argparse.Namespace) -> int:
    """Pretrain, or resume a run; print how well the model does on held-out text."""
    from minilora.experiments.pretrain import run as pretrain

    kind = kinds()[options.kind]
    out = options.out if options.out is not None else f"runs/{options.kind}"
    check_output_folder("--out", out, {}, (f"{kind.name}.safetensors", f"{kind.name}.json"))
    model, train = kind.config.model, kind.config.train
    width = options.width if options.width is not None else model.d_model
    config = replace(
        kind.config,
        corpus=options.corpus,
        model=replace(model, n_layer=options.layers, d_model=width, n_head=options.heads, d_mlp=4 * width),
        train=replace(train, steps=options.steps, seed=options.seed),
    )
    n = architecture_of(config.model).n_parameters
    if n > MOST_PARAMETERS:
        raise ValueError(f"--layers and --width made {n:,} parameters; they must make at most {MOST_PARAMETERS:,}")
    recipe = pretrain(kind, config, out, device=options.device, command=options.command, ranks=options.ranks)
    if options.json:
        print_json(recipe)
        return 0
    ours, rivals = recipe["bits_per_byte"]["test"], recipe[f"{kind.rival}_bits_per_byte"]["test"]
    measured = f"{ours:.3f} bits per byte on held-out text; {kind.rival}: {rivals:.3f}"
    print_lines([f"{out}/{kind.name}.safetensors: {measured}"])
    return 0

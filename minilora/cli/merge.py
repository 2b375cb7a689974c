"""`minilora merge`: an adapter becomes part of its model."""

import argparse
from pathlib import Path

import minilora
from minilora.cli.opening import open_model
from minilora.cli.options import add_adapter, add_json, add_model
from minilora.cli.parser import Parser
from minilora.cli.paths import check_output
from minilora.cli.printing import print_json
from minilora.methods import HoulsbyConfig, PrefixConfig, lora_layers, method_of

EXAMPLE = "minilora merge --adapter runs/my-adapter --out merged.safetensors"


def add_options(p: Parser) -> None:
    """The model, the adapter, and the file."""
    add_model(p)
    add_adapter(p)
    p.add_argument("--out", metavar="FILE", required=True, help="the merged model's file")
    add_json(p)


def run(options: argparse.Namespace) -> int:
    """Merge, and write the model."""
    if options.adapter is None:
        raise ValueError("--adapter was not given; it must name the adapter to merge")
    reads = {"--model": options.model, "--adapter": options.adapter}
    check_output("--out", options.out, reads, example="merged.safetensors")
    model = open_model(options.model, options.adapter).model
    if isinstance(method_of(model), (HoulsbyConfig, PrefixConfig)):
        what = "which cannot be merged: Houlsby adapters and prefixes are no part of a W"
        raise ValueError(f"--adapter was {options.adapter}, {what}; it must be of another method")
    if lora_layers(model):
        minilora.merge_lora(model)
        minilora.remove_lora(model)
    minilora.save_model(model, options.out, command=options.command)
    if options.json:
        n = sum(p.data.size for p in model.parameters())
        print_json({"file": options.out, "bytes": Path(options.out).stat().st_size, "parameters": n})
    else:
        print(f"{options.out}: the merged model")
    return 0

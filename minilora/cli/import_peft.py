"""`minilora import-peft`: an adapter that PEFT saved becomes one of minilora's."""

import argparse
from pathlib import Path

import minilora
from minilora.cli.opening import ADAPTER_FILE, default_model_named, open_model
from minilora.cli.options import add_json, add_model
from minilora.cli.parser import Parser
from minilora.cli.paths import check_output
from minilora.cli.printing import file_size, print_json

EXAMPLE = "minilora import-peft their-adapter --out adapter.safetensors"


def add_options(p: Parser) -> None:
    """The folder, the model, and the file."""
    p.add_argument("folder", help="with adapter_config.json and adapter_model.safetensors")
    add_model(p)
    p.add_argument("--out", metavar="FILE", required=True, help="the adapter's file")
    add_json(p)


def run(options: argparse.Namespace) -> int:
    """Read the folder, and write the file."""
    from minilora.interop import load_peft

    if not Path(options.folder).is_dir():
        raise ValueError(f"the folder was {options.folder}; there is no such folder")
    if (Path(options.folder) / ADAPTER_FILE).is_file():
        raise ValueError(f"the folder was {options.folder}, which minilora wrote; give it as --adapter, as it is")
    reads = {"the command": options.folder, "--model": options.model}
    check_output("--out", options.out, reads, example="adapter.safetensors")
    model = open_model(options.model).model
    with default_model_named(options.model):
        load_peft(model, options.folder)
    minilora.save_adapter(model, options.out)
    print_json(file_size(options.out)) if options.json else print(f"{options.out}: the adapter")
    return 0

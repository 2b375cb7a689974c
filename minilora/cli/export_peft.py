"""`minilora export-peft`: an adapter as a folder that PEFT loads."""

import argparse

from minilora.cli.opening import open_model
from minilora.cli.options import add_adapter, add_json, add_model
from minilora.cli.parser import Parser
from minilora.cli.paths import check_output_folder
from minilora.cli.printing import file_size, print_json

EXAMPLE = "minilora export-peft --adapter runs/my-adapter --out for-peft"
WRITTEN = ("adapter_config.json", "adapter_model.safetensors")


def add_options(p: Parser) -> None:
    """The model, the adapter, and the folder."""
    add_model(p)
    add_adapter(p)
    p.add_argument("--base", metavar="NAME", help="where PEFT finds the base model")
    p.add_argument("--out", metavar="DIR", required=True, help="the folder")
    add_json(p)


def run(options: argparse.Namespace) -> int:
    """Write the folder."""
    from minilora.interop import save_peft

    if options.adapter is None:
        raise ValueError("--adapter was not given; it must name the adapter to export")
    reads = {"--model": options.model, "--adapter": options.adapter}
    check_output_folder("--out", options.out, reads, WRITTEN)
    save_peft(open_model(options.model, options.adapter).model, options.out, base=options.base)
    print_json(file_size(options.out)) if options.json else print(f"{options.out}: the adapter for PEFT")
    return 0

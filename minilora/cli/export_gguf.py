"""`minilora export-gguf`: an adapter, or a whole model, as a file that llama.cpp loads."""

import argparse
from pathlib import Path

from minilora.cli.merge import check_for_llama_cpp, merged
from minilora.cli.opening import open_model
from minilora.cli.options import add_adapter, add_choice, add_json, add_model, refuse
from minilora.cli.parser import Parser
from minilora.cli.paths import check_output
from minilora.cli.printing import file_size, print_json

EXAMPLE = "minilora export-gguf --model smollm2 --adapter runs/a --out a.gguf"
DTYPES = ("f16", "q8_0", "f32")


def add_options(p: Parser) -> None:
    """The model, the adapter, and the file."""
    add_model(p, "the decoder")
    add_adapter(p)
    p.add_argument("--merged", action="store_true", help="the whole model instead, with the adapter, if any, merged")
    add_choice(
        p,
        "--dtype",
        DTYPES,
        default="f16",
        help="of the whole model's matrices: float16, 8 bits with a scale for 32 numbers, or float32",
    )
    p.add_argument("--out", metavar="FILE", required=True, help="the file, whose name ends in .gguf")
    add_json(p)


def run(options: argparse.Namespace) -> int:
    """Write the file."""
    from minilora.interop.gguf_adapter import save_gguf_adapter
    from minilora.interop.gguf_save import save_gguf

    if not options.merged:
        refuse(options, ("dtype",), "an adapter's file does not use it; it needs --merged")
        if options.adapter is None:
            raise ValueError("--adapter was not given; it must name the adapter to export, or --merged the whole model")
    if Path(options.out).suffix.lower() != ".gguf":
        raise ValueError(f"--out was {options.out}; its name must end in .gguf")
    check_output("--out", options.out, {"--model": options.model, "--adapter": options.adapter}, example="adapter.gguf")
    opened = open_model(options.model, options.adapter)
    check_for_llama_cpp(opened)
    if options.merged:
        save_gguf(merged(opened.model, options.adapter), options.out, like=opened.source, dtype=options.dtype)
    else:
        save_gguf_adapter(opened.model, options.out)
    what = "the whole model" if options.merged else "the adapter"
    print_json(file_size(options.out)) if options.json else print(f"{options.out}: {what} for llama.cpp")
    return 0

"""`minilora merge`: an adapter becomes part of its model."""

import argparse
import os
from pathlib import Path

import minilora
from minilora.cli.opening import open_model, what_is_held
from minilora.cli.options import add_adapter, add_bits, add_json, add_model
from minilora.cli.parser import Parser
from minilora.cli.paths import check_output, check_output_folder
from minilora.cli.printing import print_json
from minilora.interop.opening import OpenedModel, has_tokenizer
from minilora.methods import (
    HoulsbyConfig,
    LoRAPrefixConfig,
    PrefixConfig,
    PromptTuningConfig,
    TrainableTokensConfig,
    lora_layers,
    merge_tokens,
    method_of,
)
from minilora.models import GPT, Llama
from minilora.models.model import Model

EXAMPLE = "minilora merge --adapter runs/my-adapter --out merged.safetensors"
GGUF = ".gguf"
OF_FOLDER = ("config.json", "model.safetensors")  # what save_hf writes, and what could be in its way


def add_options(p: Parser) -> None:
    """The model, the adapter, and the file."""
    add_model(p)
    add_adapter(p)
    add_bits(p, "; the adapter is then merged into the numbers that the bits stand for")
    p.add_argument(
        "--out",
        metavar="FILE",
        required=True,
        help="the merged model's file; NAME.gguf is one for llama.cpp, and NAME/ a Hugging Face folder",
    )
    add_json(p)


def run(options: argparse.Namespace) -> int:
    """Merge, and write the model."""
    if options.adapter is None:
        raise ValueError("--adapter was not given; it must name the adapter to merge")
    out, reads = Path(options.out), {"--model": options.model, "--adapter": options.adapter}
    is_folder = options.out.endswith(("/", os.sep))
    if is_folder:
        check_output_folder("--out", options.out, reads, OF_FOLDER)
    else:
        example = f"merged.safetensors, or {options.out}/ for a Hugging Face folder"
        check_output("--out", options.out, reads, example=example)
    opened = open_model(options.model, options.adapter, bits=options.bits)
    if out.suffix.lower() == GGUF:
        check_for_llama_cpp(opened)
    model = merged(opened.model, options.adapter)
    if is_folder:
        write_folder(model, opened, out)
        written = list(out.iterdir())
    else:
        write_file(model, opened, out, options.command)
        written = [out]
    if options.json:
        n = sum(p.size for p in model.parameters())
        print_json({"file": options.out, "bytes": sum(file.stat().st_size for file in written), "parameters": n})
    else:
        print(f"{options.out}: the merged model")
    return 0


def merged(model: Model, adapter: str | None) -> Model:
    """The model with its adapter, if there is one, as part of its own weights.

    Raises
    ------
    ValueError
        If that cannot be.
    """
    if isinstance(method_of(model), (HoulsbyConfig, PrefixConfig, PromptTuningConfig, LoRAPrefixConfig)):
        what = "which cannot be merged: Houlsby adapters and prefixes are no part of a W"
        raise ValueError(f"--adapter was {adapter}, {what}; it must be of another method")
    if isinstance(method_of(model), TrainableTokensConfig):
        merge_tokens(model)
    elif lora_layers(model):
        minilora.merge_lora(model)
        minilora.remove_lora(model)
    return model


def write_folder(model: Model, opened: OpenedModel, folder: Path) -> None:
    """Write a model, and its tokenizer if there is one, to a folder that transformers reads."""
    from minilora.interop import save_hf

    if opened.source is not None and Path(opened.source).is_dir():
        save_hf(model, folder, tokenizer_from=opened.source if has_tokenizer(Path(opened.source)) else None)
    else:
        save_hf(model, folder, tokenizer=opened.tokenizer, chat_template=opened.chat_template)


def check_for_llama_cpp(opened: OpenedModel) -> None:
    """Raise a ValueError unless llama.cpp's format can hold the model as minilora writes it."""
    if not isinstance(opened.model, (Llama, GPT)):
        held = what_is_held(opened.name, opened.model)
        raise ValueError(f"{held}; for a .gguf file --model must be a Llama, a Mistral, a Qwen2 or a GPT-2")
    if not opened.source and opened.tokenizer is not None:  # reading it is refused if it is gone
        what = f"{what_is_held(opened.name, opened.model)} that reads bytes"
        raise ValueError(
            f"{what}; for a .gguf file --model must have a tokenizer with merges, which llama.cpp asks for"
        )


def write_file(model: Model, opened: OpenedModel, path: Path, command: str) -> None:
    """Write a model to a file of llama.cpp's or of minilora's, as its name says."""
    if path.suffix.lower() == GGUF:
        from minilora.interop.gguf_save import save_gguf

        save_gguf(model, path, like=opened.source)
    else:
        minilora.save_model(model, path, command=command, **opened.about())

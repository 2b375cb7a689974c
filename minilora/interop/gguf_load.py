"""A language model from a GGUF file: which architecture it has, and whether all of it is there."""

from pathlib import Path
from typing import Any

import numpy

from minilora.interop.gguf_file import GGUFFile
from minilora.interop.gguf_gpt2 import gpt2_config, gpt2_places
from minilora.interop.gguf_kept import keep_blocks as blocks_kept
from minilora.interop.gguf_llama import ROPE_FACTORS, llama_config, llama_places
from minilora.interop.gguf_place import Place
from minilora.limits import one_line_errors, shown
from minilora.models import GPT, GPTConfig, Llama, LlamaConfig
from minilora.models.checks import check_precision
from minilora.models.initial import Uninitialized
from minilora.models.model_file import fill

ARCHITECTURES = ("llama", "qwen2", "gpt2")


@one_line_errors()
def load_gguf(
    path: str | Path, *, dtype: str = "float32", device: str = "cpu", keep_blocks: bool = False
) -> Llama | GPT:
    """Read a Llama (or a Mistral, SmolLM or Qwen2) or a GPT-2 from a GGUF file. Everything in it is trainable.

    Quantised weights become the numbers that they stand for, unless they are kept. The memory needed is the model's and
    that of its largest tensor.

    Parameters
    ----------
    path : str or Path
        A file with weights of any type in `gguf_blocks.BLOCKS`: F32, F16, BF16, Q8_0, Q5_0, Q5_1, Q4_0, Q4_1, Q2_K to
        Q6_K, IQ4_NL or IQ4_XS.
    dtype : {"float32", "float64"}
    device : {"cpu", "gpu", "auto"}
    keep_blocks : bool
        Whether the matrices of the model's transformer blocks stay in the bytes of the file, frozen, and become numbers
        only where they are used: see `minilora.methods.quantize`.

    Returns
    -------
    model : Llama or GPT

    Raises
    ------
    ValueError
        If the file is cut or damaged, holds a model that minilora does not compute, or a tensor is missing, unknown,
        of the wrong shape or of another quantisation; the message names it.
    """
    check_precision(dtype)
    file = GGUFFile(path)
    kind = architecture(file)
    config: LlamaConfig | GPTConfig = gpt2_config(file) if kind == "gpt2" else llama_config(file, kind)
    places = places_of(config)
    _check(file, places)
    model = (GPT if kind == "gpt2" else Llama)(config, Uninitialized(), dtype=dtype, device=device)  # type: ignore[arg-type]
    kept = blocks_kept(model, places, file, device) if keep_blocks else set()
    fill(model, ((place.parameter, place.read(file)) for place in places if place.parameter not in kept), device)
    return model


def architecture(file: GGUFFile) -> str:
    """The architecture of the model in a file: one of ARCHITECTURES."""
    kind = file.get("general.type", str, "model")
    if kind != "model":
        raise ValueError(f"{file.path}: general.type was {shown(kind)}; it must be 'model'")
    found = file.get("general.architecture", str)
    if found not in ARCHITECTURES:
        possible = ", ".join(map(repr, ARCHITECTURES))
        raise ValueError(f"{file.path}: general.architecture was {shown(found)}; it must be one of {possible}")
    return found


def architecture_of(model: Any) -> str:
    """llama.cpp's name for a model's architecture.

    Raises
    ------
    TypeError
        If the model is no Llama and no GPT.
    """
    if isinstance(model, GPT):
        return "gpt2"
    if not isinstance(model, Llama):
        raise TypeError(f"model was a {type(model).__name__}; it must be a Llama or a GPT, for llama.cpp's format")
    return _name_of(model.config)


def places_of(config: LlamaConfig | GPTConfig) -> list[Place]:
    """The Place of every parameter of a model."""
    if isinstance(config, GPTConfig):
        return list(gpt2_places(config))
    return list(llama_places(config, permuted=_name_of(config) == "llama"))


def _name_of(config: LlamaConfig) -> str:
    """ "qwen2" if q, k and v alone have a bias, and "llama" otherwise."""
    return "qwen2" if config.qkv_bias and not config.o_bias else "llama"


def _check(file: GGUFFile, places: list[Place]) -> None:
    """Raise ValueError unless the file has exactly these tensors, with their shapes and types that can be read."""
    for place in places:
        tensor = file.tensors.get(place.tensor)
        if tensor is None:
            raise ValueError(f"{file.path} lacks the tensor {place.tensor}")
        if tensor.shape != place.shape:
            raise ValueError(
                f"{file.path}: {tensor.name} has shape {tensor.shape}; the metadata asks for {place.shape}"
            )
        tensor.check_kind()
    known = {place.tensor for place in places} | {ROPE_FACTORS}
    if architecture(file) == "gpt2" and (head := file.tensors.get("output.weight")) is not None:  # of older converters
        tied = file.tensors["token_embd.weight"]
        if (head.kind, head.shape) != (tied.kind, tied.shape) or not numpy.array_equal(head.data, tied.data):  # type: ignore[arg-type]
            raise ValueError(f"{file.path}: output.weight must be a copy of token_embd.weight, as GPT-2's head is tied")
        known.add("output.weight")
    if unknown := sorted(file.tensors.keys() - known):
        raise ValueError(f"{file.path} holds {shown(unknown[0])}, which the model has no place for")

"""A whole Llama or GPT-2 as a GGUF file, with its tokenizer, for llama.cpp and what uses it (Ollama, LM Studio)."""

from pathlib import Path
from typing import Any

import numpy

from minilora.arrays.backend import to_numpy
from minilora.interop.gguf_blocks import F16, F32, Q8_0
from minilora.interop.gguf_file import STRING, UINT32, GGUFFile
from minilora.interop.gguf_gpt2 import gpt2_metadata
from minilora.interop.gguf_llama import llama_metadata, rope_factors
from minilora.interop.gguf_load import architecture_of, places_of
from minilora.interop.gguf_place import Place
from minilora.interop.gguf_vocabulary import folder_vocabulary, padded
from minilora.interop.gguf_write import DTYPES, Tensor, kind_for, write_gguf
from minilora.limits import one_line_errors
from minilora.methods.selection import plain
from minilora.methods.switching import lora_layers
from minilora.models import GPT, GPTConfig, Llama
from minilora.parameter import Parameter

FILE_TYPES = {F32: 0, F16: 1, Q8_0: 7}  # general.file_type
COPIED = ("tokenizer.", "general.license", "general.languages")  # from another GGUF: how its fields begin

Fields = list[tuple[str, Any, int, int | None]]


@one_line_errors()
def save_gguf(model: Llama | GPT, path: str | Path, *, like: str | Path | None = None, dtype: str = "f16") -> None:
    """Write a Llama or a GPT-2 as a GGUF file: a plain one, or one with a merged adapter.

    Parameters
    ----------
    model : Llama or GPT
        With merge_lora(model), the file has W + delta_W.
    path : str or Path
    like : str or Path, optional
        Where the tokenizer and the chat template come from: the GGUF file or the Hugging Face folder that the model was
        read from. Without it, minilora can read the file, but most of llama.cpp's programs cannot use it.
    dtype : {"f16", "q8_0", "f32"}
        How matrices are stored; norms and biases are float32.

    Raises
    ------
    ValueError
        If the model has an adapter that is not merged, the tokenizer is not the model's or has no name in llama.cpp, or
        a weight cannot be stored so.
    TypeError
        If the model is no Llama and no GPT.
    RuntimeError
        If the package `gguf` is not installed.
    """
    config = model.config
    arch = architecture_of(model)
    if dtype not in DTYPES:
        raise ValueError(f"dtype was {dtype!r}; it must be one of {', '.join(DTYPES)}")
    places = places_of(config)
    parameters = _plain_parameters(model, places)
    tokenizer: Fields = [("tokenizer.ggml.model", "none", STRING, None)] if like is None else _vocabulary(Path(like))
    fields = [
        ("general.type", "model", STRING, None),
        ("general.file_type", FILE_TYPES[DTYPES[dtype]], UINT32, None),
        ("general.quantization_version", 2, UINT32, None),
        *(gpt2_metadata(config) if isinstance(config, GPTConfig) else llama_metadata(config, arch)),
        *padded(tokenizer, config.vocab_size, like),
    ]
    factors = [] if isinstance(config, GPTConfig) else list(rope_factors(config))
    write_gguf(path, arch, fields, [*factors, *_tensors(places, parameters, dtype)])


def _plain_parameters(model: Llama | GPT, places: list[Place]) -> dict[str, Parameter]:
    """The parameters that make up a plain model, by path: with a merged adapter, W + delta_W in W's place."""
    merged = {id(p) for layer in lora_layers(model).values() if layer.merged for p in layer.factors.parameters()}
    found = {plain(path): p for path, p in model.named_parameters() if id(p) not in merged}
    if added := sorted(found.keys() - {place.parameter for place in places}):
        raise ValueError(
            f"the model holds {added[0]}, which a plain model does not have; an adapter must be merged (merge_lora) "
            "or switched off (set_adapter(model, None))"
        )
    return found


def _tensors(places: list[Place], parameters: dict[str, Parameter], dtype: str) -> list[Tensor]:
    """The tensors of the file; where several parameters are one tensor, they stand one below the other in it."""
    held: dict[str, list[Place]] = {}
    for place in places:
        held.setdefault(place.tensor, []).append(place)

    def tensor(parts: list[Place]) -> Tensor:
        def values() -> numpy.ndarray:
            return numpy.concatenate([part.stored(to_numpy(parameters[part.parameter].data)) for part in parts])

        return Tensor(parts[0].tensor, parts[0].shape, kind_for(parts[0].shape, dtype), values)

    return [tensor(parts) for parts in held.values()]


def _vocabulary(like: Path) -> Fields:
    if like.is_dir():
        return folder_vocabulary(like)
    file = GGUFFile(like)
    names = [name for name in file.fields if name.startswith(COPIED)]
    return [(name, file.fields[name], *file.types[name]) for name in names]

"""A whole Llama as a GGUF file, with its tokenizer, for llama.cpp and what is built on it (Ollama, LM Studio)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy

from minilora.arrays.backend import to_numpy
from minilora.interop.gguf_blocks import F16, F32, Q8_0
from minilora.interop.gguf_file import FLOAT32, STRING, UINT32, GGUFFile
from minilora.interop.gguf_llama import ROPE_FACTORS, Place, architecture_of, llama_places, to_neighbours
from minilora.interop.gguf_vocabulary import folder_vocabulary, padded
from minilora.interop.gguf_write import DTYPES, Tensor, kind_for, write_gguf
from minilora.limits import one_line_errors
from minilora.methods.selection import plain
from minilora.methods.switching import lora_layers
from minilora.models.llama import Llama, LlamaConfig
from minilora.ops import rope_frequencies
from minilora.parameter import Parameter

FILE_TYPES = {F32: 0, F16: 1, Q8_0: 7}  # general.file_type
COPIED = ("tokenizer.", "general.license", "general.languages")  # from another GGUF: how its fields begin

Fields = list[tuple[str, Any, int, int | None]]


@one_line_errors()
def save_gguf(model: Llama, path: str | Path, *, like: str | Path | None = None, dtype: str = "f16") -> None:
    """Write a Llama as a GGUF file: a plain one, or one with a merged adapter.

    Parameters
    ----------
    model : Llama
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
        If the model is no Llama.
    RuntimeError
        If the package `gguf` is not installed.
    """
    arch = architecture_of(model)
    if dtype not in DTYPES:
        raise ValueError(f"dtype was {dtype!r}; it must be one of {', '.join(DTYPES)}")
    places = list(llama_places(model.config, permuted=arch == "llama"))
    parameters = _plain_parameters(model, places)
    tokenizer: Fields = [("tokenizer.ggml.model", "none", STRING, None)] if like is None else _vocabulary(Path(like))
    fields = [
        ("general.type", "model", STRING, None),
        ("general.file_type", FILE_TYPES[DTYPES[dtype]], UINT32, None),
        ("general.quantization_version", 2, UINT32, None),
        *_metadata(model.config, arch),
        *padded(tokenizer, model.config.vocab_size, like),
    ]
    tensors = [_tensor(place, parameters[place.parameter], dtype) for place in places]
    write_gguf(path, arch, fields, [*_rope_factors(model.config), *tensors])


def _plain_parameters(model: Llama, places: list[Place]) -> dict[str, Parameter]:
    """The parameters that make up a plain Llama, by path: with a merged adapter, W + delta_W in W's place."""
    merged = {id(p) for layer in lora_layers(model).values() if layer.merged for p in layer.factors.parameters()}
    found = {plain(path): p for path, p in model.named_parameters() if id(p) not in merged}
    if added := sorted(found.keys() - {place.parameter for place in places}):
        raise ValueError(
            f"the model holds {added[0]}, which a plain Llama does not have; an adapter must be merged (merge_lora) "
            "or switched off (set_adapter(model, None))"
        )
    return found


def _rope_factors(c: LlamaConfig) -> Iterator[Tensor]:
    """By how much llama.cpp must divide each of RoPE's frequencies: nothing is yielded if by 1."""
    if c.rope_scaling is not None:
        scaled = rope_frequencies(c.head_size, c.rope_theta, c.rope_scaling)
        factors = rope_frequencies(c.head_size, c.rope_theta) / scaled  # (K/2,)
        yield Tensor(ROPE_FACTORS, factors.shape, F32, lambda: factors)


def _tensor(place: Place, parameter: Parameter, dtype: str) -> Tensor:
    def values() -> numpy.ndarray:
        W = to_numpy(parameter.data)
        return to_neighbours(W, place.n_heads) if place.n_heads else W

    return Tensor(place.tensor, place.shape, kind_for(place.shape, dtype), values)


def _metadata(c: LlamaConfig, arch: str) -> Fields:
    integers = {
        "block_count": c.n_layer,
        "context_length": c.n_positions,
        "embedding_length": c.d_model,
        "feed_forward_length": c.d_mlp,
        "attention.head_count": c.n_head,
        "attention.head_count_kv": c.n_kv_head,
        "attention.key_length": c.head_size,
        "attention.value_length": c.head_size,
        "rope.dimension_count": c.head_size,
        "vocab_size": c.vocab_size,
    }
    floats = {"attention.layer_norm_rms_epsilon": c.rms_norm_eps, "rope.freq_base": c.rope_theta}
    return [(f"{arch}.{name}", value, UINT32, None) for name, value in integers.items()] + [
        (f"{arch}.{name}", value, FLOAT32, None) for name, value in floats.items()
    ]


def _vocabulary(like: Path) -> Fields:
    if like.is_dir():
        return folder_vocabulary(like)
    file = GGUFFile(like)
    names = [name for name in file.fields if name.startswith(COPIED)]
    return [(name, file.fields[name], *file.types[name]) for name in names]

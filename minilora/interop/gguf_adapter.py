"""A LoRA adapter for llama.cpp: a GGUF file of A and B, which is loaded beside a base of the same architecture.

llama.cpp computes W x + (alpha / r) B (A x), where r is read off A's shape and alpha is one number of the file. So
alpha = scale r, which also holds rsLoRA's scale, alpha / sqrt(r); and where scale r differs from layer to layer, the
rest goes into B:

    alpha = scale_1 r_1 of the first layer,     B_i <- B_i (scale_i r_i / alpha)

B of W_q and W_k has its rows in llama.cpp's order, as W has (`gguf_llama.py`).
"""

from pathlib import Path
from typing import Any

import numpy

from minilora.arrays.backend import to_numpy
from minilora.interop.gguf_blocks import F32
from minilora.interop.gguf_file import FLOAT32, STRING
from minilora.interop.gguf_llama import Place, architecture_of, llama_places, to_neighbours
from minilora.interop.gguf_write import Tensor, write_gguf
from minilora.methods.lora import DoRAFactors
from minilora.methods.selection import plain
from minilora.methods.state import adapters_of
from minilora.methods.switching import adapter_names, lora_layers
from minilora.models.llama import Llama


def save_gguf_adapter(model: Llama, path: str | Path, *, name: str | None = None) -> None:
    """Write one LoRA adapter as a GGUF file, for ``llama-cli --model BASE.gguf --lora FILE``.

    A and B are written in float32. The base must be the model that the adapter was trained on, as GGUF.

    Parameters
    ----------
    model : Llama
    path : str or Path
    name : str, optional
        The active adapter, if not given.

    Raises
    ------
    ValueError
        If there is no such adapter, or llama.cpp's format cannot hold what was trained.
    TypeError
        If the model is no Llama.
    RuntimeError
        If the package `gguf` is not installed.
    """
    arch = architecture_of(model)
    which = name if name is not None else adapters_of(model).active
    layers = {plain(layer_path): layer for layer_path, layer in lora_layers(model).items()}
    held = {layer_path: layer.adapters[which] for layer_path, layer in layers.items() if which in layer.adapters}
    if which is None or not held:
        raise ValueError(f"name was {name!r}; the model's adapters are {adapter_names(model)}, and it must be a LoRA")
    if own := list(adapters_of(model).named[which].parts):
        raise ValueError(
            f"the adapter {which!r} also trains {own[0]}; llama.cpp's adapters must have A and B only: merge it, and "
            "write the whole model with save_gguf"
        )
    places = {place.parameter: place for place in llama_places(model.config, permuted=arch == "llama")}
    factors = {layer_path: _low_rank(layer_path, f, places) for layer_path, f in held.items()}
    alpha = next(scale * len(A) for _, A, scale in factors.values())
    tensors = []
    for layer_path, (B, A, scale) in factors.items():
        place = places[f"{layer_path}.W"]
        tensors += _pair(place, B, A, scale * len(A) / alpha)
    fields = [
        ("general.type", "adapter", STRING, None),
        ("adapter.type", "lora", STRING, None),
        ("adapter.lora.alpha", alpha, FLOAT32, None),
    ]
    write_gguf(path, arch, fields, tensors)


def _low_rank(path: str, factors: Any, places: dict[str, Place]) -> tuple[numpy.ndarray, numpy.ndarray, float]:
    """B, A and scale of one layer, on the host."""
    if f"{path}.W" not in places:
        raise ValueError(f"{path} is adapted; llama.cpp's format has a name for the layers of a Llama only")
    if isinstance(factors, DoRAFactors):
        raise ValueError(
            "the adapter is DoRA's, which rescales the rows of W; llama.cpp's adapters must be LoRA's: merge it, and "
            "write the whole model with save_gguf"
        )
    B, A, scale = factors.low_rank()
    return to_numpy(B), to_numpy(A), scale


def _pair(place: Place, B: numpy.ndarray, A: numpy.ndarray, ratio: float) -> list[Tensor]:
    """The two tensors of one layer; B, (O, r), is multiplied by `ratio`."""
    B = to_neighbours(B, place.n_heads) if place.n_heads else B
    B = B if ratio == 1.0 else B * ratio
    return [
        Tensor(f"{place.tensor}.lora_a", A.shape, F32, lambda: A),
        Tensor(f"{place.tensor}.lora_b", B.shape, F32, lambda: B),
    ]

"""A LoRA adapter for llama.cpp: a GGUF file of A and B, which is loaded beside a base of the same architecture.

llama.cpp computes W x + (alpha / r) B (A x), where r is read off A's shape and alpha is one number of the file. So
alpha = scale r, which also holds rsLoRA's scale, alpha / sqrt(r); and where scale r differs from layer to layer, the
rest goes into B:

    alpha = scale_1 r_1 of the first layer,     B_i <- B_i (scale_i r_i / alpha)

B of W_q and W_k has its rows in llama.cpp's order, as W has (`gguf_llama.py`). GPT-2's W_q, W_k and W_v are one matrix
there, and their three LoRAs one with B in blocks (`fused.py`), of three times the rank. `gguf_adapter_load.py` reads
such a file.
"""

from pathlib import Path
from typing import Any

import numpy

from minilora.arrays.backend import to_numpy
from minilora.interop.fused import Factors, join
from minilora.interop.gguf_adapter_load import ALPHA, DOWN, UP
from minilora.interop.gguf_blocks import F32
from minilora.interop.gguf_file import FLOAT32, STRING
from minilora.interop.gguf_load import architecture_of, places_of
from minilora.interop.gguf_place import Place
from minilora.interop.gguf_write import Tensor, write_gguf
from minilora.methods.lora.embedding import LoRAEmbedding
from minilora.methods.selection import plain
from minilora.methods.state import adapters_of
from minilora.methods.switching import adapter_names, lora_layers
from minilora.models import GPT, Llama


def save_gguf_adapter(model: Llama | GPT, path: str | Path, *, name: str | None = None) -> None:
    """Write one LoRA adapter as a GGUF file, for ``llama-cli --model BASE.gguf --lora FILE``.

    A and B are written in float32. The base must be the model that the adapter was trained on, as GGUF.

    Parameters
    ----------
    model : Llama or GPT
    path : str or Path
    name : str, optional
        The active adapter, if not given.

    Raises
    ------
    ValueError
        If there is no such adapter, or llama.cpp's format cannot hold what was trained.
    TypeError
        If the model is no Llama and no GPT.
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
    if embeddings := [p for p, layer in layers.items() if p in held and isinstance(layer, LoRAEmbedding)]:
        raise ValueError(f"{embeddings[0]} is adapted, an embedding; llama.cpp's adapters must be of linear layers")
    places = [place for place in places_of(model.config) if place.parameter.endswith(".W")]
    if unknown := sorted(held.keys() - {place.parameter.removesuffix(".W") for place in places}):
        raise ValueError(f"{unknown[0]} is adapted; llama.cpp's format has a name for the layers of a plain model only")
    factors: dict[str, Factors] = {}
    for tensor in dict.fromkeys(place.tensor for place in places):
        parts = [place for place in places if place.tensor == tensor]
        lows = [_low_rank(place, held.get(place.parameter.removesuffix(".W"))) for place in parts]
        if any(low is not None for low in lows):
            factors[tensor] = join(lows, [parts[0].shape[0] // len(parts)] * len(parts), rslora=False)
    alpha = next((f.alpha for f in factors.values() if f.alpha), 1.0)
    tensors = []
    for tensor, f in factors.items():
        B = f.B if f.alpha == alpha else f.B * (f.alpha / alpha)
        tensors += [_tensor(tensor + DOWN, f.A), _tensor(tensor + UP, B)]
    fields = [
        ("general.type", "adapter", STRING, None),
        ("adapter.type", "lora", STRING, None),
        (ALPHA, alpha, FLOAT32, None),
    ]
    write_gguf(path, arch, fields, tensors)


def _low_rank(place: Place, factors: Any) -> Factors | None:
    """A and B of one layer, on the host, with B's rows as the file has them; None if it is not adapted."""
    if factors is None:
        return None
    if factors.low_rank() is None:
        raise ValueError(
            "the adapter's delta_W is no product of a B and an A, such as DoRA's, which rescales the rows of W; "
            "llama.cpp's adapters must be LoRA's: merge it, and write the whole model with save_gguf"
        )
    B, A, scale = factors.low_rank()
    return Factors(to_numpy(A), place.stored(to_numpy(B)), scale * len(A))


def _tensor(name: str, values: numpy.ndarray) -> Tensor:
    return Tensor(name, values.shape, F32, lambda: values)

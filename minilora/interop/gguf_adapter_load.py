"""A LoRA adapter in llama.cpp's format, from `save_gguf_adapter`, convert_lora_to_gguf.py or another program.

The file holds, for each matrix NAME that it changes, NAME.lora_a of shape (r, I) and NAME.lora_b of shape (O, r), and
one alpha for all. What llama.cpp computes of it is

    y = W x + scale B (A x)      scale = alpha / r, with r from A's shape; and scale = 1 if alpha is 0 or absent

so that matrices of several ranks have several scales. (convert_lora_to_gguf.py writes PEFT's lora_alpha even of rsLoRA:
llama.cpp then computes another adapter than PEFT, and so does this.)

B of W_q and W_k has its rows in llama.cpp's order in a Llama (`gguf_llama.py`). GPT-2's W_q, W_k and W_v are one
matrix, attn_qkv, and so is their LoRA: it is split exactly, for with the rows of B for q, k and v, B A = (B_q A; B_k A;
B_v A) (`fused.py`). The three begin with the same A, and train apart.

Nothing in the file says to which weights it belongs: only architecture, names and shapes can be compared.
"""

import math
from pathlib import Path

from minilora.interop.foreign_lora import add_lora, config_of
from minilora.interop.fused import Factors, split
from minilora.interop.gguf_file import GGUFFile, GGUFTensor
from minilora.interop.gguf_load import architecture_of, places_of
from minilora.interop.gguf_place import Place
from minilora.limits import one_line_errors, shown
from minilora.methods.lora.apply import linear_layers
from minilora.methods.switching import base_in_place
from minilora.models import GPT, Llama

DOWN, UP = ".lora_a", ".lora_b"  # the ends of the names of A and B
EMBEDDINGS = ("token_embd.weight", "position_embd.weight")
ALPHA = "adapter.lora.alpha"
ONLY_AFTER = "adapter.alora.invocation_tokens"  # with it, the adapter is active only behind these tokens


@one_line_errors()
def load_gguf_adapter(model: Llama | GPT, path: str | Path, *, name: str = "default") -> None:
    """Add a LoRA adapter from a GGUF file to a model, make it the active one, and freeze everything else.

    Parameters
    ----------
    model : Llama or GPT
        The base that the adapter was trained on; of its weights, the file knows the shapes only.
    path : str or Path
        A file for llama.cpp's option --lora, with A and B of any type that `load_gguf` reads.
    name : str

    Raises
    ------
    ValueError
        If the file is no adapter, is of another architecture, does not fit the model, holds something that minilora
        does not compute, or is damaged. The message names file and tensor; the model is then unchanged.
    TypeError
        If the model is no Llama and no GPT.
    """
    expected, file = architecture_of(model), GGUFFile(path)
    fused = gguf_factors(file)
    if (found := file.get("general.architecture", str)) != expected:
        raise ValueError(f"{path}: general.architecture was {shown(found)}; for this model it must be {expected!r}")
    with base_in_place(model):
        linear = list(linear_layers(model))
    places: dict[str, list[Place]] = {}
    for place in places_of(model.config):
        if place.parameter.removesuffix(".W") in linear:
            places.setdefault(place.tensor, []).append(place)
    factors: dict[str, Factors] = {}
    for tensor, both in fused.items():
        if tensor not in places:
            raise ValueError(f"{path} holds {shown(tensor + DOWN)}, which the model has no place for")
        (O, r), (_, I) = both.B.shape, both.A.shape
        if (O, I) != places[tensor][0].shape:
            made = f"A of shape {(r, I)} and B of shape {(O, r)} for {tensor}"
            raise ValueError(f"{path} has {made}, which is {places[tensor][0].shape} in the model")
        for place, part in zip(places[tensor], split(both, len(places[tensor]), rslora=False), strict=True):
            if part is not None:
                factors[place.parameter.removesuffix(".W")] = part._replace(B=place.ours(part.B))
    try:
        add_lora(model, name, config_of(factors, linear), factors, {})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def gguf_factors(file: GGUFFile) -> dict[str, Factors]:
    """A, B and alpha of each matrix that an adapter's file changes, by the matrix's name there.

    Raises
    ------
    ValueError
        If the file is no LoRA adapter, or A and B do not fit each other.
    """
    for field, must_be in (("general.type", "adapter"), ("adapter.type", "lora")):
        if (found := file.get(field, str)) != must_be:
            raise ValueError(f"{file.path}: {field} was {shown(found)}; it must be {must_be!r}")
    if ONLY_AFTER in file.fields:
        raise ValueError(f"{file.path} has {ONLY_AFTER}; minilora's adapters are active for every token")
    alpha = file.get(ALPHA, float, 0.0)
    if not math.isfinite(alpha):
        raise ValueError(f"{file.path}: {ALPHA} was {alpha}; it must be a finite number")
    for name in file.tensors:
        if not name.endswith((DOWN, UP)):
            raise ValueError(f"{file.path} holds {shown(name)}; an adapter's tensors must end in {DOWN} or {UP}")
        if name.startswith(EMBEDDINGS):
            raise ValueError(f"{file.path} holds {shown(name)}; minilora adapts no embedding")
    matrices = dict.fromkeys(name.removesuffix(DOWN).removesuffix(UP) for name in file.tensors)
    if not matrices:
        raise ValueError(f"{file.path} holds no tensors; it must hold A and B of a matrix")
    return {matrix: _pair(file, matrix, alpha) for matrix in matrices}


def _pair(file: GGUFFile, matrix: str, alpha: float) -> Factors:
    """A, B and alpha of one matrix."""

    def tensor(end: str) -> GGUFTensor:
        if matrix + end not in file.tensors:
            raise ValueError(f"{file.path} lacks the tensor {shown(matrix + end)}")
        return file.tensors[matrix + end]

    A, B = tensor(DOWN), tensor(UP)
    if len(A.shape) != 2 or len(B.shape) != 2 or A.shape[0] != B.shape[1] or A.shape[0] < 1:
        shapes = f"{A.name} has shape {A.shape} and {B.name} {B.shape}"
        raise ValueError(f"{file.path}: {shapes}; they must be (r, I) and (O, r)")
    return Factors(A.read(), B.read(), alpha or A.shape[0])

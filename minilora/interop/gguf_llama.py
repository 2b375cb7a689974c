"""A Llama from a GGUF file, and where each of its parameters is there.

llama.cpp rotates neighbours, the numbers 2 i and 2 i + 1 of a head, where Hugging Face and minilora rotate the number
i with the number i + K/2. For its architecture "llama" (Llama, Mistral, SmolLM), the rows of W_q and W_k, and their
biases, are therefore stored in another order: within each head, row 2 i is our row i, and row 2 i + 1 our row i + K/2.
Its architecture "qwen2" rotates halves, and stores the rows as they are. A Llama whose rows were forgotten there still
writes sensible text for a while: the tests compare numbers.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy

from minilora.interop.gguf_file import GGUFFile
from minilora.limits import one_line_errors, shown
from minilora.models import Llama, LlamaConfig
from minilora.models.checks import check_precision
from minilora.models.initial import Uninitialized
from minilora.models.model_file import fill
from minilora.ops import Llama3Scaling, rope_frequencies

ARCHITECTURES = ("llama", "qwen2")
ROPE_FACTORS = "rope_freqs.weight"  # by how much each frequency is divided; only Llama 3's are known
LLAMA3 = (1.0, 4.0, 8192)  # low, high and original context: the same in Llama 3.1, 3.2 and 3.3
NOT_COMPUTED = {  # fields of the metadata that change the computation, and the values with which they do not
    "expert_count": (0,),
    "rope.scaling.type": ("none",),
    "rope.scale_linear": (1.0,),
    "rope.scaling.factor": (1.0,),
    "attention.clamp_kqv": (0.0,),
    "logit_scale": (1.0,),
    "residual_scale": (1.0,),
    "embedding_scale": (1.0,),
    "attention.scale": (),
    "attention.causal": (True,),
}


class Place(NamedTuple):
    """Where a parameter is in a GGUF file."""

    parameter: str
    tensor: str
    shape: tuple[int, ...]
    n_heads: int = 0  # if the file has the rows of these heads in llama.cpp's order


@one_line_errors()
def load_gguf(path: str | Path, *, dtype: str = "float32", device: str = "cpu") -> Llama:
    """Read a Llama (or a Mistral, SmolLM or Qwen2) from a GGUF file. Everything in it is trainable.

    Quantised weights become the numbers that they stand for. The memory needed is the model's and that of its largest
    tensor.

    Parameters
    ----------
    path : str or Path
        A file with weights of F32, F16, BF16, Q8_0, Q4_0 or Q4_1.
    dtype : {"float32", "float64"}
    device : {"cpu", "gpu", "auto"}

    Returns
    -------
    model : Llama

    Raises
    ------
    ValueError
        If the file is cut or damaged, holds a model that minilora does not compute, or a tensor is missing, unknown,
        of the wrong shape or of another quantisation; the message names it.
    """
    check_precision(dtype)
    file = GGUFFile(path)
    config = llama_config(file)
    places = list(llama_places(config, permuted=architecture(file) == "llama"))
    _check(file, places)
    model = Llama(config, Uninitialized(), dtype=dtype, device=device)
    fill(model, ((place.parameter, read(file, place)) for place in places), device)
    return model


def architecture(file: GGUFFile) -> str:
    """The architecture of the model in a file: one of ARCHITECTURES."""
    kind = file.get("general.type", str, "model")
    if kind != "model":
        raise ValueError(f"{file.path}: general.type was {shown(kind)}; it must be 'model'")
    found = file.get("general.architecture", str)
    if found not in ARCHITECTURES:
        raise ValueError(f"{file.path}: general.architecture was {shown(found)}; it must be 'llama' or 'qwen2'")
    return found


def architecture_of(model: Llama) -> str:
    """llama.cpp's name for a model's architecture: "qwen2" if q, k and v alone have a bias, and "llama" otherwise.

    Raises
    ------
    TypeError
        If the model is no Llama.
    """
    if not isinstance(model, Llama):
        raise TypeError(f"model was a {type(model).__name__}; it must be a Llama, for llama.cpp's format")
    return "qwen2" if model.config.qkv_bias and not model.config.o_bias else "llama"


def llama_config(file: GGUFFile) -> LlamaConfig:
    """The configuration of the Llama in a file, from its metadata."""
    start = architecture(file)

    def get(name: str, kind: type, default: Any = None) -> Any:
        return file.get(f"{start}.{name}", kind, default)

    for name, values in NOT_COMPUTED.items():
        if (value := file.fields.get(f"{start}.{name}", None)) is not None and value not in values:
            possible = " or ".join([*map(repr, values), "absent"])
            raise ValueError(f"{file.path}: {start}.{name} was {shown(value)}; it must be {possible}")
    n_layer, C, H = get("block_count", int), get("embedding_length", int), get("attention.head_count", int)
    K = get("attention.key_length", int, C // max(H, 1))
    theta, n_positions = get("rope.freq_base", float, 10000.0), get("context_length", int)
    for name, must_be in (("attention.value_length", K), ("rope.dimension_count", K)):
        if (value := get(name, int, must_be)) != must_be:
            raise ValueError(f"{file.path}: {start}.{name} was {value}; it must be the head size, {must_be}")
    window = get("attention.sliding_window", int, 0)
    if 0 < window < n_positions:
        raise ValueError(
            f"{file.path}: {start}.attention.sliding_window was {window}; minilora's attention sees all of the "
            f"context, so it must be at least context_length = {n_positions}"
        )
    if n_layer > len(file.tensors):
        raise ValueError(f"{file.path}: block_count was {n_layer}, and the file has {len(file.tensors)} tensors in all")
    embedding = file.tensors.get("token_embd.weight")
    if embedding is None:
        raise ValueError(f"{file.path} lacks the tensor token_embd.weight")
    try:
        return LlamaConfig(
            vocab_size=embedding.shape[0],
            n_layer=n_layer,
            d_model=C,
            n_head=H,
            n_kv_head=get("attention.head_count_kv", int, H),
            head_size=K,
            d_mlp=get("feed_forward_length", int),
            n_positions=n_positions,
            rope_theta=theta,
            rope_scaling=_scaling(file, K, theta),
            rms_norm_eps=get("attention.layer_norm_rms_epsilon", float),
            tied_head="output.weight" not in file.tensors,
            qkv_bias="blk.0.attn_q.bias" in file.tensors,
            o_bias="blk.0.attn_output.bias" in file.tensors,
        )
    except ValueError as error:
        raise ValueError(f"{file.path}: {error}") from None


def llama_places(config: LlamaConfig, *, permuted: bool) -> Iterator[Place]:
    """Yield the Place of every parameter of a Llama.

    Parameters
    ----------
    config : LlamaConfig
    permuted : bool
        Whether the rows of W_q and W_k are in llama.cpp's order: in its architecture "llama", not in "qwen2".
    """
    C, F, V = config.d_model, config.d_mlp, config.vocab_size
    H, G, K = config.n_head, config.n_kv_head, config.head_size
    yield Place("wte.W", "token_embd.weight", (V, C))
    for i in range(config.n_layer):
        block, blk = f"blocks.{i}", f"blk.{i}"
        yield Place(f"{block}.rms_1.gain", f"{blk}.attn_norm.weight", (C,))
        for letter, n, ordered in (("q", H, permuted), ("k", G, permuted), ("v", G, False)):
            path, name, heads = f"{block}.attn.{letter}_proj", f"{blk}.attn_{letter}", n if ordered else 0
            yield Place(f"{path}.W", f"{name}.weight", (n * K, C), heads)
            if config.qkv_bias:
                yield Place(f"{path}.bias", f"{name}.bias", (n * K,), heads)
        yield Place(f"{block}.attn.o_proj.W", f"{blk}.attn_output.weight", (C, H * K))
        if config.o_bias:
            yield Place(f"{block}.attn.o_proj.bias", f"{blk}.attn_output.bias", (C,))
        yield Place(f"{block}.rms_2.gain", f"{blk}.ffn_norm.weight", (C,))
        yield Place(f"{block}.mlp.gate_proj.W", f"{blk}.ffn_gate.weight", (F, C))
        yield Place(f"{block}.mlp.up_proj.W", f"{blk}.ffn_up.weight", (F, C))
        yield Place(f"{block}.mlp.down_proj.W", f"{blk}.ffn_down.weight", (C, F))
    yield Place("rms_f.gain", "output_norm.weight", (C,))
    if not config.tied_head:
        yield Place("lm_head.W", "output.weight", (V, C))


def to_neighbours(W: numpy.ndarray, n: int) -> numpy.ndarray:
    """Rows of n heads in llama.cpp's order: within a head, i, i + K/2 become 2 i, 2 i + 1. (O, ...) -> (O, ...)"""
    return W.reshape(n, 2, -1, *W.shape[1:]).swapaxes(1, 2).reshape(W.shape)


def to_halves(W: numpy.ndarray, n: int) -> numpy.ndarray:
    """Rows of n heads in our order again: the inverse of `to_neighbours`. (O, ...) -> (O, ...)"""
    return W.reshape(n, -1, 2, *W.shape[1:]).swapaxes(1, 2).reshape(W.shape)


def read(file: GGUFFile, place: Place) -> numpy.ndarray:
    """The values of a parameter, float32, in our order."""
    values = file.tensors[place.tensor].read()
    return to_halves(values, place.n_heads) if place.n_heads else values


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
    if unknown := sorted(file.tensors.keys() - {place.tensor for place in places} - {ROPE_FACTORS}):
        raise ValueError(f"{file.path} holds {shown(unknown[0])}, which the model has no place for")


def _scaling(file: GGUFFile, K: int, theta: float) -> Llama3Scaling | None:
    """Llama 3's scaling of RoPE, from what the file has of it: a factor by which each frequency is divided.

    The last factor is that of the slowest frequencies. The others follow from it and from three more numbers, which the
    file does not have; they are the same in all of Llama 3's models, and it is checked that they explain the factors.
    """
    tensor = file.tensors.get(ROPE_FACTORS)
    if tensor is None:
        return None
    if tensor.shape != (K // 2,):
        raise ValueError(f"{file.path}: {ROPE_FACTORS} has shape {tensor.shape}; it must be {(K // 2,)}")
    factors = tensor.read().astype("float64")
    scaling = None
    if numpy.isfinite(factors).all() and factors[-1] > 0:
        low, high, original = LLAMA3
        scaling = Llama3Scaling(float(factors[-1]), low, high, original)
        expected = rope_frequencies(K, theta) / rope_frequencies(K, theta, scaling)
        if numpy.allclose(factors, expected, rtol=1e-5, atol=0):
            return scaling
    raise ValueError(f"{file.path}: {ROPE_FACTORS} are not those of Llama 3, the only ones that minilora computes")

"""A Llama in a GGUF file: where each of its parameters is, and its configuration as metadata, both ways.

llama.cpp rotates neighbours, the numbers 2 i and 2 i + 1 of a head, where Hugging Face and minilora rotate the number
i with the number i + K/2. For its architecture "llama" (Llama, Mistral, SmolLM), the rows of W_q and W_k, and their
biases, are therefore stored in another order: within each head, row 2 i is our row i, and row 2 i + 1 our row i + K/2.
Its architecture "qwen2" rotates halves, and stores the rows as they are. A Llama whose rows were forgotten there still
writes sensible text for a while: the tests compare numbers.
"""

from collections.abc import Iterator
from typing import Any

import numpy

from minilora.interop.gguf_blocks import F32
from minilora.interop.gguf_file import FLOAT32, UINT32, GGUFFile
from minilora.interop.gguf_place import Place, vocabulary_size
from minilora.interop.gguf_write import Tensor
from minilora.limits import shown
from minilora.models import LlamaConfig
from minilora.ops import Llama3Scaling, rope_frequencies

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


def llama_config(file: GGUFFile, start: str) -> LlamaConfig:
    """The configuration of the Llama in a file, from its metadata; `start` is the architecture, "llama" or "qwen2"."""

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
    V = vocabulary_size(file, n_layer)
    try:
        return LlamaConfig(
            vocab_size=V,
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


def llama_metadata(c: LlamaConfig, arch: str) -> list[tuple[str, Any, int, int | None]]:
    """The configuration of a Llama, as fields of a file's metadata."""
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


def rope_factors(c: LlamaConfig) -> Iterator[Tensor]:
    """By how much llama.cpp must divide each of RoPE's frequencies: nothing is yielded if by 1."""
    if c.rope_scaling is not None:
        scaled = rope_frequencies(c.head_size, c.rope_theta, c.rope_scaling)
        factors = rope_frequencies(c.head_size, c.rope_theta) / scaled  # (K/2,)
        yield Tensor(ROPE_FACTORS, factors.shape, F32, lambda: factors)

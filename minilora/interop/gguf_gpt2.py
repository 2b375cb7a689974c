"""A GPT-2 in a GGUF file: where each of its parameters is, and its configuration as metadata, both ways.

W_q, W_k and W_v are one matrix there, attn_qkv, as in Hugging Face's folders, but stored (out, in) as everywhere in
GGUF: rows 0 to C are W_q, then come W_k and W_v. The head is tied to the token embedding if output.weight is absent.
llama.cpp's GELU is the one with tanh, GPT-2's own.
"""

from collections.abc import Iterator
from typing import Any

from minilora.interop.gguf_file import FLOAT32, UINT32, GGUFFile
from minilora.interop.gguf_place import Place, vocabulary_size
from minilora.models import GPTConfig


def gpt2_config(file: GGUFFile) -> GPTConfig:
    """The configuration of the GPT-2 in a file, from its metadata."""

    def get(name: str, kind: type) -> Any:
        return file.get(f"gpt2.{name}", kind)

    n_layer = get("block_count", int)
    V = vocabulary_size(file, n_layer)
    epsilon = get("attention.layer_norm_epsilon", float)
    sizes = {
        "n_positions": get("context_length", int),
        "d_model": get("embedding_length", int),
        "n_head": get("attention.head_count", int),
        "d_mlp": get("feed_forward_length", int),
    }
    try:
        return GPTConfig(vocab_size=V, n_layer=n_layer, layer_norm_eps=epsilon, **sizes)
    except ValueError as error:
        raise ValueError(f"{file.path}: {error}") from None


def gpt2_places(config: GPTConfig) -> Iterator[Place]:
    """Yield the Place of every parameter of a GPT."""
    C, F = config.d_model, config.d_mlp

    def linear(path: str, name: str, I: int, O: int) -> Iterator[Place]:
        yield Place(f"{path}.W", f"{name}.weight", (O, I))
        yield Place(f"{path}.bias", f"{name}.bias", (O,))

    def layernorm(path: str, name: str) -> Iterator[Place]:
        yield Place(f"{path}.gain", f"{name}.weight", (C,))
        yield Place(f"{path}.bias", f"{name}.bias", (C,))

    yield Place("wte.W", "token_embd.weight", (config.vocab_size, C))
    yield Place("wpe.W", "position_embd.weight", (config.n_positions, C))
    for i in range(config.n_layer):
        block, blk = f"blocks.{i}", f"blk.{i}"
        yield from layernorm(f"{block}.ln_1", f"{blk}.attn_norm")
        for j, letter in enumerate("qkv"):
            path, name, rows = f"{block}.attn.{letter}_proj", f"{blk}.attn_qkv", slice(j * C, (j + 1) * C)
            yield Place(f"{path}.W", f"{name}.weight", (3 * C, C), rows=rows)
            yield Place(f"{path}.bias", f"{name}.bias", (3 * C,), rows=rows)
        yield from linear(f"{block}.attn.o_proj", f"{blk}.attn_output", C, C)
        yield from layernorm(f"{block}.ln_2", f"{blk}.ffn_norm")
        yield from linear(f"{block}.mlp.fc_in", f"{blk}.ffn_up", C, F)
        yield from linear(f"{block}.mlp.fc_out", f"{blk}.ffn_down", F, C)
    yield from layernorm("ln_f", "output_norm")


def gpt2_metadata(c: GPTConfig) -> list[tuple[str, Any, int, int | None]]:
    """The configuration of a GPT, as fields of a file's metadata."""
    integers = {
        "block_count": c.n_layer,
        "context_length": c.n_positions,
        "embedding_length": c.d_model,
        "feed_forward_length": c.d_mlp,
        "attention.head_count": c.n_head,
        "vocab_size": c.vocab_size,
    }
    epsilon = ("gpt2.attention.layer_norm_epsilon", c.layer_norm_eps, FLOAT32, None)
    return [*((f"gpt2.{name}", value, UINT32, None) for name, value in integers.items()), epsilon]

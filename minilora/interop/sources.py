"""Where a model's parameters come from in a Hugging Face folder: the parts that several architectures name alike."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from minilora.models.config import ModelConfig


class Source(NamedTuple):
    """Where a parameter of ours comes from."""

    parameter: str  # its path in the model
    tensor: str  # the tensor's name
    shape: tuple  # the tensor's shape
    convert: Callable = lambda array: array  # from the tensor to the parameter


def linear_sources(path: str, name: str, I: int, O: int) -> Iterator[Source]:
    """Yield the Sources of a linear map, whose W is stored (out, in), as here."""
    yield Source(f"{path}.W", f"{name}.weight", (O, I))
    yield Source(f"{path}.bias", f"{name}.bias", (O,))


def layernorm_sources(path: str, name: str, C: int) -> Iterator[Source]:
    """Yield the Sources of a LayerNorm."""
    yield Source(f"{path}.gain", f"{name}.weight", (C,))
    yield Source(f"{path}.bias", f"{name}.bias", (C,))


def bert_block_sources(block: str, layer: str, qkv: tuple[str, str, str], config: ModelConfig) -> Iterator[Source]:
    """Yield the Sources of one of BERT's blocks, also used by RoBERTa and DeBERTa.

    Parameters
    ----------
    block, layer : str
        Its path here, and its name there.
    qkv : tuple of str
        The names of W_q, W_k and W_v there.
    config : RobertaConfig or DebertaConfig
    """
    C, F = config.d_model, config.d_mlp
    for letter, name in zip("qkv", qkv, strict=True):
        yield from linear_sources(f"{block}.attn.{letter}_proj", f"{layer}.attention.self.{name}", C, C)
    yield from linear_sources(f"{block}.attn.o_proj", f"{layer}.attention.output.dense", C, C)
    yield from layernorm_sources(f"{block}.ln_1", f"{layer}.attention.output.LayerNorm", C)
    yield from linear_sources(f"{block}.mlp.fc_in", f"{layer}.intermediate.dense", C, F)
    yield from linear_sources(f"{block}.mlp.fc_out", f"{layer}.output.dense", F, C)
    yield from layernorm_sources(f"{block}.ln_2", f"{layer}.output.LayerNorm", C)

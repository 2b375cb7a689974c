"""Where a model's parameters come from in a Hugging Face folder, and go to: what several architectures have alike."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from minilora.models.config import ModelConfig


class Source(NamedTuple):
    """Where a parameter of ours comes from."""

    parameter: str  # its path in the model
    tensor: str  # the tensor's name
    shape: tuple  # the tensor's shape
    convert: Callable = lambda array: array  # from the tensor to the parameter: a view, so that it serves both ways


class Description(NamedTuple):
    """A model in transformers' words."""

    config: dict[str, Any]  # config.json
    sources: Iterable[Source]
    prefix: str = ""  # of the tensors' names, which the Sources leave out
    heads: tuple[str, ...] = ()  # what the tensors' names begin with that have no prefix

    def full_name(self, tensor: str) -> str:
        """A tensor's name as transformers writes it."""
        return tensor if tensor.startswith(self.heads or ("\0",)) else self.prefix + tensor


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


def label_fields(n: int) -> dict[str, Any]:
    """config.json's names of n classes, by which transformers counts them."""
    names = {str(i): f"LABEL_{i}" for i in range(n)}
    return {"id2label": names, "label2id": {name: int(i) for i, name in names.items()}}

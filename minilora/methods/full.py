"""Fine-tuning of the model's own weights: all of them, the last blocks, or the bias vectors. LoRA's baselines.

And, as the control for all of them, nothing that was pretrained: only the new head.

Full fine-tuning changes the base itself. The others train copies, which replace the base's weights while the method is
active (`switching.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minilora.methods.selection import (
    block_paths,
    check_integer,
    check_trainable,
    copies,
    new_parameters,
    plain,
    train_only,
)
from minilora.methods.state import NamedAdapter
from minilora.methods.switching import add_adapter, base_parameters, check_new_name, set_adapter
from minilora.parameter import Module


@dataclass(frozen=True)
class FullConfig:
    """Full fine-tuning: everything is trained."""


@dataclass(frozen=True)
class TopKConfig:
    """FT-top-k, with k = 2 the paper's FT^Top2 (Li and Liang, 2021): only the last blocks are trained.

    Embeddings and ln_f are not: the paper says "just the last two layers", and ln_f belongs to no layer. The printed
    25.19M for GPT-2 medium cannot settle it: two blocks are 25,192,448, with ln_f 25,194,496.

    Parameters
    ----------
    k : int
        How many blocks, from 1 to L.
    """

    k: int = 2

    def __post_init__(self) -> None:
        check_integer("k", self.k)


@dataclass(frozen=True)
class BitFitConfig:
    """BitFit (Ben Zaken et al., 2022): every bias vector is trained, including LayerNorms', and nothing else."""


@dataclass(frozen=True)
class HeadConfig:
    """Nothing that was pretrained is trained: only the new head, which every other method trains as well."""


def apply_full(model: Module) -> None:
    """Make every parameter of a model trainable, in place. An adapter, if there is one, is switched off.

    Raises
    ------
    ValueError
        If a matrix is quantised; the model is unchanged.
    """
    check_trainable(model.parameters())
    set_adapter(model, None)
    train_only(model, model.parameters(), FullConfig())


def apply_top_k(model: Module, k: int = 2, *, name: str = "top-k") -> None:
    """Replace the last k blocks of a model by copies, and train only these. See `TopKConfig`.

    Raises
    ------
    ValueError
        If the model has fewer blocks, or an adapter of this name.
    """
    config, blocks = TopKConfig(k), block_paths(model)
    if k > len(blocks):
        raise ValueError(f"k was {k}; it must be from 1 to {len(blocks)}, the number of blocks")
    last = tuple(f"{plain(path)}." for path in blocks[-k:])
    _train_copies(model, name, config, lambda path: path.startswith(last))


def apply_bitfit(model: Module, *, name: str = "bitfit") -> None:
    """Replace the bias vectors of a model by copies, and train only these.

    Raises
    ------
    ValueError
        If the model has no bias, as most Llamas; or an adapter of this name.
    """
    if not any(_is_bias(path) for path in base_parameters(model)):
        raise ValueError(f"model was a {type(model).__name__} without biases; BitFit must have some to train")
    _train_copies(model, name, BitFitConfig(), _is_bias)


def _is_bias(path: str) -> bool:
    return path.rsplit(".", 1)[-1] == "bias"


def apply_head(model: Module, *, name: str = "head") -> None:
    """Replace a model's new modules by copies, and train only these.

    Raises
    ------
    ValueError
        If it has none: only a classifier has a head that was not pretrained. Or if it has an adapter of this name.
    """
    if not new_parameters(model):
        raise ValueError(f"model was a {type(model).__name__}, which has no new head; it must be a classifier")
    _train_copies(model, name, HeadConfig(), lambda path: False)


def _train_copies(model: Module, name: str, config: Any, chosen: Callable[[str], bool]) -> None:
    """Give a model an adapter with copies of the chosen parameters, by their paths in the base, and of the new ones."""
    check_new_name(model, name)
    new = new_parameters(model)
    own = {path: p for path, p in base_parameters(model).items() if chosen(path) or path in new}
    add_adapter(model, name, NamedAdapter(config, copies(own)))

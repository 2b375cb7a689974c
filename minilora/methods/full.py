"""Fine-tuning of what the model has: all of it, its last blocks, or its bias vectors. What LoRA is compared with.

And, as the control for them all, of nothing that was pretrained: the new head alone.
"""

from dataclasses import dataclass

from minilora.methods.lora import set_adapter
from minilora.methods.selection import block_paths, check_integer, new_parameters, train_only


@dataclass(frozen=True)
class FullConfig:
    """Full fine-tuning: everything is trained."""


@dataclass(frozen=True)
class TopKConfig:
    """FT-top-k, with k = 2 the paper's FT^Top2 (Li and Liang, 2021): the last blocks alone are trained.

    Neither embeddings nor ln_f are: the paper says "just the last two layers", and ln_f belongs to no layer. Its
    25.19M for GPT-2 medium does not tell, for two blocks have 25,192,448 numbers, and with ln_f 25,194,496.

    Parameters
    ----------
    k : int
        How many blocks, from 1 to L.
    """

    k: int = 2

    def __post_init__(self):
        check_integer("k", self.k)


@dataclass(frozen=True)
class BitFitConfig:
    """BitFit (Ben Zaken et al., 2022): every bias vector is trained, those of LayerNorms too, and nothing else."""


@dataclass(frozen=True)
class HeadConfig:
    """Nothing that was pretrained is trained: only the new head, which every other method trains too."""


def apply_full(model):
    """Make every parameter of a model trainable, in place. An adapter, if there is one, is switched off."""
    set_adapter(model, None)
    train_only(model, model.parameters(), FullConfig())


def apply_top_k(model, k=2):
    """Make the last k blocks of a model trainable, in place, and nothing else. See `TopKConfig`.

    Raises
    ------
    ValueError
        If the model has fewer blocks.
    """
    config, blocks = TopKConfig(k), block_paths(model)
    if k > len(blocks):
        raise ValueError(f"k was {k}; it may be from 1 to {len(blocks)}, the number of blocks")
    set_adapter(model, None)
    last = tuple(f"{path}." for path in blocks[-k:])
    train_only(model, [p for path, p in model.named_parameters() if path.startswith(last)], config)


def apply_bitfit(model):
    """Make the bias vectors of a model trainable, in place, and nothing else. An adapter is switched off."""
    set_adapter(model, None)
    biases = [p for path, p in model.named_parameters() if path.rsplit(".", 1)[-1] == "bias"]
    train_only(model, biases, BitFitConfig())


def apply_head(model):
    """Freeze a model, in place, but for its new parts. An adapter is switched off.

    Raises
    ------
    ValueError
        If it has none: only a classifier has a head that no pretraining has seen.
    """
    if not new_parameters(model):
        raise ValueError(f"model was a {type(model).__name__}, which has no new head; it may be a classifier")
    set_adapter(model, None)
    train_only(model, [], HeadConfig())

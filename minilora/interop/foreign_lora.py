"""An ordinary adapter of minilora's from the A, B and alpha of each layer, whichever file they were read from.

If ranks or alphas differ between layers, LoRAConfig's patterns hold them by the whole path of each layer.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from minilora.interop.fused import Factors
from minilora.interop.peft_settings import ranks_and_alphas, short_names
from minilora.methods import LoRAConfig
from minilora.methods.lora.apply import attach, make_factors, target_layers
from minilora.methods.switching import base_in_place
from minilora.models.model import Model
from minilora.parameter import Parameter


def config_of(factors: Mapping[str, Factors], linear: Iterable[str], **more: Any) -> LoRAConfig:
    """The configuration of an adapter with these Factors.

    Parameters
    ----------
    factors : dict of str to Factors
        By the path of the layer.
    linear : iterable of str
        The paths of all layers that could be adapted.
    **more
        Other settings of LoRAConfig.
    """
    rank, alpha, rank_pattern, alpha_pattern = ranks_and_alphas(factors)
    return LoRAConfig(
        rank=rank,
        alpha=alpha,
        targets=short_names(factors, linear, parts=1),
        rank_pattern=rank_pattern,
        alpha_pattern=alpha_pattern,
        **more,
    )


def add_lora(
    model: Model, name: str, config: LoRAConfig, factors: Mapping[str, Factors], parts: dict[str, Parameter]
) -> None:
    """Give a model an adapter, make it the active one, and freeze everything else.

    Parameters
    ----------
    model : Model
    name : str
    config : LoRAConfig
        From `config_of`.
    factors : dict of str to Factors
    parts : dict of str to Parameter
        What else belongs to the adapter, by path in the base.

    Raises
    ------
    ValueError
        If the name is taken, an adapter is merged, or a scale is too large for the model's dtype. The model is then
        unchanged.
    """
    with base_in_place(model):
        layers = target_layers(model, config, any_rank=True, embeddings=True)
        made = {}
        for path, layer in layers.items():
            A, B, _, m = factors[path]
            made[path] = make_factors(path, layer, config, A, B, m)
    attach(model, name, config, made, parts)

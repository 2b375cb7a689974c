"""Every method by its name, and one way to apply them all.

apply_method(model, "bitfit")
apply_method(model, HoulsbyConfig("houlsby", size=16), rng=rng)
...train, evaluate, count_parameters(model)...
save_adapter(model, path); load_adapter(other_model, path)
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy

from minilora.methods.adalora import AdaLoRAConfig, apply_adalora
from minilora.methods.full import (
    BitFitConfig,
    FullConfig,
    HeadConfig,
    TopKConfig,
    apply_bitfit,
    apply_full,
    apply_head,
    apply_top_k,
)
from minilora.methods.houlsby import HoulsbyConfig, apply_houlsby
from minilora.methods.ia3 import IA3Config, apply_ia3
from minilora.methods.lora.apply import apply_lora
from minilora.methods.lora.config import LoRAConfig
from minilora.methods.lora_with_prefix import LoRAPrefixConfig, apply_lora_with_prefix
from minilora.methods.prefix import PrefixConfig, apply_prefix
from minilora.methods.prompt_tuning import PromptTuningConfig, apply_prompt_tuning
from minilora.methods.random_subspace import RandomSubspaceConfig, apply_random_subspace
from minilora.methods.trainable_tokens import TrainableTokensConfig, apply_trainable_tokens
from minilora.methods.vera import VeRAConfig, apply_vera
from minilora.parameter import Module

# LoRA and its variants, then the paper's baselines, LoRA together with prefixes, what LoRA's hypothesis comes from,
# training in a random subspace, and what came after. LoRA+ is LoRA with other learning rates: TrainConfig.lr_ratio_B.
METHODS = {
    "lora": LoRAConfig(),
    "rslora": LoRAConfig(rslora=True),
    "dora": LoRAConfig(dora=True),
    "pissa": LoRAConfig(init="pissa"),
    "lora-fa": LoRAConfig(freeze_A=True),
    "lora-ga": LoRAConfig(init="lora-ga"),
    "full": FullConfig(),
    "top-k": TopKConfig(),
    "bitfit": BitFitConfig(),
    "adapter-h": HoulsbyConfig("houlsby"),
    "adapter-l": HoulsbyConfig("lin"),
    "adapter-p": HoulsbyConfig("pfeiffer"),
    "adapter-d": HoulsbyConfig("pfeiffer", leave_out=1),
    "prefix-embedding": PrefixConfig("embedding"),
    "prefix-layer": PrefixConfig("layer"),
    "prompt-tuning": PromptTuningConfig(),
    "lora+prefix-embedding": LoRAPrefixConfig(prefix=PrefixConfig("embedding")),
    "lora+prefix-layer": LoRAPrefixConfig(prefix=PrefixConfig("layer")),
    "random-subspace": RandomSubspaceConfig(),
    "ia3": IA3Config(),
    "trainable-tokens": TrainableTokensConfig(),
    "vera": VeRAConfig(),
    "adalora": AdaLoRAConfig(),
}

# The kinds of configuration by their names in files, and the function that applies each.
KINDS: dict[str, tuple[Any, Callable[..., None]]] = {
    "lora": (LoRAConfig, apply_lora),
    "adapter": (HoulsbyConfig, apply_houlsby),
    "prefix": (PrefixConfig, apply_prefix),
    "prompt-tuning": (PromptTuningConfig, apply_prompt_tuning),
    "lora+prefix": (LoRAPrefixConfig, apply_lora_with_prefix),
    "random-subspace": (RandomSubspaceConfig, apply_random_subspace),
    "ia3": (IA3Config, apply_ia3),
    "trainable-tokens": (TrainableTokensConfig, apply_trainable_tokens),
    "vera": (VeRAConfig, apply_vera),
    "adalora": (AdaLoRAConfig, apply_adalora),
    "bitfit": (BitFitConfig, lambda model, config, rng, **name: apply_bitfit(model, **name)),
    "top-k": (TopKConfig, lambda model, config, rng, **name: apply_top_k(model, config.k, **name)),
    "full": (FullConfig, lambda model, config, rng: apply_full(model)),
    "head": (HeadConfig, lambda model, config, rng, **name: apply_head(model, **name)),  # the control: not in METHODS
}


def apply_method(
    model: Module,
    method: Any,
    *,
    rng: numpy.random.Generator | None = None,
    name: str | None = None,
    batches: Sequence[Any] | None = None,
) -> None:
    """Adapt a model by any method, in place: only what the method trains becomes trainable.

    Parameters
    ----------
    model : Module
    method : str or dataclass
        A name in METHODS, or a configuration such as ``TopKConfig(k=3)``.
    rng : numpy.random.Generator, optional
        Draws what is new in the model; if not given, a generator with seed 0.
    name : str, optional
        The adapter's name: "default" for LoRA, if not given; the kind of method for others, such as "bitfit". Full
        fine-tuning has no name, because it changes the base itself.
    batches : sequence of Batch, optional
        For LoRA-GA, which needs them: those whose gradient it starts from. Other methods do not look at them.

    Raises
    ------
    ValueError
        If there is no such method, or it does not fit the model. The model is then unchanged.
    """
    config = resolve(method)
    _, apply = KINDS[kind_of(config)]
    options: dict[str, Any] = {} if name is None else {"name": name}
    if needs_batches(config):
        options["batches"] = batches
    apply(model, config, rng=rng or numpy.random.default_rng(0), **options)


def needs_batches(method: Any) -> bool:
    """Whether a method, a name or a configuration, is one that `apply_method` needs batches for: LoRA-GA."""
    config = resolve(method)
    return isinstance(config, LoRAConfig) and config.init == "lora-ga"


def resolve(method: Any) -> Any:
    """A method's configuration: the one that its name has in METHODS, or the one that is given.

    Raises
    ------
    ValueError
        If there is no such method.
    """
    config = METHODS.get(method) if isinstance(method, str) else method
    if type(config) not in {config_type for config_type, _ in KINDS.values()}:
        raise ValueError(
            f"method was {method!r}; it must be a configuration, or one of {', '.join(map(repr, METHODS))}"
        )
    return config


def to_dict(method: Any) -> dict[str, Any]:
    """A method, given by name or as a configuration, as a dict for JSON: its kind, and all its settings."""
    config = resolve(method)
    return {"kind": kind_of(config), "config": asdict(config)}


def kind_of(config: Any) -> str:
    """A configuration's name in files: "lora", "adapter", ..."""
    return next(kind for kind, (config_type, _) in KINDS.items() if config_type is type(config))

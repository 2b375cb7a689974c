"""LoRA together with a prefix: the paper's LoRA+PE and LoRA+PL (appendix E).

    LoRA+PE    LoRA, and trained embeddings before and after the prompt      |Theta| = 2 L_LoRA d r + d (lp + li)
    LoRA+PL    LoRA, and trained inputs of every block at these positions    |Theta| = 2 L_LoRA d r + L d (lp + li)

The two do not meet in a formula: the prefix changes what a block reads at its own positions, LoRA changes what a layer
makes of all of them. They are one adapter, though, which is trained, saved, switched and taken away as one.
"""

from dataclasses import dataclass, field, fields

import numpy

from minilora.methods.lora.apply import attach, drawn
from minilora.methods.lora.config import FROM_W, LoRAConfig
from minilora.methods.prefix import PrefixConfig, check_prefix, prefix_parts
from minilora.methods.switching import check_new_name, set_adapter
from minilora.models.model import Model


@dataclass(frozen=True)
class LoRAPrefixConfig:
    """LoRA's settings, and the prefix's.

    Parameters
    ----------
    lora : LoRAConfig
        A and B may start in any way but PiSSA's and LoRA-GA's, whose files hold their start too.
    prefix : PrefixConfig
    """

    lora: LoRAConfig = field(default_factory=LoRAConfig)
    prefix: PrefixConfig = field(default_factory=PrefixConfig)

    def __post_init__(self) -> None:
        for setting, kind in (("lora", LoRAConfig), ("prefix", PrefixConfig)):
            value = getattr(self, setting)
            if isinstance(value, dict):  # as a file has it
                names = {f.name for f in fields(kind)}
                if unknown := sorted(value.keys() - names):
                    raise ValueError(f"{setting} had {unknown[0]!r}; a {kind.__name__} must have {sorted(names)}")
                object.__setattr__(self, setting, kind(**value))
            elif not isinstance(value, kind):
                raise ValueError(f"{setting} was {value!r}; it must be a {kind.__name__}")
        if self.lora.init in FROM_W:
            says = "together with a prefix it must be 'uniform' or 'gaussian'"
            raise ValueError(f"lora.init was {self.lora.init!r}; {says}")


def apply_lora_with_prefix(
    model: Model, config: LoRAPrefixConfig, *, rng: numpy.random.Generator, name: str = "lora+prefix"
) -> None:
    """Give a model LoRA and a prefix as one adapter, in place, and freeze everything else.

    Parameters
    ----------
    model : GPT, Llama, Roberta, or a head on a Roberta
    config : LoRAPrefixConfig
    rng : numpy.random.Generator
        Draws A, and the tokens whose activations the prefix starts with.
    name : str

    Raises
    ------
    ValueError
        If one of the two does not fit the model, or it has an adapter of this name. The model is then unchanged.
    """
    check_prefix(model, config.prefix)
    check_new_name(model, name)
    factors, parts = drawn(model, config.lora, rng)
    set_adapter(model, None)
    attach(model, name, config, factors, parts | prefix_parts(model, config.prefix, rng))

"""An adapter for PEFT: a folder that ``PeftModel.from_pretrained(base, folder)`` reads."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy

from minilora.arrays.backend import to_numpy
from minilora.interop.fused import Factors, join
from minilora.interop.peft_adalora import save_adalora
from minilora.interop.peft_ia3 import save_ia3
from minilora.interop.peft_layouts import DOWN_EMBEDDING, MAGNITUDE, PREFIX, UP_EMBEDDING, ModelLayout
from minilora.interop.peft_prompt import save_prompt
from minilora.interop.peft_settings import ranks_and_alphas, short_names
from minilora.interop.peft_tokens import save_tokens
from minilora.interop.peft_vera import save_vera
from minilora.interop.peft_write import places_of, task_of, values_of, write_adapter
from minilora.methods import (
    AdaLoRAConfig,
    IA3Config,
    LoRAPrefixConfig,
    PromptTuningConfig,
    TrainableTokensConfig,
    VeRAConfig,
)
from minilora.methods.lora import DoRAFactors, LoRAFactors, LoRAFAFactors, PiSSAFactors
from minilora.methods.lora.config import LoRAConfig
from minilora.methods.lora.embedding import LoRAEmbeddingFactors
from minilora.methods.registry import kind_of
from minilora.methods.selection import plain
from minilora.methods.state import adapters_of, method_of
from minilora.methods.switching import adapter_names, check_all_own, lora_layers
from minilora.models.model import Model
from minilora.ops import row_norm
from minilora.parameter import Module

OTHER_KINDS: dict[type, Callable[..., None]] = {
    VeRAConfig: save_vera,
    AdaLoRAConfig: save_adalora,
    IA3Config: save_ia3,
    PromptTuningConfig: save_prompt,
    TrainableTokensConfig: save_tokens,
}


def save_peft(model: Model, folder: str | Path, *, name: str | None = None, base: str | None = None) -> None:
    """Write one adapter in PEFT's format: LoRA, DoRA, VeRA, AdaLoRA or IA3, prompt tuning, or trained tokens.

    What the adapter has of its own besides A and B is saved too: as modules_to_save, or as bias. What is about training
    alone, LoRA-FA's frozen A and how DoRA is differentiated (`dora_exact`), is not.

    Parameters
    ----------
    model : GPT, Llama, Roberta, RobertaForMaskedLM, RobertaForClassification, Deberta or DebertaForClassification
    folder : str or Path
    name : str, optional
        The active adapter, if not given.
    base : str, optional
        Where PEFT will find the base model: base_model_name_or_path.

    Raises
    ------
    ValueError
        If there is no such adapter, or PEFT's format cannot hold what was trained.
    """
    adapters = adapters_of(model)
    which = name if name is not None else adapters.active
    if which in adapters.named and isinstance(adapters.named[which].config, LoRAPrefixConfig):
        raise ValueError(
            f"the adapter {which!r} is LoRA with a prefix, for which PEFT's format of LoRA has no place; save_adapter "
            "writes a file of minilora's own"
        )
    if which in adapters.named and (save_other := OTHER_KINDS.get(type(adapters.named[which].config))):
        if which == adapters.active:
            check_all_own(model)
        save_other(model, Path(folder), which, base)
        return
    layout, wrapped = ModelLayout(model), lora_layers(model)
    held = {plain(path): layer.adapters[which] for path, layer in wrapped.items() if which in layer.adapters}
    if which is None or not held:
        raise _nothing_held(model, name, which)
    if which == adapters.active:
        check_all_own(model)
    _check_adapted(held, layout)
    ours = next(iter(held.values())).config
    fused = {
        module: _join(layout, paths, held, ours) for module, paths in layout.linear.items() if held.keys() & set(paths)
    }
    embedded = {
        module: Factors(to_numpy(held[path].A.data), to_numpy(held[path].B.data), held[path].config.alpha_of(path))
        for module, path in layout.embeddings.items()
        if path in held
    }
    own = adapters.named[which].parts
    saved, bias, whole = places_of(own, layout, fused | embedded)
    tensors = {f"{module}.lora_{letter}.weight": getattr(f, letter) for module, f in fused.items() for letter in "AB"}
    tensors |= {module + MAGNITUDE: f.m for module, f in fused.items() if f.m is not None}
    tensors |= {tensor: values_of(layout, tensor, [own[path] for path in paths]) for tensor, paths in whole.items()}
    tensors |= {module + DOWN_EMBEDDING: f.A for module, f in embedded.items()}
    tensors |= {module + UP_EMBEDDING: f.B for module, f in embedded.items()}
    everything, named = fused | embedded, [*layout.linear, *layout.embeddings]
    rank, alpha, rank_pattern, alpha_pattern = ranks_and_alphas(everything)
    config = {
        "peft_type": "LORA",
        "task_type": task_of(layout, saved),
        "base_model_name_or_path": base,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": rank_pattern,
        "alpha_pattern": alpha_pattern,
        "use_rslora": ours.rslora,
        "use_dora": ours.dora,
        "lora_dropout": ours.dropout,
        "init_lora_weights": ours.init if ours.init == "gaussian" else True,
        "target_modules": short_names(everything, named, parts=2),  # attn.c_proj: the MLP has a c_proj too
        "fan_in_fan_out": layout.transposed,
        "modules_to_save": saved or None,
        "bias": bias,
    }
    write_adapter(folder, {PREFIX + tensor: array for tensor, array in tensors.items()}, config)


def _nothing_held(model: Module, name: str | None, which: str | None) -> ValueError:
    """The error for an adapter that is not there, or is not LoRA's."""
    method = method_of(model) if which is None else getattr(adapters_of(model).named.get(which), "config", None)
    if method is None:
        return ValueError(f"name was {name!r}; the model's adapters are {adapter_names(model)}, and none of them fits")
    return ValueError(
        f"the model is adapted by {kind_of(method)!r}, for which minilora cannot write a PEFT file, "
        "only for LoRA, DoRA, VeRA, AdaLoRA, IA3, prompt tuning and trained tokens; save_adapter writes a file of "
        "minilora's own, and save_model the whole model"
    )


def _check_adapted(held: dict[str, LoRAFactors], layout: ModelLayout) -> None:
    known = [*(path for paths in layout.linear.values() for path in paths), *layout.embeddings.values()]
    for path, factors in held.items():
        if path not in known:
            names = ", ".join(short_names(known, known, parts=1))
            raise ValueError(f"{path} is adapted; PEFT's format has names for {names}")
        if type(factors) is PiSSAFactors:
            whose = "PiSSA" if factors.config.init == "pissa" else "LoRA-GA"
            raise ValueError(
                f"the adapter is {whose}'s, which changes W itself at the start; "
                "combine_adapters(model, [name], [1.0]) makes a plain LoRA of it, which save_peft writes"
            )
        if type(factors) not in (LoRAFactors, LoRAFAFactors, DoRAFactors, LoRAEmbeddingFactors):
            raise ValueError(f"{path} has {type(factors).__name__}; save_peft writes LoRA and DoRA")


def _join(layout: ModelLayout, paths: Sequence[str], held: dict[str, Any], config: LoRAConfig) -> Factors:
    parts = [
        Factors(to_numpy(held[path].A.data), to_numpy(held[path].B.data), config.alpha_of(path))
        if path in held
        else None
        for path in paths
    ]
    joined = join(parts, [len(layout.parameters[f"{path}.W"].data) for path in paths], config.rslora)
    if not config.dora:
        return joined
    ms = [held[path].m.data if path in held else row_norm(layout.parameters[f"{path}.W"].data) for path in paths]
    return joined._replace(m=numpy.concatenate([to_numpy(m) for m in ms]))

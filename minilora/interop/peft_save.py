"""An adapter for PEFT: a folder that ``PeftModel.from_pretrained(base, folder)`` reads."""

import json
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
from safetensors.numpy import save

from minilora.arrays.backend import to_numpy
from minilora.arrays.finite import check_finite
from minilora.files import write_together
from minilora.interop.fused import Factors, join
from minilora.interop.peft_ia3 import join_ia3
from minilora.interop.peft_layouts import CONFIG, DOWN_EMBEDDING, MAGNITUDE, PREFIX, TENSORS, UP_EMBEDDING, ModelLayout
from minilora.interop.peft_prompt import TENSOR, prompt_fields
from minilora.interop.peft_settings import ranks_and_alphas, short_names
from minilora.interop.peft_tokens import ROWS
from minilora.methods import IA3Config, LoRAPrefixConfig, PromptTuningConfig, TrainableTokensConfig
from minilora.methods.lora import DoRAFactors, LoRAFactors, PiSSAFactors
from minilora.methods.lora.config import LoRAConfig
from minilora.methods.lora.embedding import LoRAEmbeddingFactors
from minilora.methods.registry import kind_of
from minilora.methods.selection import plain
from minilora.methods.state import adapters_of, method_of
from minilora.methods.switching import adapter_names, check_all_own, lora_layers
from minilora.models.model import Model
from minilora.ops import row_norm
from minilora.parameter import Module, Parameter


def save_peft(model: Model, folder: str | Path, *, name: str | None = None, base: str | None = None) -> None:
    """Write one adapter in PEFT's format: LoRA's, DoRA's, IA3's, prompt tuning's, or trained tokens.

    What the adapter has of its own besides A and B is saved too: as modules_to_save, or as bias.
    How DoRA is differentiated (`dora_exact`) is not saved: PEFT has only one way.

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
    layout, wrapped = ModelLayout(model), lora_layers(model)
    if which in adapters.named and isinstance(adapters.named[which].config, PromptTuningConfig | TrainableTokensConfig):
        _save_embeddings(model, Path(folder), which, layout, base)
        return
    held = {plain(path): layer.adapters[which] for path, layer in wrapped.items() if which in layer.adapters}
    if which is not None and held and isinstance(adapters.named[which].config, IA3Config):
        _save_ia3(model, Path(folder), which, layout, held, base)
        return
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
    saved, bias, whole = _places_of(own, layout, fused | embedded)
    tensors = {f"{module}.lora_{letter}.weight": getattr(f, letter) for module, f in fused.items() for letter in "AB"}
    tensors |= {module + MAGNITUDE: f.m for module, f in fused.items() if f.m is not None}
    tensors |= {tensor: _values(layout, tensor, [own[path] for path in paths]) for tensor, paths in whole.items()}
    tensors |= {module + DOWN_EMBEDDING: f.A for module, f in embedded.items()}
    tensors |= {module + UP_EMBEDDING: f.B for module, f in embedded.items()}
    everything, named = fused | embedded, [*layout.linear, *layout.embeddings]
    rank, alpha, rank_pattern, alpha_pattern = ranks_and_alphas(everything)
    config = {
        "peft_type": "LORA",
        **_about(layout, base, saved),
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
        "bias": bias,
    }
    _write(Path(folder), tensors, config)


def _about(layout: ModelLayout, base: str | None, saved: list[str]) -> dict[str, Any]:
    """The fields of any adapter's configuration."""
    # with a classifier's adapter, PEFT expects the classifier too
    task = layout.task if layout.task != "SEQ_CLS" or "classifier" in saved else None
    found = {"task_type": task, "base_model_name_or_path": base, "inference_mode": True}
    return found | {"modules_to_save": saved or None}


def _write(folder: Path, tensors: Mapping[str, numpy.ndarray], config: dict[str, Any], prefix: str = PREFIX) -> None:
    check_finite(tensors, folder)
    content = save({prefix + tensor: array for tensor, array in tensors.items()}, metadata={"format": "pt"})
    write_together({folder / TENSORS: content, folder / CONFIG: json.dumps(config, indent=1) + "\n"})


def _save_embeddings(model: Model, folder: Path, which: str, layout: ModelLayout, base: str | None) -> None:
    """Write the embeddings of prompt tuning, or of trained tokens."""
    adapters = adapters_of(model)
    if which == adapters.active:
        check_all_own(model)
    config, parts = adapters.named[which].config, adapters.named[which].parts
    about = _about(layout, base, [])
    if isinstance(config, PromptTuningConfig):
        values = to_numpy(parts["prefix"].tables[0].W.data)
        _write(folder, {TENSOR: values}, about | prompt_fields(model, config), prefix="")
        return
    if layout.new:
        raise ValueError(f"the model is a {type(model).__name__}; PEFT's trainable tokens have no place for its head")
    ((module, path),) = layout.embeddings.items()
    fields = {"peft_type": "TRAINABLE_TOKENS", "token_indices": list(config.tokens), "target_modules": [module]}
    del about["modules_to_save"]
    _write(folder, {f"{module}{ROWS}": to_numpy(parts[path].P.data)}, about | fields)


def _save_ia3(
    model: Model, folder: Path, which: str, layout: ModelLayout, held: dict[str, Any], base: str | None
) -> None:
    """Write an IA3 adapter, and the new head that belongs to it."""
    adapters = adapters_of(model)
    if which == adapters.active:
        check_all_own(model)
    _check_has_names(held, layout)
    tensors, fields = join_ia3(layout, held)
    own = adapters.named[which].parts
    saved, _, whole = _places_of(own, layout, ())
    tensors |= {tensor: _values(layout, tensor, [own[path] for path in paths]) for tensor, paths in whole.items()}
    _write(folder, tensors, {"peft_type": "IA3", **_about(layout, base, saved), **fields})


def _nothing_held(model: Module, name: str | None, which: str | None) -> ValueError:
    """The error for an adapter that is not there, or is not LoRA's."""
    method = method_of(model) if which is None else getattr(adapters_of(model).named.get(which), "config", None)
    if method is None:
        return ValueError(f"name was {name!r}; the model's adapters are {adapter_names(model)}, and none of them fits")
    return ValueError(
        f"the model is adapted by {kind_of(method)!r}, for which minilora cannot write a PEFT file, "
        "only for LoRA, DoRA, IA3, prompt tuning and trained tokens; save_adapter "
        "writes a file of minilora's own, and save_model the whole model"
    )


def _check_adapted(held: dict[str, LoRAFactors], layout: ModelLayout) -> None:
    _check_has_names(held, layout)
    for path, factors in held.items():
        if type(factors) is PiSSAFactors:
            raise ValueError(
                "the adapter is PiSSA's, which changes W itself at the start; combine_adapters(model, [name], [1.0]) "
                "makes a plain LoRA of it, which save_peft writes"
            )
        if type(factors) not in (LoRAFactors, DoRAFactors, LoRAEmbeddingFactors):
            raise ValueError(f"{path} has {type(factors).__name__}; save_peft writes LoRA and DoRA")


def _check_has_names(held: Iterable[str], layout: ModelLayout) -> None:
    known = [*(path for paths in layout.linear.values() for path in paths), *layout.embeddings.values()]
    if unknown := [path for path in held if path not in known]:
        names = ", ".join(short_names(known, known, parts=1))
        raise ValueError(f"{unknown[0]} is adapted; PEFT's format has names for {names}")


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


def _values(layout: ModelLayout, tensor: str, parameters: Iterable[Parameter]) -> numpy.ndarray:
    values = numpy.concatenate([to_numpy(p.data) for p in parameters])
    return numpy.ascontiguousarray(values.T) if layout.is_transposed(tensor) else values


def _places_of(
    own: dict[str, Any], layout: ModelLayout, adapted: Container[str]
) -> tuple[list[str], str, Mapping[str, Sequence[str]]]:
    """Where PEFT keeps an adapter's own parameters: modules_to_save, bias, and our paths by tensor name."""
    saved = [
        module for module, tensors in layout.whole.items() if own.keys() >= {p for ps in tensors.values() for p in ps}
    ]
    saved = [module for module in saved if module not in adapted]
    whole = {tensor: paths for module in saved for tensor, paths in layout.whole[module].items()}
    for bias in ("none", "lora_only", "all"):
        tensors = whole | layout.biases(adapted, bias)
        if own.keys() == {path for paths in tensors.values() for path in paths}:
            return layout.collapsed(saved), bias, tensors
    in_whole = {path for paths in whole.values() for path in paths}
    names = ", ".join(path for path in own if path not in in_whole)
    possible = ", ".join(short_names(layout.whole, layout.whole, parts=1))
    raise ValueError(
        f"{names} is trained; besides A and B, PEFT saves all biases, or those of adapted layers, or one of {possible}"
    )

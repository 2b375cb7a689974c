"""An adapter that PEFT saved: a folder with adapter_config.json and adapter_model.safetensors.

A and B are (r, in) and (out, r) there too, even if the weight itself is transposed. What differs is names
(`peft_layouts.py`) and fused projections (`fused.py`). The result is an ordinary adapter (`foreign_lora.py`).
"""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy

from minilora.arrays.finite import check_finite
from minilora.files import read_json
from minilora.interop.foreign_files import StoredTensor
from minilora.interop.foreign_lora import add_lora, config_of
from minilora.interop.fused import Factors, split
from minilora.interop.peft_adalora import load_adalora
from minilora.interop.peft_config import PeftConfig, peft_config_of, peft_type_of
from minilora.interop.peft_ia3 import load_ia3
from minilora.interop.peft_layouts import CONFIG, DOWN_EMBEDDING, MAGNITUDE, TENSORS, UP_EMBEDDING, ModelLayout
from minilora.interop.peft_prompt import load_prompt
from minilora.interop.peft_tensors import (
    adapted_embeddings,
    adapted_modules,
    check_unchanged,
    parts_of,
    read_stored,
    saved_modules,
    stored_tensors,
)
from minilora.interop.peft_tokens import load_tokens
from minilora.interop.peft_vera import load_vera
from minilora.limits import one_line_errors
from minilora.methods import LoRAConfig
from minilora.methods.misplaced import check_is_pefts
from minilora.models.model import Model

OTHER_KINDS: dict[str, Callable[[Model, Path, str], None]] = {  # by peft_type
    "VERA": load_vera,
    "ADALORA": load_adalora,
    "IA3": load_ia3,
    "PROMPT_TUNING": load_prompt,
    "TRAINABLE_TOKENS": load_tokens,
}


@one_line_errors()
def load_peft(model: Model, folder: str | Path, *, name: str = "default") -> None:
    """Add an adapter that PEFT saved to a model, make it active, and freeze everything else.

    It can be LoRA, DoRA, VeRA, AdaLoRA or IA3, prompt tuning, or trained tokens. What it holds besides
    (modules_to_save, bias) belongs to it too, and is switched with it.

    Parameters
    ----------
    model : GPT, Llama, Roberta, RobertaForMaskedLM, RobertaForClassification, Deberta or DebertaForClassification
    folder : str or Path
    name : str

    Raises
    ------
    ValueError
        If the adapter uses something that minilora does not compute, or does not fit the model, or a file is missing or
        damaged. The message names the file, and the field or tensor; the model is then unchanged.
    """
    folder, layout = Path(folder), ModelLayout(model)
    check_is_pefts(folder)
    content = read_json(folder / CONFIG)
    if (kind := peft_type_of(content)) in OTHER_KINDS:
        OTHER_KINDS[kind](model, folder, name)
        return
    config = peft_config_of(content, folder / CONFIG)
    saved = saved_modules(config, layout)
    embedded = adapted_embeddings(config, layout)
    adapted = adapted_modules(config, layout, embedded)
    stored = stored_tensors(folder / TENSORS, layout)
    for tensor in [f"{module}.weight" for module in layout.tied if embedded]:  # PEFT saves both uses
        if tensor in stored:
            check_unchanged(stored.pop(tensor), embedded[0], layout)
    needed = {tensor: paths for module in saved for tensor, paths in layout.whole.get(module, {}).items()}
    whole = needed | _further(config, layout, adapted, stored)
    tensors = read_stored(folder / TENSORS, stored, _shapes(config, layout, adapted, embedded, whole))
    check_finite(tensors, folder / TENSORS)
    factors = _split_all(config, layout, adapted, tensors)
    for module in embedded:
        A, B = tensors[module + DOWN_EMBEDDING], tensors[module + UP_EMBEDDING]
        factors[layout.embeddings[module]] = Factors(A, B, config.rank_and_alpha(module)[1])
    parts = parts_of(folder / TENSORS, layout, whole, tensors, model.xp)
    try:
        add_lora(model, name, _our_config(config, layout, factors, parts), factors, parts)
    except ValueError as error:
        raise ValueError(f"{config.path}: {error}") from None


def _further(
    config: PeftConfig, layout: ModelLayout, adapted: list[str], stored: dict[str, StoredTensor]
) -> dict[str, tuple[str, ...]]:
    """What else the file can hold: the biases that the configuration asks for, and other tensors of the model."""
    biases = layout.biases(adapted, config.bias)
    if lacking := [tensor for tensor in biases if tensor not in stored]:
        warnings.warn(
            f"{config.path}: bias was {config.bias!r}, but {TENSORS} holds no {lacking[0]}, which PEFT before 0.21 did "
            "not save; the base's own is used",
            stacklevel=4,
        )
    plain = {t: paths for t, paths in layout.all_tensors().items() if t.rpartition(".")[0] not in adapted}
    return {tensor: paths for tensor, paths in (plain | biases).items() if tensor in stored}


def _shapes(
    config: PeftConfig,
    layout: ModelLayout,
    adapted: list[str],
    embedded: list[str],
    whole: Mapping[str, Sequence[str]],
) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor that the file must hold, by its name without PEFT's prefix."""
    shapes = {tensor: layout.shape_of(tensor, paths) for tensor, paths in whole.items()}
    for module in adapted:
        (O, I), (r, _) = layout.shape(module), config.rank_and_alpha(module)
        shapes |= {f"{module}.lora_A.weight": (r, I), f"{module}.lora_B.weight": (O, r)}
        if config.use_dora:
            shapes[module + MAGNITUDE] = (O,)
    for module in embedded:
        (V, C), (r, _) = layout.parameters[f"{layout.embeddings[module]}.W"].shape, config.rank_and_alpha(module)
        shapes |= {module + DOWN_EMBEDDING: (r, V), module + UP_EMBEDDING: (C, r)}
    return shapes


def _split_all(
    config: PeftConfig, layout: ModelLayout, adapted: list[str], tensors: dict[str, numpy.ndarray]
) -> dict[str, Factors]:
    """Factors by the path of our layer."""
    factors: dict[str, Factors] = {}
    for module in adapted:
        A, B = (tensors[f"{module}.lora_{letter}.weight"] for letter in "AB")
        m = tensors.get(module + MAGNITUDE)
        paths, (_, alpha) = layout.linear[module], config.rank_and_alpha(module)
        parts = split(Factors(A, B, alpha, m), len(paths), config.use_rslora)
        factors |= {path: part for path, part in zip(paths, parts, strict=True) if part is not None}
    return factors


def _our_config(
    config: PeftConfig, layout: ModelLayout, factors: dict[str, Factors], parts: Iterable[str]
) -> LoRAConfig:
    return config_of(
        factors,
        [*(path for paths in layout.linear.values() for path in paths), *layout.embeddings.values()],
        dropout=config.lora_dropout,
        rslora=config.use_rslora,
        dora=config.use_dora,
        besides=tuple(path for path in parts if path not in layout.new),
    )

"""The tensors of an adapter that PEFT saved, of any kind: which modules it changes, and what it has of its own."""

import re
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy

from minilora.arrays.backend import ArrayModule, to_numpy
from minilora.interop.foreign_files import StoredTensor, check_dtype, read_tensor, rounded, tensors_in
from minilora.interop.peft_config import PeftConfig
from minilora.interop.peft_layouts import CONFIG, PREFIX, ModelLayout
from minilora.interop.peft_settings import short_names
from minilora.limits import shown
from minilora.parameter import Parameter

UNCHANGED = ".base_layer.weight"
PEFTS_OWN = ("classifier", "score")  # PEFT adds both to modules_to_save of a classifier, whichever the model has


def saved_modules(config: PeftConfig, layout: ModelLayout) -> list[str]:
    """The modules that modules_to_save names, themselves or a module that contains them."""
    saved = []
    for name in config.modules_to_save or []:
        found = layout.saved(name)
        if not found and name not in PEFTS_OWN:
            possible = ", ".join(short_names(layout.whole, layout.whole, parts=1))
            raise config.refusal("modules_to_save", f"named {shown(name)}; minilora can replace {possible}")
        if tied := [module for module in found if module in layout.tied]:
            says = f"named {shown(name)}; minilora ties {tied[0]}.weight to another, and PEFT would train it separately"
            raise config.refusal("modules_to_save", says)
        saved += found
    return list(dict.fromkeys(saved))


def adapted_modules(config: PeftConfig, layout: ModelLayout, embedded: Container[str] = ()) -> list[str]:
    """The linear modules to adapt; anything else that PEFT adapts is refused, unless it has no effect.

    `embedded` is what `adapted_embeddings` has found.
    """
    others = [m for m, tensors in layout.whole.items() if m not in layout.linear and _has_matrix(layout, tensors)]
    others = [module for module in (*others, *layout.tied) if module not in embedded]
    if not config.all_linear and (odd := config.targets(others)):
        says = f"meant {odd[0]}; minilora adapts no convolution, no tied head, and with LoRA alone the token embedding"
        raise config.refusal("target_modules", says)
    adapted = config.targets(layout.linear)
    if not adapted and not embedded:
        raise config.refusal("target_modules", f"was {shown(config.target_modules)}; the model has no such module")
    return adapted


def adapted_embeddings(config: PeftConfig, layout: ModelLayout) -> list[str]:
    """The module of the token embedding, if it is adapted."""
    found = [] if config.all_linear else config.targets(layout.embeddings)
    if found and config.use_dora:
        raise config.refusal("target_modules", f"meant {found[0]}; minilora has no DoRA on an embedding")
    return found


def _has_matrix(layout: ModelLayout, tensors: Mapping[str, Sequence[str]]) -> bool:
    return any(len(layout.parameters[path].data.shape) > 1 for paths in tensors.values() for path in paths)


def stored_tensors(path: Path, layout: ModelLayout, shared: Sequence[str] = ()) -> dict[str, StoredTensor]:
    """The tensors in a file, by name without PEFT's prefix and the adapter's name.

    `shared` are names of tensors that belong to no module, such as VeRA's "vera_A".
    """
    pickles = sorted(file.name for file in path.parent.glob("adapter_model.*") if file != path)
    if pickles and not path.is_file():
        raise ValueError(
            f"there is no file {path}, only {pickles[0]}, which can run code and is not opened: save it as safetensors"
        )
    stored: dict[str, StoredTensor] = {}
    known = layout.all_tensors()
    for name, tensor in tensors_in(path).items():
        if (alone := name.removeprefix("base_model.")) in shared:
            stored[alone] = tensor
            continue
        if not name.startswith(PREFIX):
            raise ValueError(f"{path} holds {name}, which does not begin with {PREFIX}")
        short = plain_name(name.removeprefix(PREFIX), known)
        if short is None or short.startswith(tuple(f"{module}." for module in layout.unused)):
            continue
        if short.endswith(UNCHANGED):
            check_unchanged(tensor, short.removesuffix(UNCHANGED), layout)
            continue
        if short in stored and not numpy.array_equal(read_tensor(tensor), read_tensor(stored[short])):
            raise ValueError(f"{path} holds {short} twice, as {name} and as {stored[short].name}, and they differ")
        stored[short] = tensor
    return stored


def check_unchanged(tensor: StoredTensor, module: str, layout: ModelLayout) -> None:
    """Refuse another weight for an adapted layer than the model's; PEFT saves a head's beside the head's adapter."""
    check_dtype(tensor)
    paths = (layout.embeddings[module],) if module in layout.embeddings else layout.linear.get(module, ())
    if len(paths) != 1 or tensor.shape != layout.parameters[f"{paths[0]}.W"].shape:
        raise ValueError(f"{tensor.file} holds {tensor.name}, which the model has no place for")
    ours, theirs = to_numpy(layout.parameters[f"{paths[0]}.W"].data), read_tensor(tensor)
    if not numpy.array_equal(theirs.astype(ours.dtype), ours) and not numpy.array_equal(
        rounded(ours, tensor.dtype), rounded(theirs, tensor.dtype)
    ):
        raise ValueError(f"{tensor.file}: {tensor.name} differs from the model's {paths[0]}.W, which stays frozen here")


def plain_name(name: str, known: Container[str]) -> str | None:
    """A tensor's name without the adapter's name in it; None for PEFT's copy of a module that another one replaces.

    Parameters
    ----------
    name : str
    known : container of str
        The names of the model's own tensors.
    """
    if ".original_module." in name:
        return None
    if ".modules_to_save." in name:  # before the adapter's name, which PEFT omits in some
        short = name.replace(".modules_to_save.", ".", 1)
        return short if short in known else re.sub(r"\.modules_to_save\.[^.]+\.", ".", name, count=1)
    name = re.sub(r"(\.lora_[AB])\.[^.]+\.weight$", r"\1.weight", name)
    name = re.sub(r"(\.trainable_tokens_delta|\.lora_embedding_[AB]|\.ia3_l)\.[^.]+$", r"\1", name)
    return re.sub(r"(\.lora_magnitude_vector)(\.[^.]+)*$", r"\1", name)


def head_alone(config: PeftConfig, layout: ModelLayout, saved: Sequence[str], method: str) -> dict[str, Sequence[str]]:
    """The tensors of the modules that are saved whole, and the paths of our parameters in each: a new head alone.

    Raises
    ------
    ValueError
        If they are anything else, which minilora does not train beside `method`.
    """
    saved_tensors = (layout.whole.get(module, {}) for module in saved)
    whole: dict[str, Sequence[str]] = {t: paths for tensors in saved_tensors for t, paths in tensors.items()}
    if others := [ours for paths in whole.values() for ours in paths if ours not in layout.new]:
        raise config.refusal("modules_to_save", f"meant {others[0]}; beside {method}, minilora trains a new head alone")
    return whole


def read_stored(
    path: Path, stored: dict[str, StoredTensor], shapes: dict[str, tuple[int, ...]]
) -> dict[str, numpy.ndarray]:
    """The tensors of a file; they must be exactly those in `shapes`."""
    for name, tensor in stored.items():
        if name not in shapes:
            raise ValueError(f"{path} holds {tensor.name}, which {CONFIG} does not ask for, or the model lacks")
        if tensor.shape != shapes[name]:
            raise ValueError(
                f"{path}: {tensor.name} has shape {tensor.shape}; by {CONFIG} and the model it must be {shapes[name]}"
            )
        check_dtype(tensor)
    if missing := [name for name in shapes if name not in stored]:
        raise ValueError(f"{path} lacks {PREFIX}{missing[0]}")
    return {name: read_tensor(tensor) for name, tensor in stored.items()}


def parts_of(
    path: Path,
    layout: ModelLayout,
    whole: Mapping[str, Sequence[str]],
    tensors: dict[str, numpy.ndarray],
    xp: ArrayModule,
) -> dict[str, Parameter]:
    """Parameters with the values in the file, by our paths; one tensor can hold the rows of several."""
    parts: dict[str, Parameter] = {}
    sources: dict[str, Any] = {}
    for tensor, paths in whole.items():
        values, start = tensors[tensor].T if layout.is_transposed(tensor) else tensors[tensor], 0
        for ours in paths:
            base = layout.parameters[ours].data
            stop = start + len(base)
            rows, start = values[start:stop].astype(base.dtype), stop
            if ours in sources and not numpy.array_equal(rows, sources[ours][1]):
                raise ValueError(f"{path}: {tensor} differs from {sources[ours][0]}, to which minilora ties it")
            data = xp.empty(base.shape, dtype=base.dtype)
            data[...] = xp.asarray(rows)
            parts[ours], sources[ours] = Parameter(data), (tensor, rows)
    return {ours: parts[ours] for ours in layout.parameters if ours in parts}  # in the model's order

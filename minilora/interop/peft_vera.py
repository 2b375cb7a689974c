"""VeRA in PEFT's files: vera_lambda_b and vera_lambda_d of each module, and vera_A and vera_B of all of them.

PEFT's A (r, I) and B (O, r) are as wide as the widest module, too, and cut in the same way. What it adapts as one
module and minilora as several, GPT-2's c_attn, cannot go in or out: three layers would have the rows of B one after
another there, and the same first rows here.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy

from minilora.arrays.backend import to_numpy
from minilora.arrays.finite import check_finite
from minilora.files import read_json
from minilora.interop.peft_config import BIASES, PeftConfig, peft_config_of
from minilora.interop.peft_layouts import CONFIG, PREFIX, TENSORS, ModelLayout
from minilora.interop.peft_settings import short_names
from minilora.interop.peft_tensors import (
    adapted_modules,
    head_alone,
    parts_of,
    read_stored,
    saved_modules,
    stored_tensors,
)
from minilora.interop.peft_write import places_of, task_of, values_of, write_adapter
from minilora.methods import VeRAConfig
from minilora.methods.selection import plain
from minilora.methods.state import adapters_of
from minilora.methods.switching import lora_layers
from minilora.methods.vera import add_vera
from minilora.models.model import Model

A, B, LAMBDA_B, LAMBDA_D = "vera_A", "vera_B", ".vera_lambda_b", ".vera_lambda_d"
OWN_FIELDS = ("projection_prng_key", "save_projection", "vera_dropout", "d_initial", "init_weights")
SAVE_IT = "save it in PEFT with save_projection=True"


def load_vera(model: Model, folder: Path, name: str) -> None:
    """Add an adapter of VeRA's; arguments and errors are those of `load_peft`."""
    layout, path = ModelLayout(model), folder / CONFIG
    content = read_json(path)
    config = _in_loras_words(path, content)
    saved, adapted = saved_modules(config, layout), adapted_modules(config, layout)
    _refuse_fused(adapted, layout, f"{path}: target_modules")
    (O, I), r = (max(sizes) for sizes in zip(*map(layout.shape, adapted), strict=True)), config.r
    shapes: dict[str, tuple[int, ...]] = {A: (r, I), B: (O, r)}
    for module in adapted:
        shapes |= {module + LAMBDA_B: layout.shape(module)[:1], module + LAMBDA_D: (r,)}
    whole = head_alone(config, layout, saved, "VeRA")
    stored = stored_tensors(folder / TENSORS, layout, (A, B))
    if A not in stored and not content.get("save_projection", True):
        raise config.refusal("save_projection", f"was False, and {TENSORS} has no {A}, which torch draws; {SAVE_IT}")
    shapes |= {tensor: layout.shape_of(tensor, paths) for tensor, paths in whole.items()}
    tensors = read_stored(folder / TENSORS, stored, shapes)
    check_finite(tensors, folder / TENSORS)
    vectors = {layout.linear[m][0]: (tensors[m + LAMBDA_D], tensors[m + LAMBDA_B]) for m in adapted}
    try:
        ours = VeRAConfig(
            rank=r,
            targets=short_names(vectors, [p for paths in layout.linear.values() for p in paths], parts=1),
            d_initial=content.get("d_initial", VeRAConfig.d_initial),
            dropout=config.lora_dropout,
            seed=content.get("projection_prng_key", 0),
            save_projection=True,
        )
        add_vera(
            model, name, ours, tensors[A], tensors[B], parts_of(folder / TENSORS, layout, whole, tensors, model.xp)
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    for layer_path, layer in lora_layers(model).items():
        if name in layer.adapters:
            factors, (d, b) = layer.adapters[name], vectors[plain(layer_path)]
            factors.d.data[...], factors.b.data[...] = model.xp.asarray(d), model.xp.asarray(b)


def _in_loras_words(path: Path, content: dict[str, Any]) -> PeftConfig:
    """What VeRA's fields have in common with LoRA's, checked as these are; a bias must be "none"."""
    common = {field: value for field, value in content.items() if field not in OWN_FIELDS}
    dropout, bias = content.get("vera_dropout", 0.0), content.get("bias", "none")
    config = peft_config_of({"r": 256, **common, "peft_type": "LORA", "lora_dropout": dropout, "bias": "none"}, path)
    if bias != "none":
        raise config.refusal("bias", f"was {bias!r}; it must be {BIASES[0]!r}: beside VeRA, minilora trains no biases")
    return config


def _refuse_fused(modules: Iterable[str], layout: ModelLayout, what: str) -> None:
    if fused := [module for module in modules if len(layout.linear[module]) > 1]:
        names = ", ".join(path.rpartition(".")[2] for path in layout.linear[fused[0]])
        raise ValueError(
            f"{what} meant {fused[0]}, which is {names} together there; VeRA's B has other rows for each of these than "
            "here, so only the other modules can be adapted"
        )


def save_vera(model: Model, folder: Path, name: str, base: str | None) -> None:
    """Write an adapter of VeRA's; arguments and errors are those of `save_peft`."""
    layout, adapter = ModelLayout(model), adapters_of(model).named[name]
    held = {plain(path): layer.adapters[name] for path, layer in lora_layers(model).items() if name in layer.adapters}
    modules = {module: paths[0] for module, paths in layout.linear.items() if held.keys() & set(paths)}
    _refuse_fused(modules, layout, "targets")
    if missing := held.keys() - set(modules.values()):
        raise ValueError(f"{sorted(missing)[0]} is adapted, for which PEFT's format has no name")
    ours, first = adapter.config, next(iter(held.values()))
    saved, _, whole = places_of(adapter.parts, layout, modules)
    tensors: dict[str, numpy.ndarray] = {f"base_model.{A}": to_numpy(first.A.data)}
    tensors[f"base_model.{B}"] = to_numpy(first.B.data)
    for module, path in modules.items():
        tensors[PREFIX + module + LAMBDA_B] = to_numpy(held[path].b.data)
        tensors[PREFIX + module + LAMBDA_D] = to_numpy(held[path].d.data)
    for tensor, paths in whole.items():
        tensors[PREFIX + tensor] = values_of(layout, tensor, [adapter.parts[path] for path in paths])
    config = {
        "peft_type": "VERA",
        "task_type": task_of(layout, saved),
        "base_model_name_or_path": base,
        "inference_mode": True,
        "r": ours.rank,
        "vera_dropout": ours.dropout,
        "d_initial": ours.d_initial,
        "projection_prng_key": ours.seed,
        "save_projection": True,
        "init_weights": True,
        "target_modules": short_names(modules, layout.linear, parts=2),
        "fan_in_fan_out": layout.transposed,
        "modules_to_save": saved or None,
        "bias": "none",
    }
    write_adapter(folder, tensors, config)

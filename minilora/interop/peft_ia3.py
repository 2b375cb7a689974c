"""IA3 in PEFT's format: ia3_l of each module, (O, 1) where it scales outputs, (1, I) where it scales inputs.

PEFT scales a fused projection as a whole: l of GPT-2's c_attn is that of q, k and v, one after another. A layer that is
not scaled has ones there, and layers whose part is all ones are not scaled here, if another one is.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy

from minilora.arrays.backend import to_numpy
from minilora.arrays.finite import check_finite
from minilora.interop.peft_config import PeftConfig
from minilora.interop.peft_fields import names_config, read_fields, refuse
from minilora.interop.peft_layouts import CONFIG, PREFIX, TENSORS, ModelLayout
from minilora.interop.peft_settings import short_names
from minilora.interop.peft_tensors import parts_of, read_stored, saved_modules, stored_tensors
from minilora.interop.peft_write import places_of, task_of, values_of, write_adapter
from minilora.limits import shown
from minilora.methods.ia3 import IA3Config, IA3Factors
from minilora.methods.lora.apply import attach
from minilora.methods.selection import new_array, plain
from minilora.methods.state import adapters_of
from minilora.methods.switching import lora_layers
from minilora.models.model import Model
from minilora.parameter import Parameter

FIELDS: dict[str, Any] = dict.fromkeys(
    ("target_modules", "exclude_modules", "feedforward_modules", "modules_to_save", "task_type")
)
NO_MATTER = ("fan_in_fan_out", "init_ia3_weights")


def load_ia3(model: Model, folder: Path, name: str) -> None:
    """Add an IA3 adapter that PEFT saved to a model; see `load_peft`."""
    layout, path = ModelLayout(model), folder / CONFIG
    config, of_inputs = read_rules(path)
    adapted = config.targets(layout.linear)
    others = [module for module in config.targets([*layout.whole, *layout.tied]) if module not in layout.linear]
    if not adapted or (others and not config.all_linear):
        says = f"was {shown(config.target_modules)}; it must name linear modules of the model"
        raise config.refusal("target_modules", f"{says}, and {others[0]} is none" if others else says)
    saved = saved_modules(config, layout)
    whole = {tensor: paths for module in saved for tensor, paths in layout.whole.get(module, {}).items()}
    if more := [ours for paths in whole.values() for ours in paths if ours not in layout.new]:
        raise config.refusal("modules_to_save", f"named {more[0]}; minilora trains nothing but a new head beside IA3")
    shapes = {tensor: layout.shape_of(tensor, paths) for tensor, paths in whole.items()}
    for module in adapted:
        O, I = layout.shape(module)
        shapes[f"{module}.ia3_l"] = (1, I) if of_inputs(module) else (O, 1)
    tensors = read_stored(folder / TENSORS, stored_tensors(folder / TENSORS, layout), shapes)
    check_finite(tensors, folder / TENSORS)
    l, inputs = split_ia3(layout, {module: of_inputs(module) for module in adapted}, tensors)
    everything = [path for paths in layout.linear.values() for path in paths]
    named = [tuple(short_names(paths, everything, parts=1)) for paths in (l, inputs)]
    ours = IA3Config(*named)
    factors = {p: IA3Factors(Parameter(new_array(model, v)), p in inputs, ours) for p, v in l.items()}
    attach(model, name, ours, factors, parts_of(folder / TENSORS, layout, whole, tensors, model.xp))


def read_rules(path: Path) -> tuple[PeftConfig, Callable[[str], bool]]:
    """What adapter_config.json says of names: which modules are scaled, and whether it is a module's inputs.

    PEFT compares feedforward_modules with the end of a name, whatever stands before it.
    """
    fields = read_fields(path, FIELDS, NO_MATTER)
    feedforward = fields.pop("feedforward_modules")
    if fields["target_modules"] is None:
        refuse(path, "target_modules", None, "it must be a list of names, or a regular expression")
    config = names_config(path, "IA3", fields)
    names_config(path, "IA3", {"target_modules": feedforward})

    def of_inputs(module: str) -> bool:
        if isinstance(feedforward, str):
            return config.matcher.fullmatch(feedforward, module)
        return any(module.endswith(name) for name in feedforward or [])

    return config, of_inputs


def split_ia3(
    layout: ModelLayout, of_inputs: Mapping[str, bool], tensors: Mapping[str, numpy.ndarray]
) -> tuple[dict[str, numpy.ndarray], list[str]]:
    """l by the path of our layer, and the paths of those whose inputs are scaled."""
    found: dict[str, numpy.ndarray] = {}
    inputs: list[str] = []
    for module, scales_inputs in of_inputs.items():
        paths, values = layout.linear[module], tensors[f"{module}.ia3_l"].reshape(-1)
        if scales_inputs:
            found |= dict.fromkeys(paths, values)
            inputs += paths
            continue
        parts = dict(zip(paths, numpy.split(values, len(paths)), strict=True))  # n of (O,)
        found |= {path: part for path, part in parts.items() if (part != 1).any()} or parts
    return {path: found[path] for paths in layout.linear.values() for path in paths if path in found}, inputs


def save_ia3(model: Model, folder: Path, name: str, base: str | None) -> None:
    """Write an IA3 adapter, and the new head that belongs to it; arguments and errors are those of `save_peft`."""
    layout, own = ModelLayout(model), adapters_of(model).named[name].parts
    held = {plain(path): layer.adapters[name] for path, layer in lora_layers(model).items() if name in layer.adapters}
    if unknown := sorted(held.keys() - {path for paths in layout.linear.values() for path in paths}):
        raise ValueError(f"{unknown[0]} is adapted, for which PEFT's format has no name")
    tensors, fields = join_ia3(layout, held)
    saved, _, whole = places_of(own, layout, ())
    tensors |= {tensor: values_of(layout, tensor, [own[path] for path in paths]) for tensor, paths in whole.items()}
    about = {"peft_type": "IA3", "task_type": task_of(layout, saved), "base_model_name_or_path": base}
    config = about | {"inference_mode": True, **fields, "modules_to_save": saved or None}
    write_adapter(folder, {PREFIX + tensor: array for tensor, array in tensors.items()}, config)


def join_ia3(layout: ModelLayout, held: Mapping[str, IA3Factors]) -> tuple[dict[str, numpy.ndarray], dict[str, Any]]:
    """The tensors of the file, by name, and the fields of its configuration.

    Raises
    ------
    ValueError
        If the inputs of a fused projection are scaled for some of its layers, or differently.
    """
    tensors: dict[str, numpy.ndarray] = {}
    feedforward: list[str] = []
    for module, paths in layout.linear.items():
        parts = {path: held[path] for path in paths if path in held}
        if not parts:
            continue
        values = {path: to_numpy(part.l.data) for path, part in parts.items()}
        first = next(iter(values.values()))
        if any(part.of_inputs for part in parts.values()):
            alike = all(part.of_inputs and numpy.array_equal(values[path], first) for path, part in parts.items())
            if len(parts) < len(paths) or not alike:
                raise ValueError(f"{paths[0]} reads the inputs of all of PEFT's {module}, so their l must be the same")
            tensors[f"{module}.ia3_l"] = first[None, :]  # (1, I)
            feedforward.append(module)
        else:
            ones = {path: numpy.ones(len(layout.parameters[f"{path}.W"].data), first.dtype) for path in paths}
            tensors[f"{module}.ia3_l"] = numpy.concatenate(list((ones | values).values()))[:, None]  # (n O, 1)
    scaled = [name.removesuffix(".ia3_l") for name in tensors]
    rest = [module for module in scaled if module not in feedforward]
    inputs = short_names(feedforward, layout.linear, parts=2)  # mlp.c_proj: the attention has a c_proj too
    return tensors, {
        "target_modules": [*short_names(rest, layout.linear, parts=2), *inputs],  # PEFT wants these very names in it
        "feedforward_modules": inputs,
        "fan_in_fan_out": layout.transposed,
    }

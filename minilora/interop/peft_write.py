"""Writing PEFT's files, of whichever kind of adapter: the two files, and where what an adapter has besides stands."""

import json
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
from safetensors.numpy import save

from minilora.arrays.backend import to_numpy
from minilora.arrays.finite import check_finite
from minilora.files import write_together
from minilora.interop.peft_layouts import CONFIG, TENSORS, ModelLayout
from minilora.interop.peft_settings import short_names
from minilora.parameter import Parameter


def write_adapter(folder: str | Path, tensors: Mapping[str, numpy.ndarray], config: Mapping[str, Any]) -> None:
    """Write both files of an adapter, or none: tensors by their full names, and adapter_config.json."""
    check_finite(tensors, folder)
    content = save(dict(tensors), metadata={"format": "pt"})
    write_together({Path(folder) / TENSORS: content, Path(folder) / CONFIG: json.dumps(config, indent=1) + "\n"})


def task_of(layout: ModelLayout, saved: Container[str]) -> str | None:
    """PEFT's task_type. With a classifier's adapter, PEFT expects the classifier too, so without it there is none."""
    return layout.task if layout.task != "SEQ_CLS" or "classifier" in saved else None


def values_of(layout: ModelLayout, tensor: str, parameters: Iterable[Parameter]) -> numpy.ndarray:
    """A tensor of PEFT's file with the values of these parameters, of which it holds the rows."""
    values = numpy.concatenate([to_numpy(p.data) for p in parameters])
    return numpy.ascontiguousarray(values.T) if layout.is_transposed(tensor) else values


def places_of(
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

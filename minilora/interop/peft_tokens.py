"""Trainable tokens in PEFT's format: the rows of the token embedding, (S, C), and the ids in the configuration.

Where the head is tied, PEFT's head reads the same rows; a file can hold them twice.
"""

from pathlib import Path
from typing import Any

import numpy

from minilora.arrays.backend import to_numpy
from minilora.arrays.finite import check_finite
from minilora.interop.peft_fields import names_config, read_fields, refuse
from minilora.interop.peft_layouts import CONFIG, PREFIX, TENSORS, ModelLayout
from minilora.interop.peft_tensors import read_stored, stored_tensors
from minilora.interop.peft_write import write_adapter
from minilora.methods.state import NamedAdapter, adapters_of
from minilora.methods.switching import add_adapter, base_in_place, check_new_name, set_adapter
from minilora.methods.trainable_tokens import TrainableTokensConfig, token_parts
from minilora.models.model import Model

ROWS = ".trainable_tokens_delta"  # their values, in spite of the name
FIELDS: dict[str, Any] = {"token_indices": None, "target_modules": None}


def load_tokens(model: Model, folder: Path, name: str) -> None:
    """Add the trained tokens that PEFT saved to a model; see `load_peft`."""
    layout, path = ModelLayout(model), folder / CONFIG
    fields = read_fields(path, FIELDS, ("init_weights", "task_type"))
    try:
        config = TrainableTokensConfig(fields["token_indices"])
    except ValueError as error:
        refuse(path, "token_indices", fields["token_indices"], str(error).rpartition("; ")[2])
    (module,) = layout.embeddings
    if fields["target_modules"] is not None:
        chosen = names_config(path, "TRAINABLE_TOKENS", {"target_modules": fields["target_modules"]})
        if chosen.targets([*layout.whole, *layout.tied]) != [module]:
            refuse(path, "target_modules", fields["target_modules"], f"it must be the token embedding, {module}")
    stored = stored_tensors(folder / TENSORS, layout)
    shape: tuple[int, ...] = (len(config.tokens), model.config.d_model)
    shapes = {f"{m}{ROWS}": shape for m in (module, *layout.tied) if m == module or f"{m}{ROWS}" in stored}
    tensors = read_stored(folder / TENSORS, stored, shapes)
    check_finite(tensors, folder / TENSORS)
    rows = tensors[f"{module}{ROWS}"]
    if other := [tensor for tensor, values in tensors.items() if not numpy.array_equal(values, rows)]:
        raise ValueError(f"{folder / TENSORS}: {other[0]} differs from {module}{ROWS}, to which minilora ties it")
    check_new_name(model, name)
    with base_in_place(model):
        try:
            parts = token_parts(model, config, rows)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    if layout.new:
        refuse(path, "target_modules", fields["target_modules"], "PEFT's file has no place for a classifier's head")
    set_adapter(model, None)
    add_adapter(model, name, NamedAdapter(config, parts))


def save_tokens(model: Model, folder: Path, name: str, base: str | None) -> None:
    """Write trained tokens; arguments and errors are those of `save_peft`."""
    layout, adapter = ModelLayout(model), adapters_of(model).named[name]
    if layout.new:
        raise ValueError(f"model was a {type(model).__name__}; PEFT's trainable tokens have no place for its head")
    ((module, path),) = layout.embeddings.items()
    config = {
        "peft_type": "TRAINABLE_TOKENS",
        "task_type": layout.task,
        "base_model_name_or_path": base,
        "inference_mode": True,
        "token_indices": list(adapter.config.tokens),
        "target_modules": [module],
    }
    write_adapter(folder, {f"{PREFIX}{module}{ROWS}": to_numpy(adapter.parts[path].P.data)}, config)

"""Prompt tuning in PEFT's format: one tensor, prompt_embeddings (n, C), which names no module."""

from pathlib import Path
from typing import Any

import numpy

from minilora.arrays.backend import to_numpy
from minilora.arrays.finite import check_finite
from minilora.interop.foreign_files import check_dtype, read_tensor, tensors_in
from minilora.interop.peft_fields import read_fields, refuse
from minilora.interop.peft_layouts import CONFIG, TENSORS
from minilora.interop.peft_write import write_adapter
from minilora.limits import shown
from minilora.methods.prompt_tuning import PromptTuningConfig, apply_prompt_tuning
from minilora.methods.state import adapters_of
from minilora.models.model import Model

TENSOR = "prompt_embeddings"
FIELDS: dict[str, Any] = {"num_virtual_tokens": None, "num_transformer_submodules": 1, "task_type": None}
NO_MATTER = (  # of the start, and what follows from the model
    "prompt_tuning_init",
    "prompt_tuning_init_text",
    "tokenizer_name_or_path",
    "tokenizer_kwargs",
    "token_dim",
    "num_attention_heads",
    "num_layers",
)


def load_prompt(model: Model, folder: Path, name: str) -> None:
    """Add the embeddings of prompt tuning that PEFT saved to a decoder; see `load_peft`."""
    config, path = folder / CONFIG, folder / TENSORS
    fields = read_fields(config, FIELDS, NO_MATTER)
    n = fields["num_virtual_tokens"]
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        refuse(config, "num_virtual_tokens", n, "it must be an integer of at least 1")
    if fields["task_type"] not in (None, "CAUSAL_LM"):
        refuse(config, "task_type", fields["task_type"], "minilora has prompt tuning for decoders, 'CAUSAL_LM'")
    if fields["num_transformer_submodules"] not in (None, 1):
        refuse(config, "num_transformer_submodules", fields["num_transformer_submodules"], "a decoder has 1")
    stored, C = tensors_in(path), model.config.d_model
    if set(stored) != {TENSOR}:
        raise ValueError(f"{path} holds {', '.join(map(shown, sorted(stored)[:3]))}; it must hold {TENSOR} alone")
    if stored[TENSOR].shape != (n, C):
        raise ValueError(
            f"{path}: {TENSOR} has shape {stored[TENSOR].shape}; by {CONFIG} and the model it must be {n, C}"
        )
    check_dtype(stored[TENSOR])
    values = read_tensor(stored[TENSOR])
    check_finite({TENSOR: values}, path)
    apply_prompt_tuning(model, PromptTuningConfig(n), rng=numpy.random.default_rng(0), name=name)
    P = model.prefix.tables[0].W  # type: ignore[attr-defined]
    P.data[...] = model.xp.asarray(values.astype(P.data.dtype))


def save_prompt(model: Model, folder: Path, name: str, base: str | None) -> None:
    """Write the embeddings of prompt tuning; arguments and errors are those of `save_peft`."""
    adapter, c = adapters_of(model).named[name], model.config
    config = {
        "peft_type": "PROMPT_TUNING",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "inference_mode": True,
        "num_virtual_tokens": adapter.config.length,
        "token_dim": c.d_model,
        "num_transformer_submodules": 1,
        "num_attention_heads": c.n_head,
        "num_layers": c.n_layer,
        "prompt_tuning_init": "RANDOM",
    }
    write_adapter(folder, {TENSOR: to_numpy(adapter.parts["prefix"].tables[0].W.data)}, config)

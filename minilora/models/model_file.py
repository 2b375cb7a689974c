"""A model as one safetensors file, with its configuration, and the kind of model that it is."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy

from minilora.arrays.backend import to_device, to_numpy
from minilora.arrays.finite import check_finite
from minilora.files import load_arrays, save_arrays
from minilora.limits import one_line_errors
from minilora.models.checks import check_precision, check_stored_precision
from minilora.models.classification import DebertaForClassification, RobertaForClassification
from minilora.models.deberta import Deberta, DebertaConfig
from minilora.models.gpt import GPT, GPTConfig
from minilora.models.initial import Uninitialized
from minilora.models.llama import Llama, LlamaConfig
from minilora.models.masked_lm import RobertaForMaskedLM
from minilora.models.model import Model
from minilora.models.roberta import Roberta, RobertaConfig
from minilora.parameter import Module

KINDS = {  # what a file can hold: the model and its configuration
    "gpt": (GPT, GPTConfig),
    "llama": (Llama, LlamaConfig),
    "roberta": (Roberta, RobertaConfig),
    "roberta-classification": (RobertaForClassification, RobertaConfig),
    "roberta-masked-lm": (RobertaForMaskedLM, RobertaConfig),
    "deberta": (Deberta, DebertaConfig),
    "deberta-classification": (DebertaForClassification, DebertaConfig),
}


def save_model(model: Model, path: str | Path, *, dtype: str | None = None, **about: Any) -> None:
    """Write a model with its configuration to one safetensors file.

    Parameters
    ----------
    model : Model
        Any of those in KINDS, without adapters.
    path : str or Path
    dtype : {"float16", "float32", "float64"}, optional
        The dtype of the weights in the file; the model's own, if not given.
    **about
        Anything that JSON can hold; saved with the model.

    Raises
    ------
    ValueError
        If the model holds adapters, which have files of their own; or a weight is not finite, or not in this dtype.
    TypeError
        If it is not one of these models.
    """
    if dtype is not None:
        check_stored_precision(dtype)
    kind = plain_kind(model)
    arrays = {name: to_numpy(p.data).astype(dtype or p.data.dtype) for name, p in model.named_parameters()}
    check_finite(arrays, path)
    save_arrays(path, arrays, {**about, "kind": kind, "config": asdict(model.config)})


def plain_kind(model: Model) -> str:
    """The kind of a model, one of KINDS, without adapters; see `save_model` for the errors."""
    kind = next((kind for kind, (model_class, _) in KINDS.items() if isinstance(model, model_class)), None)
    if kind is None:
        possible = ", ".join(model_class.__name__ for model_class, _ in KINDS.values())
        raise TypeError(f"model was a {type(model).__name__}; it must be one of {possible}")
    plain = {name for name, _ in KINDS[kind][0](model.config, Uninitialized()).named_parameters()}
    if added := [name for name, _ in model.named_parameters() if name not in plain]:
        raise ValueError(
            f"the model holds {added[0]}, which a plain {type(model).__name__} does not have: an adapter must be saved "
            "by save_adapter, or merged and removed (merge_lora, remove_lora), or switched off"
        )
    return kind


@one_line_errors()
def load_model(path: str | Path, *, dtype: str = "float32", device: str = "cpu") -> Any:
    """Read a model that `save_model` wrote. Everything in it is trainable.

    Raises
    ------
    ValueError
        If the file is not such a model; the message names the file and the parameter.
    """
    arrays, about = load_arrays(path, *KINDS)
    model_class, config_class = KINDS[about["kind"]]
    try:
        config = config_class(**about["config"])
    except (KeyError, TypeError, ValueError) as error:
        name = model_class.__name__
        raise ValueError(f"{path} has no readable configuration of a {name}: {error}") from None
    if config.n_layer > len(arrays):
        raise ValueError(f"{path}: n_layer was {config.n_layer}, and the file holds {len(arrays)} tensors in all")
    check_precision(dtype)
    try:
        model = model_class(config, Uninitialized(), dtype=dtype, device=device)
    except ValueError as error:
        raise ValueError(f"{path} has the configuration of a model that is too large: {error}") from None
    check_arrays(model, arrays, path)
    fill(model, arrays.items(), device)
    return model


def check_arrays(model: Model, arrays: Mapping[str, numpy.ndarray], path: str | Path) -> None:
    """Raise ValueError unless each parameter has an array of floating-point numbers of its shape."""
    parameters = dict(model.named_parameters())
    if missing := sorted(parameters.keys() - arrays.keys()):
        raise ValueError(f"{path} lacks {', '.join(missing)}")
    if unknown := sorted(arrays.keys() - parameters.keys()):
        raise ValueError(f"{path} holds {', '.join(unknown)}, which the model does not have")
    for name, p in parameters.items():
        if arrays[name].shape != p.data.shape:
            raise ValueError(f"{path}: {name} has shape {arrays[name].shape}; the model's has {p.data.shape}")
        if arrays[name].dtype.kind != "f":
            raise ValueError(f"{path}: {name} is {arrays[name].dtype}; it must be floating-point numbers")


def fill(model: Module, arrays: Iterable[tuple[str, numpy.ndarray]], device: str) -> None:
    """Give the parameters of a model that was made with `Uninitialized` their values.

    Parameters
    ----------
    model : Module
    arrays : iterable of (str, ndarray)
        A parameter's name and its values, on the host; they are copied, in the model's dtype.
    device : {"cpu", "gpu", "auto"}
        Where the parameters will live.
    """
    parameters = dict(model.named_parameters())
    for name, array in arrays:
        p = parameters[name]
        check_finite({name: array}, f"the file of this {type(model).__name__}")
        p.data = to_device(numpy.array(array, dtype=p.data.dtype, order="C"), device)

"""A model as one safetensors file, with its configuration."""

from dataclasses import asdict

import numpy

from minilora.backend import to_numpy
from minilora.files import load_arrays, save_arrays
from minilora.layers import Adapter, LoRALinear, Prefix
from minilora.models.gpt import GPT, GPTConfig


def save_model(model, path, *, dtype=None, **about):
    """Write a GPT with its configuration to one safetensors file.

    Parameters
    ----------
    model : GPT
    path : str or Path
    dtype : str, optional
        In which the file keeps the weights; the model's own, if not given.
    **about
        Anything that JSON can hold, kept with the model.

    Raises
    ------
    ValueError
        If the model holds adapters, which have files of their own.
    """
    if any(isinstance(module, LoRALinear) for _, module in model.named_modules()):
        raise ValueError("the model holds adapters: save_adapter saves one; merge_lora and remove_lora make it plain")
    if any(isinstance(m, Adapter) or (isinstance(m, Prefix) and m.length) for _, m in model.named_modules()):
        raise ValueError("the model holds what cannot be merged, adapters or a prefix: save_adapter saves them")
    arrays = {name: to_numpy(p.data).astype(dtype or p.data.dtype) for name, p in model.named_parameters()}
    save_arrays(path, arrays, {**about, "kind": "gpt", "config": asdict(model.config)})


def load_model(path, *, dtype="float32", device="cpu"):
    """Read a GPT that `save_model` wrote. Everything in it is trainable.

    Raises
    ------
    ValueError
        If the file is not such a model; the message names the file and the parameter.
    """
    arrays, about = load_arrays(path, "gpt")
    try:
        config = GPTConfig(**about["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} has no configuration of a GPT that can be read: {error}") from None
    model = GPT(config, numpy.random.default_rng(0), dtype=dtype, device=device)
    fill_parameters(model, arrays, path)
    return model


def fill_parameters(model, arrays, path):
    """Copy arrays into the parameters of the same names, all or none.

    Raises
    ------
    ValueError
        If a name is missing or unknown, or a shape differs.
    """
    parameters = dict(model.named_parameters())
    if missing := sorted(parameters.keys() - arrays.keys()):
        raise ValueError(f"{path} lacks {', '.join(missing)}")
    if unknown := sorted(arrays.keys() - parameters.keys()):
        raise ValueError(f"{path} holds {', '.join(unknown)}, which the model does not have")
    for name, p in parameters.items():
        if arrays[name].shape != p.data.shape:
            raise ValueError(f"{path}: {name} has shape {arrays[name].shape}; the model's has {p.data.shape}")
    for name, p in parameters.items():
        p.data[...] = model.xp.asarray(arrays[name].astype(p.data.dtype))

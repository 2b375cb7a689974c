"""An adapter as a file of its own: A and B of every layer, and the configuration; a few kilobytes beside the model."""

from dataclasses import asdict

from minilora.files import load_arrays, save_arrays
from minilora.methods.lora import LoRAConfig, adapter_names, attach, lora_layers, make_factors, shape_of, target_layers


def save_adapter(model, path, *, name=None):
    """Write one adapter, and nothing of its base, to a safetensors file.

    Parameters
    ----------
    model : Module
    path : str or Path
    name : str, optional
        The active adapter, if not given.

    Raises
    ------
    ValueError
        If there is no such adapter.
    """
    arrays, config = {}, None
    for layer_path, layer in lora_layers(model).items():
        factors = layer.adapters.get(name or layer.active)
        if factors is not None:
            arrays |= {f"{layer_path}.A": factors.A.data, f"{layer_path}.B": factors.B.data}
            config = factors.config
    if config is None:
        raise ValueError(f"name was {name!r}; the model's adapters are {adapter_names(model)}, and none of them fits")
    save_arrays(path, arrays, {"kind": "lora", "config": asdict(config)})


def load_adapter(model, path, *, name="default"):
    """Add the adapter in a file to a model, make it the active one, and freeze everything else.

    Parameters
    ----------
    model : Module
    path : str or Path
    name : str

    Raises
    ------
    ValueError
        If the file does not fit the model; the message names file and parameter, and the model is unchanged.
    """
    arrays, about = load_arrays(path, "lora")
    try:
        config = LoRAConfig(**about["config"])
        layers = target_layers(model, config)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} has no LoRA configuration that fits this model: {error}") from None
    expected = {f"{p}.{letter}" for p in layers for letter in "AB"}
    if arrays.keys() != expected:
        odd = sorted(arrays.keys() ^ expected)
        raise ValueError(f"{path} does not fit the model: {odd[0]} is only in one of them")
    factors = {}
    for layer_path, layer in layers.items():
        A, B = arrays[f"{layer_path}.A"], arrays[f"{layer_path}.B"]
        (O, I), r = shape_of(layer), config.rank_of(layer_path)
        if A.shape != (r, I) or B.shape != (O, r):
            raise ValueError(
                f"{path}: {layer_path} has A {A.shape} and B {B.shape}; model and rank want {(r, I)} and {(O, r)}"
            )
        factors[layer_path] = make_factors(layer_path, layer, config, A, B)
    attach(model, factors, name)

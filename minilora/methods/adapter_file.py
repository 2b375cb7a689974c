"""What a method has learned as a file of its own: its configuration and what it trained, and of the base its id alone.

For LoRA these are A and B of every layer (DoRA's m, and PiSSA's A0 and B0, from which its frozen weights follow); for
any other method the trained parameters under their own names. A few kilobytes beside the model.
"""

from minilora.files import load_arrays, save_arrays
from minilora.limits import one_line_errors
from minilora.methods.lora import adapter_names, attach, lora_layers, make_factors, shape_of, target_layers
from minilora.methods.lora_config import LoRAConfig
from minilora.methods.registry import KINDS, apply_method, described
from minilora.methods.selection import method_of, new_parameters
from minilora.models.weights_id import arrays_id


def save_adapter(model, path, *, name=None):
    """Write what the model's method has learned, and which base it belongs to, to a safetensors file.

    Parameters
    ----------
    model : Module
    path : str or Path
    name : str, optional
        A LoRA adapter; if not given, the active one, or what the model's other method has trained.

    Raises
    ------
    ValueError
        If there is no such adapter, and no method.
    """
    config = method_of(model)
    if name is None and config is not None and not isinstance(config, LoRAConfig):
        arrays = {parameter: p.data for parameter, p in model.named_parameters() if p.trainable}
    else:
        arrays, config = _lora_arrays(model, name)
    save_arrays(path, arrays, {**described(config), "base": _base_id(model, arrays)})


def _base_id(model, learned):
    """An id of the weights that stay as they are: all but `learned`, under the names that a plain model has for them.

    Parameters
    ----------
    model : Module
    learned : container of str
        The names of what an adapter's file holds.
    """
    layers = lora_layers(model)
    factors = {f"{path}.{name}" for path, layer in layers.items() for name, _ in layer.members() if name != "base"}
    frozen = {name: p.data for name, p in model.named_parameters() if name not in factors and name not in learned}
    frozen |= {f"{path}.base.W": layer.frozen_W for path, layer in layers.items()}
    return arrays_id({name.replace(".base.", "."): array for name, array in frozen.items()})


def _lora_arrays(model, name):
    arrays, config = {}, None
    for layer_path, layer in lora_layers(model).items():
        factors = layer.adapters.get(name or layer.active)
        if factors is not None:
            arrays |= {f"{layer_path}.{letter}": array for letter, array in factors.arrays().items()}
            config = factors.config
    if config is None:
        raise ValueError(f"name was {name!r}; the model's adapters are {adapter_names(model)}, and none of them fits")
    return arrays | {path: p.data for path, p in new_parameters(model).items()}, config


@one_line_errors()
def load_adapter(model, path, *, name="default", other_base=False):
    """Put what is in a file into a model, make it what is active and trained, and freeze everything else.

    LoRA comes beside the base, under a name. Adapters and a prefix come into the model; BitFit, FT-top-k and full
    fine-tuning take the place of the base's own values.

    Parameters
    ----------
    model : Module
    path : str or Path
    name : str
        For LoRA.
    other_base : bool
        Take it also where the model's frozen weights are not those beside which it was trained: what comes out is
        then neither what was trained nor measured.

    Raises
    ------
    ValueError
        If the file does not fit the model, or was trained on another base; the message names file and parameter, and
        the model is unchanged.
    """
    arrays, about = load_arrays(path, *KINDS)
    kind = about["kind"]
    try:
        config = KINDS[kind][0](**about["config"])
        if kind == "lora":
            layers = target_layers(model, config)
            expected = _lora_shapes(model, layers, config)
        else:
            expected = _trained_shapes(model, config)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        title = {"lora": "LoRA"}.get(kind, kind)
        raise ValueError(f"{path} has no {title} configuration that fits this model: {error}") from None
    _check_arrays(arrays, expected, path)
    if not other_base and about.get("base") not in (None, _base_id(model, expected)):  # older files do not say
        raise ValueError(
            f"{path} was trained on another base: this {type(model).__name__} has the same shapes, but other weights "
            "(load_adapter(model, path, other_base=True) takes it all the same)"
        )
    if kind == "lora":
        factors = {}
        for layer_path, layer in layers.items():
            own = {letter: arrays[f"{layer_path}.{letter}"] for letter in _letters(config)}
            factors[layer_path] = make_factors(layer_path, layer, config, **own)
        attach(model, factors, name)
        learned = new_parameters(model)
    else:
        apply_method(model, config)
        learned = {p.name: p for p in model.trainable_parameters()}
    for parameter, p in learned.items():
        p.data[...] = model.xp.asarray(arrays[parameter].astype(p.data.dtype))


def classes_in(path):
    """How many classes the head in an adapter's file tells apart; None if it holds none, such as a decoder's.

    Raises
    ------
    ValueError
        If the file holds no adapter.
    """
    arrays, _ = load_arrays(path, *KINDS)
    bias = arrays.get("head.out_proj.bias")
    return None if bias is None else len(bias)


def _letters(config):
    """What a file holds of each LoRA layer."""
    return ("A", "B", *(("m",) if config.dora else ()), *(("A0", "B0") if config.init == "pissa" else ()))


def _lora_shapes(model, layers, config):
    expected = {}
    for path, layer in layers.items():
        (O, I), r = shape_of(layer), config.rank_of(path)
        shapes = {"A": (r, I), "B": (O, r), "m": (O,), "A0": (r, I), "B0": (O, r)}
        expected |= {f"{path}.{letter}": shapes[letter] for letter in _letters(config)}
    return expected | {path: p.data.shape for path, p in new_parameters(model).items()}


def _trained_shapes(model, config):
    trial = model.replica()  # on the model's own arrays; what is put into it is not put into the model
    apply_method(trial, config)
    return {path: p.data.shape for path, p in trial.named_parameters() if p.trainable}


def _check_arrays(arrays, expected, path):
    if arrays.keys() != expected.keys():
        odd = sorted(arrays.keys() ^ expected.keys())
        raise ValueError(f"{path} does not fit the model: {odd[0]} is only in one of them")
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            raise ValueError(f"{path}: {name} has shape {arrays[name].shape}; model and configuration want {shape}")

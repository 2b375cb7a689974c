"""What a method has learned, as a file: its configuration, what it trained, and the id of the base it belongs to.

For LoRA these are A and B of every layer (DoRA's m, and PiSSA's A0 and B0, from which its frozen weights follow), and
what else belongs to the adapter; for any other method, the trained parameters under their own names. That is a few
kilobytes, apart from the model.
"""

import warnings
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import numpy

from minilora.arrays.backend import Array
from minilora.arrays.finite import check_finite
from minilora.files import load_arrays, save_arrays
from minilora.layers.linear import Linear
from minilora.limits import one_line_errors
from minilora.methods.base_id import about_base, base_id, in_words, unquantized_id
from minilora.methods.full import FullConfig
from minilora.methods.lora.apply import attach, make_factors, own_of, shape_of, target_layers
from minilora.methods.lora.config import FROM_W, LoRAConfig
from minilora.methods.lora.layer import LoRALinear
from minilora.methods.misplaced import check_is_file
from minilora.methods.quantization import quantization_of
from minilora.methods.registry import KINDS, apply_method, to_dict
from minilora.methods.selection import copies, new_parameters, once, plain
from minilora.methods.state import adapters_of, method_of
from minilora.methods.switching import (
    active_parameters,
    adapter_names,
    base_in_place,
    base_parameters,
    check_all_own,
    check_new_name,
    lora_layers,
    refuse_merged,
    set_adapter,
)
from minilora.methods.vera import vera_shapes
from minilora.models.checks import check_stored_precision
from minilora.parameter import Module


def save_adapter(model: Module, path: str | Path, *, name: str | None = None, dtype: str | None = None) -> None:
    """Write what an adapter has learned, and which base it belongs to, to a safetensors file.

    Parameters
    ----------
    model : Module
    path : str or Path
    name : str, optional
        The active adapter, if not given; or, if there is none, what full fine-tuning has trained.
    dtype : {"float16", "float32", "float64"}, optional
        What the numbers are rounded to in the file; the model's own, if not given.

    Raises
    ------
    ValueError
        If there is no such adapter; if the model trains something that is not part of the active one; or if a number
        is not finite, or not in this dtype.
    """
    if dtype is not None:
        check_stored_precision(dtype)
    adapters = adapters_of(model)
    which = name if name is not None else adapters.active
    if which is None and isinstance(method_of(model), FullConfig):
        arrays, config = {p: q.data for p, q in base_parameters(model).items()}, FullConfig()
    elif which in adapters.named:
        if which == adapters.active:
            check_all_own(model)
        arrays, config = _arrays_of(model, which), adapters.named[which].config
    else:
        raise ValueError(f"name was {name!r}; the model's adapters are {adapter_names(model)}, and none of them fits")
    if dtype is not None:
        with numpy.errstate(over="ignore"):  # what becomes infinite is refused
            arrays = {name: array.astype(dtype) for name, array in arrays.items()}
    check_finite(arrays, path)
    save_arrays(path, arrays, {**to_dict(config), **about_base(model, arrays)})


def _arrays_of(model: Module, name: str) -> dict[str, Array]:
    """The arrays of an adapter's file, by name."""
    layers = {plain(path): layer for path, layer in lora_layers(model).items() if name in layer.adapters}
    held = ((p, layer.adapters[name].arrays()) for p, layer in layers.items())
    arrays = once({f"{p}.{letter}": a for p, own in held for letter, a in own.items()})
    if layers:  # LoRA from elsewhere may have no head of its own: then it belongs to the base's
        new = new_parameters(model).keys() - {f"{path}.W" for path in layers}
        arrays |= {path: p.data for path, p in base_parameters(model).items() if path in new}
    return arrays | {path: p.data for path, p in adapters_of(model).named[name].own_parameters().items()}


@one_line_errors()
def load_adapter(model: Module, path: str | Path, *, name: str | None = None, other_base: bool = False) -> None:
    """Load an adapter's file into a model, make it active and trainable, and freeze everything else.

    The adapter is added to the base under a name, and `set_adapter` switches it. Full fine-tuning, however, replaces
    the base's own values.

    Parameters
    ----------
    model : Module
    path : str or Path
    name : str, optional
        "default" for LoRA, if not given; the kind of method for others, such as "bitfit".
    other_base : bool
        Accept it even if the model's frozen weights are not those that it was trained with: the result is then
        neither what was trained nor what was measured. The same base in other bits is accepted in any case, with a
        warning: see `base_id.py`.

    Raises
    ------
    ValueError
        If the file does not fit the model, or was trained on another base; the message names file and parameter, and
        the model is unchanged.
    """
    check_is_file(Path(path))
    arrays, about = load_arrays(path, *KINDS)
    kind = about["kind"]
    own_name = name if name is not None else "default" if kind == "lora" else kind
    if kind == "full":
        refuse_merged(model)
    else:
        check_new_name(model, own_name)
    try:
        config = KINDS[kind][0](**about["config"])
        if kind == "lora":
            with base_in_place(model):
                layers = target_layers(model, config, any_rank=True, embeddings=True)
            own = own_of(model, config, layers)
            expected = _lora_shapes(layers, config) | {path: p.data.shape for path, p in own.items()}
        elif kind == "vera":
            expected = vera_shapes(model, config)
        else:
            expected = _trained_shapes(model, config)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        title = {"lora": "LoRA"}.get(kind, kind)
        raise ValueError(f"{path} has no {title} configuration that fits this model: {error}") from None
    _check_arrays(arrays, expected, path)
    check_finite(arrays, path)
    if not other_base:
        _check_base(model, expected, about, path)
    if kind == "lora":
        factors = {}
        for layer_path, layer in layers.items():
            letters = {letter: arrays[f"{layer_path}.{letter}"] for letter in _letters(config)}
            factors[layer_path] = make_factors(layer_path, layer, config, **letters)
        attach(model, own_name, config, factors, copies(own))
        learned = adapters_of(model).named[own_name].own_parameters()
    else:
        apply_method(model, config, name=name if kind == "full" else own_name)
        learned = active_parameters(model) or base_parameters(model)
    for parameter in learned.keys() & arrays.keys():  # a constant may have been drawn instead
        p = learned[parameter]
        p.data[...] = model.xp.asarray(arrays[parameter].astype(p.data.dtype))


def _check_base(model: Module, learned: Container[str], about: Mapping[str, Any], path: str | Path) -> None:
    """Raise ValueError if an adapter was trained on another base; warn if on the same one in other bits."""
    if about.get("base") in (None, base_id(model, learned)):  # older files do not say
        return
    if about.get("unquantized_base") != unquantized_id(model, learned):
        raise ValueError(
            f"{path} was trained on another base: this {type(model).__name__} has the same shapes, but other weights "
            "(load_adapter(model, path, other_base=True) accepts it all the same)"
        )
    then, now = in_words(about.get("quantization")), in_words(quantization_of(model))
    says = f"{path} was trained on this base {then}, which is {now} here"
    if then == now:  # such as by LoftQ
        says = f"{path} was trained on this base quantised otherwise"
    warnings.warn(f"{says}: the result is neither what was trained nor what was measured", stacklevel=4)


def classes_in(path: str | Path) -> int | None:
    """How many classes the head in an adapter's file has; None if it has no head, such as a decoder's.

    Raises
    ------
    ValueError
        If the file does not hold an adapter.
    """
    arrays, _ = load_arrays(path, *KINDS)
    bias = arrays.get("head.out_proj.bias")
    return None if bias is None else len(bias)


def _letters(config: LoRAConfig) -> tuple[str, ...]:
    """The names of the arrays that a file holds for each LoRA layer."""
    return ("A", "B", *(("m",) if config.dora else ()), *(("A0", "B0") if config.init in FROM_W else ()))


def _lora_shapes(layers: Mapping[str, Linear | LoRALinear], config: LoRAConfig) -> dict[str, tuple[int, ...]]:
    expected: dict[str, tuple[int, ...]] = {}
    for path, layer in layers.items():
        (O, I), r = shape_of(layer), config.rank_of(path)
        shapes = {"A": (r, I), "B": (O, r), "m": (O,), "A0": (r, I), "B0": (O, r)}
        expected |= {f"{path}.{letter}": shapes[letter] for letter in _letters(config)}
    return expected


def _trained_shapes(model: Module, config: Any) -> dict[str, tuple[int, ...]]:
    trial = model.replica()  # shares the model's arrays; what is added to it is not added to the model
    set_adapter(trial, None)
    adapters_of(trial).named.clear()  # so that every name is free in it
    apply_method(trial, config)
    return {path: p.data.shape for path, p in (active_parameters(trial) or base_parameters(trial)).items()}


def _check_arrays(arrays: dict[str, numpy.ndarray], expected: dict[str, tuple[int, ...]], path: str | Path) -> None:
    if arrays.keys() != expected.keys():
        odd = sorted(arrays.keys() ^ expected.keys())
        raise ValueError(f"{path} does not fit the model: {odd[0]} is only in one of them")
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            raise ValueError(f"{path}: {name} has shape {arrays[name].shape}; model and configuration want {shape}")

"""An adapter that PEFT saved: a folder with adapter_config.json and adapter_model.safetensors.

A and B are (r, in) and (out, r) there too, even if the weight itself is transposed. What differs is names
(`peft_layouts.py`) and fused projections (`fused.py`). If ranks or alphas differ between layers, LoRAConfig's patterns
hold them by the whole path of each layer, so that the result is an ordinary adapter.
"""

from pathlib import Path

from minilora.arrays.finite import check_finite
from minilora.interop.foreign_files import check_dtype, read_tensor, tensors_in
from minilora.interop.fused import Factors, split
from minilora.interop.peft_config import read_config
from minilora.interop.peft_layouts import CONFIG, MAGNITUDE, PREFIX, TENSORS, ModelLayout
from minilora.interop.peft_settings import fits, ranks_and_alphas, short_names
from minilora.limits import one_line_errors
from minilora.methods import LoRAConfig
from minilora.methods.lora.apply import attach, make_factors, target_layers
from minilora.methods.switching import base_in_place
from minilora.parameter import Parameter

PEFTS_OWN = ("classifier", "score")  # PEFT adds both to modules_to_save of a classifier, whichever the model has


@one_line_errors()
def load_peft(model, folder, *, name="default"):
    """Add a LoRA or DoRA adapter that PEFT saved to a model, make it the active one, and freeze everything else.

    What the adapter holds besides A and B (modules_to_save, bias) belongs to it too: it is switched with the adapter.

    Parameters
    ----------
    model : GPT, Roberta, RobertaForMaskedLM, RobertaForClassification, Deberta or DebertaForClassification
    folder : str or Path
    name : str

    Raises
    ------
    ValueError
        If the adapter uses something that minilora does not compute, or does not fit the model, or a file is missing or
        damaged. The message names the file, and the field or tensor; the model is then unchanged.
    """
    folder, layout = Path(folder), ModelLayout(model)
    config = read_config(folder / CONFIG, layout.transposed)
    saved = _saved_modules(config, layout)
    adapted = config.targets(layout.linear, saved)
    if not adapted:
        raise ValueError(f"{config.path}: target_modules was {config.target_modules!r}; the model has no such module")
    whole = {tensor: [path] for module in saved for tensor, path in layout.whole[module].items()}
    whole |= layout.biases(adapted, config.bias)
    tensors = _read(folder / TENSORS, _shapes(config, layout, adapted, whole))
    check_finite(tensors, folder / TENSORS)
    factors = _split_all(config, layout, adapted, tensors)
    try:
        ours = _our_config(config, layout, factors, whole)
        with base_in_place(model):
            layers = target_layers(model, ours)
    except ValueError as error:
        raise ValueError(f"{config.path}: {error}") from None
    made = {}
    for path, layer in layers.items():
        A, B, _, m = factors[path]
        made[path] = make_factors(path, layer, ours, A, B, m)
    parts = {}
    for tensor, paths in whole.items():
        parts |= _parts(layout, paths, tensors[tensor], model.xp)
    attach(model, name, ours, made, parts)


def _saved_modules(config, layout):
    """The modules that modules_to_save names, themselves or a module that contains them."""
    saved = []
    for name in config.modules_to_save or []:
        found = [module for module in layout.whole if any(fits(name, part) for part in _with_parents(module))]
        if not found and name not in PEFTS_OWN:
            possible = ", ".join(short_names(layout.whole, layout.whole, parts=1))
            raise ValueError(f"{config.path}: modules_to_save named {name!r}; minilora can replace {possible}")
        saved += found
    return list(dict.fromkeys(saved))


def _with_parents(module):
    parts = module.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts) + 1)]


def _shapes(config, layout, adapted, whole):
    """The shape of each tensor that the file must hold, by its name without PEFT's prefix."""
    shapes = {tensor: layout.shape_of(paths) for tensor, paths in whole.items()}
    for module in adapted:
        (O, I), (r, _) = layout.shape(module), config.rank_and_alpha(module)
        shapes |= {f"{module}.lora_A.weight": (r, I), f"{module}.lora_B.weight": (O, r)}
        if config.use_dora:
            shapes[module + MAGNITUDE] = (O,)
    return shapes


def _read(path, shapes):
    """The tensors of a file; they must be exactly those in `shapes`."""
    pickles = sorted(file.name for file in path.parent.glob("adapter_model.*") if file != path)
    if pickles and not path.is_file():
        raise ValueError(
            f"there is no file {path}, only {pickles[0]}, which can run code and is not opened: save it as safetensors"
        )
    stored = tensors_in(path)
    expected = {PREFIX + tensor: shape for tensor, shape in shapes.items()}
    for name, tensor in stored.items():
        if name not in expected:
            raise ValueError(f"{path} holds {name}, which {CONFIG} does not ask for, or the model does not have")
        if tensor.shape != expected[name]:
            raise ValueError(f"{path}: {name} has shape {tensor.shape}; {CONFIG} and the model want {expected[name]}")
        check_dtype(tensor)
    if missing := [name for name in expected if name not in stored]:
        raise ValueError(f"{path} lacks {missing[0]}")
    return {name.removeprefix(PREFIX): read_tensor(tensor) for name, tensor in stored.items()}


def _split_all(config, layout, adapted, tensors):
    """Factors by the path of our layer."""
    factors = {}
    for module in adapted:
        A, B = (tensors[f"{module}.lora_{letter}.weight"] for letter in "AB")
        m = tensors.get(module + MAGNITUDE)
        paths, (_, alpha) = layout.linear[module], config.rank_and_alpha(module)
        parts = split(Factors(A, B, alpha, m), len(paths), config.use_rslora)
        factors |= {path: part for path, part in zip(paths, parts, strict=True) if part is not None}
    return factors


def _our_config(config, layout, factors, whole):
    held = [path for paths in whole.values() for path in paths]
    rank, alpha, rank_pattern, alpha_pattern = ranks_and_alphas(factors)
    return LoRAConfig(
        rank=rank,
        alpha=alpha,
        targets=short_names(factors, [path for paths in layout.linear.values() for path in paths], parts=1),
        dropout=config.lora_dropout,
        rslora=config.use_rslora,
        dora=config.use_dora,
        rank_pattern=rank_pattern,
        alpha_pattern=alpha_pattern,
        besides=tuple(path for path in held if path not in layout.new),
    )


def _parts(layout, paths, values, xp):
    """Cut an array that holds the rows of several parameters, one after the other, into these, by our paths."""
    parts, start = {}, 0
    for path in paths:
        base = layout.parameters[path].data
        stop = start + len(base)
        data = xp.empty(base.shape, dtype=base.dtype)
        data[...] = xp.asarray(values[start:stop].astype(base.dtype))
        parts[path], start = Parameter(data), stop
    return parts

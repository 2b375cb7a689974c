"""QLoRA (Dettmers et al., 2023): the frozen matrices of a model in 4 or 8 bits, and LoRA beside them.

quantize(model, bits=4)                                  # NF4; in place
apply_lora(model, LoRAConfig(targets=ALL_SEVEN), rng=rng)
...train...

What is quantised: W of every Linear in every block. The embedding, the head, norms and biases stay as they are: they
are few, or looked up and not multiplied, and every logit depends on the head.
"""

from collections.abc import Callable, Mapping
from typing import Any

from minilora.arrays.backend import Array
from minilora.arrays.finite import check_finite
from minilora.layers import Linear, Packed, QuantizedParameter
from minilora.layers.quantized import pack_nf4, pack_q4_1, pack_q8_0
from minilora.limits import shown
from minilora.methods.selection import block_paths, plain
from minilora.methods.switching import adapter_names
from minilora.models.weights_hash import arrays_hash
from minilora.parameter import Module

BITS = {4: "nf4", 8: "q8_0"}
PACK = {"nf4": pack_nf4, "q4_1": pack_q4_1, "q8_0": pack_q8_0}
OF_32 = ("q4_1", "q8_0")  # kinds with blocks of 32 numbers of a row
LARGEST_FLOAT16 = 65504.0  # of their steps and offsets


def block_linears(model: Module) -> dict[str, Linear]:
    """Every Linear inside a block, by its path in the base: what can be quantised."""
    inside = tuple(f"{path}." for path in block_paths(model))
    modules = ((path, layer) for path, layer in model.named_modules() if path.startswith(inside))
    return {plain(path.removesuffix(".base")): layer for path, layer in modules if isinstance(layer, Linear)}


def quantize(model: Module, bits: int | str = 4, *, double: bool = True) -> None:
    """Keep W of every Linear in the model's blocks in 4 or 8 bits, in place; it is frozen from then on.

    A matrix that is quantised already, such as one that `load_gguf` has kept as it was, stays so. `forward` and
    `backward` compute each matrix where they need it; `generate` makes all of them once, and drops them at its end.

    Parameters
    ----------
    model : Module
        Without adapters, which come afterwards.
    bits : {4, 8, "nf4", "q4_1", "q8_0"}
        4 is NF4, 4.127 bits a number; 8 is Q8_0, 8.5. Q4_1, 5 bits, has equal steps.
    double : bool
        Whether NF4's scales are quantised as well; without, it takes 4.5 bits.

    Raises
    ------
    ValueError
        If `bits` is none of these; if a W does not fit the kind, or is infinite somewhere; if the model has
        adapters, or no such Linear.
        The model is then unchanged.
    """
    pack, layers = packing(bits, double=double), linears_to_quantize(model)
    put_quantized(model, {path: pack(path, layer.W.data) for path, layer in layers.items()})


def packing(bits: int | str, *, double: bool = True) -> Callable[[str, Array], Packed]:
    """The function that quantises the W of a path; see `quantize` for arguments and errors."""
    kind = BITS.get(bits) if isinstance(bits, int) and not isinstance(bits, bool) else bits
    if kind not in PACK:
        raise ValueError(f"bits was {shown(bits)}; it must be one of {', '.join(map(repr, (*BITS, *PACK)))}")
    if not double and kind != "nf4":
        raise ValueError(f"double was False, but {kind} has no scales that are quantised twice; it is for 'nf4'")
    options = {} if kind != "nf4" else {"double": double}

    def pack(path: str, W: Array) -> Packed:
        check_finite({f"{path}.W": W}, "model")
        if kind in OF_32 and (I := W.shape[1]) % 32:
            raise ValueError(f"bits was {bits!r}, and {path}.W has rows of {I} numbers; it must be a multiple of 32")
        if kind in OF_32 and (most := float(abs(W).max())) > LARGEST_FLOAT16:
            raise ValueError(f"{path}.W holds {most:.3g}; for {kind} its numbers must be at most {LARGEST_FLOAT16:g}")
        return PACK[kind](W.astype("float32", copy=False), **options)

    return pack


def linears_to_quantize(model: Module) -> dict[str, Linear]:
    """Those of `block_linears` that are not quantised yet; ValueError if the model has adapters, or no such Linear."""
    if names := adapter_names(model):
        raise ValueError(f"model has the adapter {shown(names[0])}; it must be quantised before adapters are added")
    layers = block_linears(model)
    if not layers:
        raise ValueError(f"model was a {type(model).__name__}, which has no Linear in a block to be quantised")
    return {path: layer for path, layer in layers.items() if not isinstance(layer.W, QuantizedParameter)}


def put_quantized(model: Module, packed: Mapping[str, Packed]) -> None:
    """Replace the W of each Linear by its quantised form."""
    layers = block_linears(model)
    for path, codes in packed.items():
        W = layers[path].W
        layers[path].W = QuantizedParameter(codes, dtype=W.dtype, original_id=arrays_hash({"W": W.data}))
    model.name_parameters()


def quantization_of(model: Module) -> dict[str, Any] | None:
    """How a model is quantised, for a record; None if it is not.

    Returns
    -------
    dict
        matrices, how many there are of each kind; bits_per_number of these; bytes of all parameters as they are kept;
        bytes_float32, what they would take.
    """
    quantized = [layer.W for layer in block_linears(model).values() if isinstance(layer.W, QuantizedParameter)]
    if not quantized:
        return None
    kinds = [p.packed.kind for p in quantized]
    everything = model.parameters()
    return {
        "matrices": {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)},
        "bits_per_number": 8 * sum(p.nbytes for p in quantized) / sum(p.size for p in quantized),
        "bytes": sum(p.nbytes for p in everything),
        "bytes_float32": 4 * sum(p.size for p in everything),
    }

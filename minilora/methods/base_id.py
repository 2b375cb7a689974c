"""Which base an adapter belongs to: two ids that its file keeps.

- The base's own id changes with every number that a frozen weight has when it is used: of a quantised W, those that its
  codes stand for.
- The unquantised id is that of the base as it was before it was quantised: the same for a model in float32, in NF4 and
  in Q8_0, if they come from the same numbers.

An adapter is taken by the base beside which it was trained. One that was trained beside the same base in other bits is
taken as well, with a warning: a low-rank change helps there too, but W + delta_W is then neither what was trained nor
what was measured (https://github.com/artidoro/qlora/issues/28). Any other base is refused.

The blocks of a .gguf file are the same numbers whether they are kept or written out, so both have the same ids.
"""

from collections.abc import Container
from typing import Any

from minilora.files import fingerprint
from minilora.layers import QuantizedParameter
from minilora.methods.quantization import quantization_of
from minilora.methods.selection import plain
from minilora.methods.switching import base_in_place, base_parameters, lora_layers
from minilora.models.weights_hash import arrays_hash
from minilora.parameter import Module, Parameter


def base_id(model: Module, learned: Container[str]) -> str:
    """An id of the unchanged weights: those of the base without `learned`, by their paths in the base.

    Parameters
    ----------
    model : Module
    learned : container of str
        The names of what an adapter's file holds.
    """
    return arrays_hash((path, p.data) for path, p in _unchanged(model, learned).items())


def unquantized_id(model: Module, learned: Container[str]) -> str:
    """An id of the same weights as they were before any of them was quantised."""
    ids = (f"{path} {_original_id(p)}" for path, p in _unchanged(model, learned).items())
    return fingerprint({}, "\n".join(ids))[:12]


def about_base(model: Module, learned: Container[str]) -> dict[str, Any]:
    """What an adapter's file says of its base: both ids, and how it is quantised, if it is."""
    told = {"base": base_id(model, learned), "unquantized_base": unquantized_id(model, learned)}
    quantization = quantization_of(model)
    return told if quantization is None else told | {"quantization": quantization}


def in_words(quantization: Any) -> str:
    """A record of `quantization_of` as text: "in nf4", or "not quantised"."""
    matrices = quantization.get("matrices") if isinstance(quantization, dict) else None
    return f"in {' and '.join(map(str, matrices))}" if isinstance(matrices, dict) and matrices else "not quantised"


def _original_id(p: Parameter) -> str:
    known = p.original_id if isinstance(p, QuantizedParameter) else None
    return known or arrays_hash({"W": p.data})


def _unchanged(model: Module, learned: Container[str]) -> dict[str, Parameter]:
    base = base_parameters(model)
    with base_in_place(model):
        for path, layer in lora_layers(model).items():
            base[f"{plain(path)}.W"] = layer.frozen
            if layer.frozen_bias is not None:
                base[f"{plain(path)}.bias"] = layer.frozen_bias
    return {path: p for path, p in base.items() if path not in learned}

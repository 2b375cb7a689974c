"""Matrices that stay in the blocks of a GGUF file, byte for byte, and are not quantised a second time."""

import functools

import numpy

from minilora.arrays.backend import Array, choose_device, to_device
from minilora.arrays.finite import check_finite
from minilora.interop.gguf_blocks import BLOCKS, dequantize, type_name
from minilora.interop.gguf_file import GGUFFile
from minilora.interop.gguf_place import Place
from minilora.layers import Packed, QuantizedParameter
from minilora.layers.quantized import unpack_q4_1, unpack_q8_0
from minilora.methods.quantization import block_linears
from minilora.models.model import Model

ON_ANY_DEVICE = {"q4_1": unpack_q4_1, "q8_0": unpack_q8_0}  # the other types are unpacked on the host


def keep_blocks(model: Model, places: list[Place], file: GGUFFile, device: str) -> set[str]:
    """Give a model W of its blocks' Linears as the file holds them, where it holds them in blocks.

    Parameters
    ----------
    model : Model
        Made with `Uninitialized`.
    places : list of Place
    file : GGUFFile
    device : {"cpu", "gpu", "auto"}

    Returns
    -------
    set of str
        The names of these parameters; all others are still to be filled.
    """
    layers, kept = block_linears(model), set()
    for place in places:
        layer = layers.get(place.parameter.removesuffix(".W")) if place.parameter.endswith(".W") else None
        if layer is not None and BLOCKS[file.tensors[place.tensor].kind].numbers > 1:
            packed = _packed(place, file, choose_device(device))
            check_finite({place.tensor: packed.values()}, file.path)
            layer.W = QuantizedParameter(packed, dtype=layer.W.dtype)
            kept.add(place.parameter)
    model.name_parameters()
    return kept


def _packed(place: Place, file: GGUFFile, device: str) -> Packed:
    tensor = file.tensors[place.tensor]
    block, name = BLOCKS[tensor.kind], type_name(tensor.kind).lower()
    if device != "cpu" and name not in ON_ANY_DEVICE:
        raise ValueError(
            f"{file.path}: {tensor.name} has the type {type_name(tensor.kind)}, which stays in blocks only on a CPU; "
            f"device was {device!r}"
        )
    rows = tensor.data.reshape(tensor.shape[0], -1)  # type: ignore[union-attr]  # (O, bytes of a row)
    rows = place.ours(rows if place.rows is None else rows[place.rows])
    blocks = to_device(numpy.array(rows, order="C").reshape(-1, block.bytes), device)  # a copy: the file may go
    unpack = ON_ANY_DEVICE.get(name, functools.partial(_unpack, tensor.kind))
    return Packed(name, (blocks,), (len(rows), tensor.shape[1]), unpack)


def _unpack(kind: int, blocks: Array, shape: tuple[int, ...]) -> Array:
    return dequantize(blocks, kind, shape)

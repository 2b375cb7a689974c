"""The tensors of a safetensors file that somebody else wrote, as NumPy arrays."""

from pathlib import Path

import numpy
from safetensors import SafetensorError, deserialize

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}


def read_tensors(path):
    """All tensors of a safetensors file.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    dict of str to ndarray
        float64, float32 or float16 as in the file; bfloat16 becomes float32.

    Raises
    ------
    ValueError
        If the file is missing, a pickle, damaged, or holds what is no floating-point number; the message names file
        and tensor.
    """
    path = Path(path)
    if not path.is_file():
        pickles = sorted(file.name for file in path.parent.glob("adapter_model.*") if file != path)
        found = f", only {pickles[0]}, which can run code and is not opened: save it as safetensors" if pickles else ""
        raise ValueError(f"there is no file {path}{found}")
    try:
        entries = dict(deserialize(path.read_bytes()))
    except (SafetensorError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no safetensors file, or it is damaged: {error}") from None
    return {name: _array(path, name, entries[name]) for name in sorted(entries)}


def _array(path, name, entry):
    if entry["dtype"] == "BF16":  # the upper half of a float32
        bits = numpy.frombuffer(entry["data"], "<u2").astype("<u4") << 16
        return bits.view("<f4").reshape(entry["shape"])
    if entry["dtype"] not in DTYPES:
        raise ValueError(f"{path}: {name} is of type {entry['dtype']}; it may be {', '.join(DTYPES)} or BF16")
    return numpy.frombuffer(entry["data"], DTYPES[entry["dtype"]]).reshape(entry["shape"])

"""A model's folder as Hugging Face lays it out: config.json, and model.safetensors, or several files and their index.

It is somebody else's, so nothing in it is believed: JSON and safetensors are the only formats that are read (neither
can run code), no name leads out of the folder, and every name and shape is compared with what the configuration asks
for, from the files' headers, before a model is made or a tensor read.
"""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy
from safetensors import SafetensorError, safe_open

from minilora.models.initial import NoDraw

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
DTYPES = ("F64", "F32", "F16", "BF16")  # what a weight may be stored as


class StoredTensor(NamedTuple):
    """Where a tensor is, and what its file's header says of it."""

    file: Path
    name: str
    dtype: str
    shape: tuple


class Source(NamedTuple):
    """Where a parameter of ours comes from."""

    parameter: str  # its path in the model
    tensor: str  # the tensor's name
    shape: tuple  # the tensor's shape
    convert: Callable = lambda array: array  # what of the tensor becomes the parameter


class HFFolder:
    """An opened folder.

    Parameters
    ----------
    folder : str or Path
    model_type : str
        What config.json must say that the model is.

    Attributes
    ----------
    config : dict
        What config.json holds.
    weights : Path
        The file that holds the tensors, or the index of the files that do.
    tensors : dict of str to StoredTensor

    Raises
    ------
    ValueError
        If a file is missing, damaged, or not what it should be; the message names it.
    """

    def __init__(self, folder, model_type):
        self.path = Path(folder)
        if not self.path.is_dir():
            raise ValueError(f"there is no folder {self.path}")
        self.config = read_json(self.path / "config.json")
        if self.config.get("model_type") != model_type:
            found = self.config.get("model_type")
            raise ValueError(f"{self.path / 'config.json'}: model_type was {found!r}; it may be {model_type!r}")
        self.weights = next((self.path / name for name in (WEIGHTS, INDEX) if (self.path / name).is_file()), None)
        self.tensors = self._list_tensors()

    def require(self, key, *allowed):
        """Raise a ValueError unless the configuration's `key` has one of the allowed values; the first is the default.

        For whatever changes the computation: what minilora does not compute is refused by its name, not ignored.
        """
        value = self.config.get(key, allowed[0])
        if value not in allowed:
            possible = " or ".join(map(repr, allowed))
            raise ValueError(f"{self.path / 'config.json'}: {key} was {value!r}; minilora supports {possible} alone")

    def size(self, key, default=None, least=1):
        """An integer of the configuration."""
        value = self.config.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            path = self.path / "config.json"
            raise ValueError(f"{path}: {key} was {value!r}; it may be an integer of at least {least}")
        return value

    def configure(self, config_class, **fields):
        """A configuration of ours; what it refuses is refused with the file's name."""
        try:
            return config_class(**fields)
        except ValueError as error:
            raise ValueError(f"{self.path / 'config.json'}: {error}") from None

    def remove_prefix(self, prefix):
        """Take `prefix` off the names of tensors: some checkpoints have it and some have not."""
        stripped = {}
        for name, tensor in self.tensors.items():
            short = name.removeprefix(prefix)
            if short in stripped:
                raise ValueError(f"{tensor.file} holds {short} twice, with and without {prefix!r}")
            stripped[short] = tensor
        self.tensors = stripped

    def drop(self, *names):
        """Forget tensors that the model does not use, where they are present."""
        for name in names:
            self.tensors.pop(name, None)

    def drop_copy(self, name, of):
        """Forget a tensor that is tied to another, where it is present; raise a ValueError if the two differ."""
        if name in self.tensors and of in self.tensors:
            if not numpy.array_equal(self.read(name), self.read(of)):
                raise ValueError(f"{self.tensors[name].file}: {name} differs from {of}, to which minilora ties it")
            self.drop(name)

    def load(self, model_class, config, sources, *, dtype, device):
        """A model of the folder's weights.

        Parameters
        ----------
        model_class : type
        config : object
            Its configuration.
        sources : callable
            ``sources()`` yields a Source for every parameter of the model.
        dtype : {"float16", "float32", "float64"}
        device : {"cpu", "gpu", "auto"}

        Raises
        ------
        ValueError
            If a tensor is missing, unknown, of another shape, or no floating-point numbers.
        """
        if dtype not in ("float16", "float32", "float64"):
            raise ValueError(f"dtype was {dtype!r}; it may be 'float16', 'float32' or 'float64'")
        self._check(sources())
        model = model_class(config, NoDraw(), dtype=dtype, device=device)
        parameters = dict(model.named_parameters())
        for source in sources():
            array = source.convert(self.read(source.tensor)).astype(dtype)
            parameters[source.parameter].data[...] = model.xp.asarray(array)
        return model

    def read(self, name):
        """A tensor's values."""
        tensor = self.tensors[name]
        if tensor.dtype == "BF16":
            return read_bfloat16(tensor)
        with open_safetensors(tensor.file) as file:
            return file.get_tensor(tensor.name)

    def _check(self, sources):
        used = set()
        for source in sources:
            used.add(source.tensor)
            tensor = self.tensors.get(source.tensor)
            if tensor is None:
                raise ValueError(f"{self.weights} lacks the tensor {source.tensor}")
            if tensor.shape != source.shape:
                raise ValueError(
                    f"{tensor.file}: {tensor.name} has shape {tensor.shape}; config.json asks for {source.shape}"
                )
            if tensor.dtype not in DTYPES:
                raise ValueError(f"{tensor.file}: {tensor.name} is {tensor.dtype}; it may be one of {DTYPES}")
        if unknown := sorted(self.tensors.keys() - used):
            tensor = self.tensors[unknown[0]]
            raise ValueError(f"{tensor.file} holds {tensor.name}, which the model has no place for")

    def _list_tensors(self):
        if self.weights is not None:
            return tensors_in(self.weights) if self.weights.name == WEIGHTS else self._list_shards()
        if others := sorted(self.path.glob("*.bin")) + sorted(self.path.glob("*.pt")):
            raise ValueError(
                f"{others[0]} is a pickle, which can run code, so minilora does not open it; "
                f"save the model again with safe_serialization=True, which writes {WEIGHTS}"
            )
        raise ValueError(f"{self.path} has neither {WEIGHTS} nor {INDEX}")

    def _list_shards(self):
        index = self.weights
        places = read_json(index).get("weight_map")
        if not isinstance(places, dict) or not places:
            raise ValueError(f"{index}: weight_map was no mapping of tensors to files")
        for name, file in places.items():
            # the name of a file in this folder, and of no other: no separator of any system, no drive, no ".."
            if not isinstance(file, str) or not file.endswith(".safetensors") or set(file) & set("/\\:\0"):
                raise ValueError(f"{index}: {name} is in {file!r}; it may be in a .safetensors file of this folder")
        tensors = {}
        for file in sorted(set(places.values())):
            found = tensors_in(self.path / file)
            if odd := sorted(found.keys() ^ {name for name in places if places[name] == file}):
                raise ValueError(f"{self.path / file} and {INDEX} differ: {odd[0]} is only in one of them")
            tensors |= found
        return tensors


def read_json(path):
    """The JSON object in a file."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON, or it is damaged: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}; it may hold a JSON object")
    return content


def open_safetensors(path):
    """An open safetensors file, whose header has been checked against its length."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        return safe_open(path, framework="numpy")
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is no safetensors file, or it is damaged: {error}") from None


def tensors_in(path):
    """What a safetensors file's header lists: a dict of name to StoredTensor."""
    with open_safetensors(path) as file:
        slices = {name: file.get_slice(name) for name in file.keys()}
        return {name: StoredTensor(path, name, s.get_dtype(), tuple(s.get_shape())) for name, s in slices.items()}


def read_bfloat16(tensor):
    """The values of a bfloat16 tensor, a type that NumPy does not have: they are the upper halves of float32s."""
    with open(tensor.file, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        start, stop = json.loads(file.read(length))[tensor.name]["data_offsets"]
        file.seek(8 + length + start)
        upper = numpy.frombuffer(file.read(stop - start), dtype="<u2")
    return (upper.astype("uint32") << 16).view("float32").reshape(tensor.shape)

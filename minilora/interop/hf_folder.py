"""A model's folder in Hugging Face's layout: config.json, and model.safetensors, or several files and their index.

It comes from elsewhere, so nothing in it is trusted: only JSON and safetensors are read (neither can run code), no name
leads out of the folder, and every name and shape in the files' headers is compared with what the configuration asks
for before a model is made or a tensor is read.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy

from minilora.files import read_json
from minilora.interop.foreign_files import DTYPES, StoredTensor, check_dtype, read_tensor, rounded, tensors_in
from minilora.interop.sources import Source
from minilora.limits import shown
from minilora.models.checks import check_precision
from minilora.models.config import ModelConfig
from minilora.models.initial import Uninitialized
from minilora.models.model_file import fill

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
WRAPPERS = ("_orig_mod.", "module.")  # what torch.compile and DataParallel put before every name


Config = TypeVar("Config", bound=ModelConfig)


class HFFolder:
    """An opened folder.

    Parameters
    ----------
    folder : str or Path
    *model_types : str
        The allowed values of config.json's model_type.
    names : dict of str to str, optional
        From other names of config.json's fields to those that are used here: transformers' attribute_map.

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

    def __init__(self, folder: str | Path, *model_types: str, names: dict[str, str] | None = None) -> None:
        self.path = Path(folder)
        if not self.path.is_dir():
            raise ValueError(f"there is no folder {self.path}")
        self.config = read_json(self.path / CONFIG)
        found = self.config.get("model_type")
        if found not in model_types:
            possible = " or ".join(map(repr, model_types))
            raise ValueError(f"{self.path / CONFIG}: model_type was {shown(found)}; it must be {possible}")
        self._rename_fields(names or {})
        self.weights: Any = next((self.path / name for name in (WEIGHTS, INDEX) if (self.path / name).is_file()), None)
        self.tensors = self._list_tensors()
        while wrapped := [w for w in WRAPPERS if self.has(w)]:
            self.remove_prefix(wrapped[0])

    def _rename_fields(self, names: dict[str, str]) -> None:
        for other, name in names.items():
            if other in self.config:
                value = self.config.pop(other)
                if self.config.setdefault(name, value) != value:
                    path, first = self.path / CONFIG, shown(self.config[name])
                    raise ValueError(f"{path}: {name} was {first} and {other} {shown(value)}; both must be one number")

    def require(self, key: str, *allowed: Any) -> None:
        """Raise ValueError unless the configuration's `key` has one of the allowed values; the first is the default.

        For everything that changes the computation: what minilora does not compute is refused by name, not ignored.
        """
        value = self.config.get(key, allowed[0])
        if value not in allowed:
            possible = " or ".join(map(repr, allowed))
            raise ValueError(f"{self.path / CONFIG}: {key} was {shown(value)}; it must be {possible}")

    def architecture(self, classes: Mapping[str, type]) -> Any:
        """The class that config.json names, from a dict by transformers' names; None if it names none of them."""
        names = self.config.get("architectures")
        if names is None:
            return None
        self.require("architectures", *([name] for name in classes))
        return classes[names[0]]

    def has(self, start: str) -> bool:
        """Whether the name of a tensor starts so."""
        return any(name.startswith(start) for name in self.tensors)

    def n_labels(self) -> int:
        """num_labels; or the number of label names, if config.json only has those; 2 if it has neither."""
        labels = self.config.get("id2label")
        return self.size("num_labels", len(labels) if isinstance(labels, dict) else 2)

    def size(self, key: str, default: int | None = None, least: int = 1) -> int:
        """An integer of the configuration."""
        value = self.config.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            path = self.path / CONFIG
            raise ValueError(f"{path}: {key} was {shown(value)}; it must be an integer of at least {least}")
        return value

    def configure(self, config_class: Callable[..., Config], **fields: Any) -> Config:
        """Make one of our configurations; an error also names the file."""
        try:
            return config_class(**fields)
        except ValueError as error:
            raise ValueError(f"{self.path / CONFIG}: {error}") from None

    def remove_prefix(self, prefix: str) -> None:
        """Remove `prefix` from the names of tensors: some checkpoints have it, some do not."""
        stripped = {}
        for name, tensor in self.tensors.items():
            short = name.removeprefix(prefix)
            if short in stripped:
                raise ValueError(f"{tensor.file} holds {short} twice, with and without {prefix!r}")
            stripped[short] = tensor
        self.tensors = stripped

    def drop(self, *names: str) -> None:
        """Ignore tensors that the model does not use, if they are present."""
        for name in names:
            self.tensors.pop(name, None)

    def drop_copy(self, name: str, of: str) -> None:
        """Ignore a tensor that is tied to another, if it is present; raise ValueError if the two differ.

        If one is stored with less precision, it must be the other one rounded to that precision.
        """
        if name in self.tensors and of in self.tensors:
            for tensor in (name, of):
                check_dtype(self.tensors[tensor])
            coarser = max((self.tensors[name].dtype, self.tensors[of].dtype), key=DTYPES.index)
            if not numpy.array_equal(rounded(self.read(name), coarser), rounded(self.read(of), coarser)):
                raise ValueError(f"{self.tensors[name].file}: {name} differs from {of}, to which minilora ties it")
            self.drop(name)

    def load(
        self,
        model_class: Callable[..., Any],
        config: ModelConfig,
        sources: Callable[[], Iterator[Source]],
        *,
        dtype: str,
        device: str,
    ) -> Any:
        """A model of the folder's weights.

        Parameters
        ----------
        model_class : type
        config : object
            Its configuration.
        sources : callable
            ``sources()`` yields a Source for every parameter of the model.
        dtype : {"float32", "float64"}
        device : {"cpu", "gpu", "auto"}

        Raises
        ------
        ValueError
            If a tensor is missing, unknown, of another shape, or not of floating-point numbers.
        """
        check_precision(dtype)
        self._check(sources())
        model = model_class(config, Uninitialized(), dtype=dtype, device=device)
        fill(model, ((s.parameter, s.convert(self.read(s.tensor))) for s in sources()), device)
        return model

    def read(self, name: str) -> numpy.ndarray:
        """A tensor's values."""
        return read_tensor(self.tensors[name])

    def _check(self, sources: Iterable[Source]) -> None:
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
            check_dtype(tensor)
        if unknown := sorted(self.tensors.keys() - used):
            tensor = self.tensors[unknown[0]]
            raise ValueError(f"{tensor.file} holds {tensor.name}, which the model has no place for")

    def _list_tensors(self) -> dict[str, StoredTensor]:
        if self.weights is not None:
            return tensors_in(self.weights) if self.weights.name == WEIGHTS else self._list_shards()
        if others := sorted(self.path.glob("*.bin")) + sorted(self.path.glob("*.pt")):
            raise ValueError(
                f"{others[0]} is a pickle, which can run code, so minilora does not open it; "
                f"save the model again with safe_serialization=True, which writes {WEIGHTS}"
            )
        raise ValueError(f"{self.path} has neither {WEIGHTS} nor {INDEX}")

    def _list_shards(self) -> dict[str, StoredTensor]:
        index = self.weights
        places = read_json(index).get("weight_map")
        if not isinstance(places, dict) or not places:
            raise ValueError(f"{index}: weight_map was not a mapping of tensors to files")
        for name, file in places.items():
            # it must be the plain name of a file in this folder: no separator of any system, no drive, no ".."
            plain = isinstance(file, str) and file.endswith(".safetensors") and not set(file) & set("/\\:\0")
            if not plain or len(file.encode("utf-8", "surrogatepass")) > 255:  # no system has longer names
                raise ValueError(
                    f"{index}: {name} is in {shown(file)}; it must be in a .safetensors file of this folder"
                )
        tensors: dict[str, StoredTensor] = {}
        for file in sorted(set(places.values())):
            found = tensors_in(self.path / file)
            if odd := sorted(found.keys() ^ {name for name in places if places[name] == file}):
                raise ValueError(f"{self.path / file} and {INDEX} differ: {odd[0]} is only in one of them")
            tensors |= found
        return tensors

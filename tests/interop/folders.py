"""Copies of the golden folders, changed."""

import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"


class Folder:
    """A golden folder, copied to be changed."""

    def __init__(self, name, path):
        shutil.copytree(GOLDEN / name, path)
        self.path = path
        self.weights = path / WEIGHTS

    @property
    def tensors(self):
        return load_file(self.weights)

    def write(self, tensors):
        save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, self.weights)

    def change(self, **tensors):
        """Add or replace tensors; None removes one. A double underscore in a name stands for a dot."""
        changed = self.tensors
        for name, array in tensors.items():
            changed[name.replace("__", ".")] = array
        self.write({name: array for name, array in changed.items() if array is not None})

    def rename(self, function):
        self.write({function(name): array for name, array in self.tensors.items()})

    def configure(self, *without, **changes):
        """Change config.json."""
        config = json.loads((self.path / CONFIG).read_text()) | changes
        (self.path / CONFIG).write_text(json.dumps({key: config[key] for key in config if key not in without}))

    def shard(self, n=3):
        """Spread the tensors over n files with an index. Returns the index's weight_map."""
        tensors = self.tensors
        self.weights.unlink()
        places = {name: f"model-{i % n + 1:05}-of-{n:05}.safetensors" for i, name in enumerate(sorted(tensors))}
        for file in set(places.values()):
            save_file({name: tensors[name] for name in places if places[name] == file}, self.path / file)
        self.write_index(places)
        return places

    def write_index(self, places):
        (self.path / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))


def to_bfloat16(array):
    """The nearest bfloat16s, as the uint16s that a file holds, and as the float32s that they are."""
    bits = array.astype("float32").view("uint32")
    upper = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("uint16")
    return upper, (upper.astype("uint32") << 16).view("float32")

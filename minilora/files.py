"""Files: safetensors for arrays, JSON for the rest, written whole or not at all. Nothing that is read can run code."""

import json
import os
from pathlib import Path

import numpy
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from minilora.backend import to_numpy


def write_atomically(path, content):
    """Write bytes or text to `path` by way of a temporary file: a reader finds the old file or the new, no part."""
    write_together({path: content})


def write_together(contents):
    """The same for several files, a dict of path to content: none takes its place before all are written."""
    temporaries = {}
    try:
        for path, content in contents.items():
            path = Path(path)
            if path.is_dir():
                raise IsADirectoryError(f"{path} is a folder; it may be a file")
            path.parent.mkdir(parents=True, exist_ok=True)
            temporaries[path] = path.with_name(f".{path.name}.{os.getpid()}")
            with open(temporaries[path], "wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
        for path, temporary in temporaries.items():
            os.replace(temporary, path)
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)


def write_json(path, content):
    """Write `content` as readable JSON."""
    write_atomically(path, json.dumps(content, indent=1) + "\n")


def save_arrays(path, arrays, about):
    """Write a safetensors file.

    Parameters
    ----------
    path : str or Path
    arrays : dict of str to ndarray
        On either device.
    about : dict
        Anything that JSON can hold; kept in the file's metadata under "minilora".
    """
    host = {name: numpy.asarray(to_numpy(array), order="C") for name, array in arrays.items()}
    write_atomically(path, save(host, metadata={"minilora": json.dumps(about)}))


def load_arrays(path, *kinds):
    """Read what `save_arrays` wrote.

    Parameters
    ----------
    path : str or Path
    *kinds : str
        What the file's ``about["kind"]`` may be.

    Returns
    -------
    arrays : dict of str to ndarray
    about : dict

    Raises
    ------
    ValueError
        If the file is missing, is no safetensors file, or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {}).get("minilora", "{}"))
            arrays = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is not a file that minilora wrote, or it is damaged: {error}") from None
    if not isinstance(about, dict):
        raise ValueError(f"{path} is not a file that minilora wrote: its description is a {type(about).__name__}")
    if about.get("kind") not in kinds:
        expected = " or ".join(map(repr, kinds))
        raise ValueError(f"{path} holds {about.get('kind') or 'something unknown'!r}; expected {expected}")
    return arrays, about

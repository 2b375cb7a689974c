"""Files: safetensors for arrays, JSON for the rest, written completely or not at all. Reading can never run code."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from minilora.arrays.backend import Array, to_numpy
from minilora.limits import (
    MOST_JSON_BYTES,
    check_fields,
    check_header,
    check_names,
    check_number_of_values,
    one_line_errors,
    parse_json,
    shown,
)


class DamagedFile(ValueError):
    """A file that is not what was written: truncated, changed, or never ours."""


def write_atomically(path: str | Path, content: bytes | str, *, previous: str | Path | None = None) -> None:
    """Write bytes or text to `path` through a temporary file: a reader finds the old file or the new one, never half.

    Once this returns, the new file is on the disk, and survives a power failure.

    Parameters
    ----------
    path : str or Path
    content : bytes or str
    previous : str or Path, optional
        Where to move the old file, if there is one, once the new one has been written.

    Raises
    ------
    OSError
        With the path, if it cannot be written (a full disk, a read-only folder). The old file is untouched.
    """
    _write({path: content}, {} if previous is None else {path: previous})


def write_together(contents: Mapping[Path, bytes | str | Callable[[Path], None]]) -> None:
    """Write several files, a dict of path to content: none is put in place before all are written.

    A content can also be a function that writes the file to the path that it is given.
    """
    _write(contents, {})


def _write(contents: Mapping[Any, Any], previous: Mapping[Any, str | Path]) -> None:
    temporaries = {}
    path = None
    try:
        for path, content in contents.items():
            path = Path(path)
            if path.is_dir():
                raise IsADirectoryError(f"{path} is a folder; it must be a file")
            path.parent.mkdir(parents=True, exist_ok=True)
            temporaries[path] = path.with_name(f".{path.name}.{os.getpid()}")
            if callable(content):
                content(temporaries[path])
            with open(temporaries[path], "ab" if callable(content) else "wb") as file:
                if not callable(content):
                    file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
        for path, kept in previous.items():
            if os.path.exists(path):
                os.replace(path, kept)
        for path, temporary in temporaries.items():
            os.replace(temporary, path)
        for folder in {path.parent for path in temporaries}:
            _sync_folder(folder)
    except OSError as error:
        if error.errno is not None:
            raise OSError(
                error.errno, error.strerror, str(path)
            ) from None  # not the temporary file's path, which the user does not know
        raise
    finally:
        for temporary in temporaries.values():
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, as fsync does with a file's content; Windows cannot, and need not."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system that cannot
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: str | Path, content: Any) -> None:
    """Write `content` as readable JSON.

    Raises
    ------
    ValueError
        If it holds an infinite or NaN number, which JSON cannot represent.
    """
    try:
        text = json.dumps(content, indent=1, allow_nan=False)
    except ValueError as error:
        raise ValueError(f"{path} was not written: its numbers must be finite ({error})") from None
    write_atomically(path, text + "\n")


@one_line_errors()
def read_json(path: str | Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises
    ------
    ValueError
        If there is no such file, it is too large, or holds something else; the message names the file.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    if (size := path.stat().st_size) > MOST_JSON_BYTES:
        raise ValueError(f"{path} has {size:,} bytes; it must have at most {MOST_JSON_BYTES:,}")
    content = parse_json(path.read_bytes(), path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}; it must hold a JSON object")
    return content


@one_line_errors()
def read_fields(path: str | Path, fields: dict[str, Any]) -> dict[str, Any]:
    """The JSON object in a file, which must have each of `fields` with its type; see `limits.check_fields`.

    Raises
    ------
    ValueError
        See `read_json`; also if a field is missing or has another type: the message names the file and the field.
    """
    return check_fields(read_json(path), fields, path)


def save_arrays(
    path: str | Path, arrays: Mapping[str, Array], about: dict[str, Any], *, previous: str | Path | None = None
) -> None:
    """Write a safetensors file.

    Parameters
    ----------
    path : str or Path
    arrays : dict of str to ndarray
        On either device.
    about : dict
        Anything that JSON can hold; saved in the file's metadata under "minilora", with "sha256", a checksum of it and
        of the arrays.
    previous : str or Path, optional
        See `write_atomically`.

    Raises
    ------
    ValueError
        If `load_arrays` would refuse the file.
    """
    host = {name: numpy.asarray(to_numpy(array), order="C") for name, array in arrays.items()}
    about = {**about, "sha256": _checksum(host, about)}
    check_names(list(host), path)
    text = json.dumps(about, allow_nan=False)
    check_number_of_values(text, f"{path}: its description")
    write_atomically(path, save(host, metadata={"minilora": text}), previous=previous)


def _checksum(arrays: dict[str, numpy.ndarray], about: dict[str, Any]) -> str:
    return fingerprint(dict(sorted(arrays.items())), json.dumps(about))


@one_line_errors()
def load_arrays(path: str | Path, *kinds: str) -> tuple[dict[str, numpy.ndarray], dict[str, Any]]:
    """Read what `save_arrays` wrote.

    Parameters
    ----------
    path : str or Path
    *kinds : str
        What the file's ``about["kind"]`` must be: one of these.

    Returns
    -------
    arrays : dict of str to ndarray
    about : dict

    Raises
    ------
    ValueError
        If the file is missing, is not a safetensors file, or holds something else; a DamagedFile if it cannot be read,
        or if even a single bit of it has changed.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        check_header(path)
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            check_names(names, path)
            about = parse_json((file.metadata() or {}).get("minilora", "{}"), path)
            known = isinstance(about, dict) and ("sha256" in about or about.get("kind") in kinds)
            arrays = {name: file.get_tensor(name) for name in names} if known else {}  # other files could be huge
    except (SafetensorError, ValueError, TypeError, AttributeError) as error:
        raise DamagedFile(f"{path} is not a file that minilora wrote, or it is damaged: {error}") from None
    if not isinstance(about, dict):
        raise DamagedFile(f"{path} is not a file that minilora wrote: its description is a {type(about).__name__}")
    checksum = about.pop("sha256", None)  # files of the first versions have none
    if checksum is not None and checksum != _checksum(arrays, about):
        raise DamagedFile(f"{path} is damaged: its content does not match its checksum")
    if about.get("kind") not in kinds:
        expected = " or ".join(map(repr, kinds))
        raise ValueError(f"{path} holds {shown(about.get('kind') or 'something unknown')}; expected {expected}")
    return arrays, about


def fingerprint(arrays: Mapping[str, numpy.ndarray] | Iterable[tuple[str, numpy.ndarray]], text: str = "") -> str:
    """64 hex digits that change when a text, or an array's name, dtype, shape or value does: a SHA-256.

    Parameters
    ----------
    arrays : dict of str to ndarray, or iterable of (str, ndarray)
        On the host.
    text : str
    """
    digest = hashlib.sha256(text.encode())
    for name, array in arrays.items() if isinstance(arrays, Mapping) else arrays:
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(numpy.ascontiguousarray(array).data)
    return digest.hexdigest()

"""How results are kept: with versions and machine, so that they can be made again; as finished runs; as a table."""

import hashlib
import json
import os
import platform
from datetime import date
from pathlib import Path

import numpy

import minilora
from minilora.backend import to_numpy
from minilora.files import write_atomically


def provenance():
    """Versions, machine and date, as a dict for JSON."""
    return {
        "minilora": minilora.__version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "date": date.today().isoformat(),
    }


def weights_id(model):
    """12 hex digits that change when any parameter of a model does: a prefix of the SHA-256 of names and values."""
    digest = hashlib.sha256()
    for name, p in model.named_parameters():
        digest.update(f"{name} {p.data.dtype} {p.data.shape}".encode())
        digest.update(numpy.ascontiguousarray(to_numpy(p.data)).tobytes())
    return digest.hexdigest()[:12]


class FinishedRuns:
    """The results of an experiment's finished runs, a line of JSON each: what was interrupted goes on from there.

    Parameters
    ----------
    path : str or Path
        A ``.jsonl`` file. Its first line is `about`, each further one the key and the result of a run.
    about : dict
        What all runs have in common, for JSON.

    Raises
    ------
    ValueError
        If the file is there and says something else about its runs, or is no such file.
    """

    def __init__(self, path, about):
        self.path = Path(path)
        self.lines = [as_json(about)]
        if self.path.exists():
            self.lines = self._read(self.lines[0])

    def result(self, key, compute):
        """The result of a run: the one that is kept, or else ``compute()``, kept from now on.

        Parameters
        ----------
        key : dict
            What makes it this run.
        compute : callable
            Takes nothing, and returns something for JSON.
        """
        for line in self.lines[1:]:
            if line["run"] == key:
                return line["result"]
        self.lines.append(as_json({"run": key, "result": compute()}))
        write_atomically(self.path, "".join(json.dumps(line) + "\n" for line in self.lines))
        return self.lines[-1]["result"]

    def _read(self, about):
        try:
            kept, *lines = [json.loads(line) for line in self.path.read_text().splitlines()]
            readable = isinstance(kept, dict) and all(line.keys() == {"run", "result"} for line in lines)
        except (ValueError, AttributeError):
            readable = False
        if not readable:
            raise ValueError(f"{self.path} is not a file of finished runs, or it is damaged")
        if kept != about:
            differing = sorted(name for name in kept.keys() | about.keys() if kept.get(name) != about.get(name))
            raise ValueError(f"{self.path} holds the runs of another experiment; these differ: {', '.join(differing)}")
        return [kept, *lines]


def as_json(content):
    """`content` as it will be read from a file: JSON has no tuples."""
    return json.loads(json.dumps(content))


def aligned(rows):
    """A table as lines of text: the first row its head, the first column to the left, the others to the right.

    Parameters
    ----------
    rows : list of tuple of str

    Returns
    -------
    lines : list of str
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]))
    return [lines[0], "-" * len(lines[0]), *lines[1:]]

"""What stands beside every result: versions, machine and weights, so that it can be made again."""

import hashlib
import os
import platform
from datetime import date

import numpy

import minilora
from minilora.backend import to_numpy


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

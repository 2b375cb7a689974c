"""What stands beside every result: versions, machine and weights, so that it can be made again."""

import hashlib
import os
import platform
from datetime import date
from pathlib import Path

import numpy

import minilora
from minilora.backend import to_numpy


def provenance():
    """Versions, machine and date, as a dict for JSON."""
    return {
        "minilora": minilora.__version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "processor": processor(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "date": date.today().isoformat(),
    }


def processor():
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown"


def weights_id(model):
    """12 hex digits that change when any parameter of a model does: a prefix of the SHA-256 of names and values."""
    digest = hashlib.sha256()
    for name, p in model.named_parameters():
        digest.update(f"{name} {p.data.dtype} {p.data.shape}".encode())
        digest.update(numpy.ascontiguousarray(to_numpy(p.data)).tobytes())
    return digest.hexdigest()[:12]

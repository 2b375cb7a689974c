"""What is recorded with every result: versions and machine, so that it can be reproduced."""

import os
import platform
from datetime import date
from pathlib import Path

import numpy

import minilora


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
    """The processor's name, if the system reports it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown"

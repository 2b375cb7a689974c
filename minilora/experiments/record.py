"""What stands beside every result: versions and machine, so that it can be made again."""

import os
import platform
from datetime import date

import numpy

import minilora


def provenance():
    """Versions, machine and date, as a dict for JSON."""
    return {
        "minilora": minilora.__version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "date": date.today().isoformat(),
    }

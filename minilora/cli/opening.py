"""Opens the model that --model names and the adapter that --adapter names; errors speak of these options."""

from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy

import minilora
from minilora import data
from minilora.cli.parser import did_you_mean
from minilora.data import Tokenizer
from minilora.files import read_json
from minilora.interop.foreign_files import read_about
from minilora.interop.gguf_adapter_load import load_gguf_adapter
from minilora.interop.gguf_file import GGUFFile
from minilora.interop.opening import BUNDLED, MODEL_FILE, SMOLLM2, OpenedModel, is_gguf, open_language_model
from minilora.methods import classes_in, lora_layers
from minilora.methods.registry import KINDS as ADAPTER_KINDS
from minilora.models.classification import EncoderForClassification, new_classifier
from minilora.models.decoder import Decoder
from minilora.models.model import Model
from minilora.models.model_file import KINDS as MODEL_KINDS

ADAPTER_FILE, PEFT_FILE = "adapter.safetensors", "adapter_model.safetensors"


def open_model(
    name: str | None,
    adapter: str | None = None,
    *,
    device: str = "cpu",
    classes: bool = False,
    bits: str | None = None,
) -> OpenedModel:
    """The model that --model names, with the adapter of --adapter, if one is given.

    Without a name it is a bundled one: the encoder for an adapter with a classification head or for a classification
    task, the decoder for everything else. An encoder gets such an adapter's head.
    """
    path = None if adapter is None else adapter_file(adapter)
    n_classes = None if path is None else classes_of(path)
    given = name
    if name is None:
        name = "encoder" if classes or n_classes else "decoder"
    opened = named_model(name, device, bits)
    if path is None:
        return opened
    model = opened.model
    if n_classes and not isinstance(model, (Decoder, EncoderForClassification)):
        model = new_classifier(
            model, n_classes, numpy.random.default_rng(0)
        )  # the drawn values are replaced by the file's
    with default_model_named(given, name):
        load_adapter(model, path)
    return replace(opened, model=model)


def load_adapter(model: Model, file: Path, name: str | None = None) -> None:
    """Add the adapter in a file, one of minilora's or of llama.cpp's, to a model.

    Parameters
    ----------
    model : Model
    file : Path
        From `adapter_file`.
    name : str, optional
        As in `minilora.load_adapter`.
    """
    if not is_gguf(file):
        minilora.load_adapter(model, file, name=name)
        return
    try:
        load_gguf_adapter(model, file, name="default" if name is None else name)  # type: ignore[arg-type]
    except TypeError as error:  # the model is of another kind
        raise ValueError(f"{file}: {error}") from None


@contextmanager
def default_model_named(given: str | None, name: str = "decoder") -> Iterator[None]:
    """Let an error of what does not fit the bundled model say that it was taken because no --model was given."""
    try:
        yield
    except ValueError as error:
        if given is not None:
            raise
        raise ValueError(f"{error}; --model was not given, and this is the bundled {name}") from None


def open_decoder(
    name: str | None, adapter: str | None = None, *, device: str = "cpu", bits: str | None = None
) -> OpenedModel:
    """Open a model as `open_model` does, but refuse anything that does not write text, or whose ids no one can read."""
    opened = open_model(name, adapter, device=device, bits=bits)
    if not isinstance(opened.model, Decoder):
        if name is None:
            raise ValueError(f"--adapter {adapter} is a classifier's; this command needs a decoder's")
        raise ValueError(f"{what_is_held(name, opened.model)}; this command needs a decoder, such as a GPT or a Llama")
    check_vocabulary(opened.model, what_is_held(name, opened.model), opened.tokenizer)
    return opened


def open_lora(name: str | None, adapter: str) -> Model:
    """The model with the LoRA adapter in a file or run folder."""
    model = open_model(name, adapter).model
    if not lora_layers(model):
        raise ValueError(f"{adapter} holds no LoRA adapter, and only these have a delta W of low rank")
    return model


def what_is_held(name: str | None, model: object) -> str:
    """Which kind of model --model names, in words."""
    held = "the bundled model is" if name is None or name in BUNDLED else f"{name} holds"
    return f"{held} a {type(model).__name__}"


def check_vocabulary(model: Model, held: str, tokenizer: Tokenizer) -> None:
    """Raise ValueError, which begins with what --model holds, unless the model reads the tokenizer's ids."""
    try:
        data.check_vocabulary(model, tokenizer)
    except ValueError as error:
        raise ValueError(f"{held}; {error}") from None


def named_model(name: str, device: str = "cpu", bits: str | None = None) -> OpenedModel:
    """The model of a name that comes with minilora, of a file, or of a folder; in so many --bits."""
    path, names = Path(name), (*BUNDLED, SMOLLM2)
    if name not in names and not path.exists():
        raise ValueError(f"--model was {name}; there is no such file or folder{did_you_mean(name, names)}")
    if path.is_dir() and name not in names:
        _check_model_in(path)
    try:
        return open_language_model(name, device=device, bits=None if bits is None else int(bits))
    except ValueError:
        if is_gguf(path) and _is_gguf_adapter(path):
            raise ValueError(
                f"--model was {name}, an adapter in llama.cpp's format; give it as --adapter, together with its --model"
            ) from None
        if path.is_file() and holds(path, ADAPTER_KINDS):
            raise ValueError(
                f"--model was {name}, which is an adapter; give it as --adapter, together with its --model"
            ) from None
        raise


def _check_model_in(folder: Path) -> None:
    """Raise a ValueError if a folder holds an adapter and no model, or neither."""
    if (folder / MODEL_FILE).is_file():
        return
    if (folder / "config.json").is_file() and "model_type" in read_json(folder / "config.json"):
        return
    if (folder / "adapter_config.json").is_file():
        raise ValueError(f"--model was {folder}, an adapter that PEFT saved; {_how_to_import(folder)}")
    if (folder / ADAPTER_FILE).is_file():
        raise ValueError(f"--model was {folder}, the run folder of an adapter; give it as --adapter")
    raise ValueError(f"--model was {folder}, a folder without a model; {_what_is_in(folder)}")


def adapter_file(name: str) -> Path:
    """The file of an adapter that is named by its file or by its run folder."""
    path = Path(name)
    if not path.exists():
        raise ValueError(f"--adapter was {name}; there is no such file or folder")
    if path.name == PEFT_FILE and (path.parent / "adapter_config.json").is_file():
        path = path.parent
    if is_gguf(path) and GGUFFile(path).fields.get("general.type") != "adapter":
        raise ValueError(f"--adapter was {name}, a model in llama.cpp's format; give it as --model")
    if path.is_file() or (path / ADAPTER_FILE).is_file():
        return path if path.is_file() else path / ADAPTER_FILE
    if (path / "adapter_config.json").is_file():
        raise ValueError(f"--adapter was {name}, which PEFT saved; {_how_to_import(path)}")
    if (path / MODEL_FILE).is_file():
        raise ValueError(f"--adapter was {name}, the folder of a whole model; give it as --model")
    raise ValueError(f"--adapter was {name}, a folder without {ADAPTER_FILE}; {_what_is_in(path)}")


def classes_of(file: Path) -> int | None:
    """How many classes the head in an adapter's file has; None if it has no head, such as a decoder's."""
    if is_gguf(file):
        return None
    try:
        return classes_in(file)
    except ValueError:
        if holds(file, MODEL_KINDS):
            raise ValueError(f"--adapter was {file}, which is a whole model; give it as --model") from None
        raise


def holds(file: Path, kinds: Container[str]) -> bool:
    """Whether a file says that it holds one of these kinds."""
    try:
        return read_about(file).get("kind") in kinds
    except ValueError:
        return False


def _is_gguf_adapter(file: Path) -> bool:
    """Whether a GGUF file is intact, and says that it holds an adapter."""
    try:
        return GGUFFile(file).fields.get("general.type") == "adapter"
    except ValueError:
        return False


def _how_to_import(folder: Path) -> str:
    return f"make it minilora's with:  minilora import-peft {folder} --out adapter.safetensors"


def _what_is_in(folder: Path) -> str:
    """Where an adapter or a model is below a folder, or else what the folder holds."""
    for name, option in ((ADAPTER_FILE, "--adapter"), (MODEL_FILE, "--model"), ("adapter_config.json", "import-peft")):
        if below := sorted(folder.glob(f"*/{name}")):
            return f"did you mean {option} {below[0].parent}?"
    names = sorted(path.name for path in folder.iterdir())
    return f"it holds {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}" if names else "it is empty"

"""Opens the model that --model names and the adapter that --adapter names; errors speak of these options."""

from pathlib import Path

import numpy

import minilora
from minilora.cli.parser import did_you_mean
from minilora.files import load_arrays, read_json
from minilora.methods import classes_in, lora_layers
from minilora.methods.registry import KINDS as ADAPTER_KINDS
from minilora.models.classification import EncoderForClassification, new_classifier
from minilora.models.model_file import KINDS as MODEL_KINDS

BUNDLED = ("decoder", "encoder")
MODEL_FILE, ADAPTER_FILE, PEFT_FILE = "model.safetensors", "adapter.safetensors", "adapter_model.safetensors"


def open_model(name: str | None, adapter: str | None = None, *, device: str = "cpu", classes: bool = False):
    """The model that --model names, with the adapter of --adapter, if one is given.

    Without a name it is a bundled one: the encoder for an adapter with a classification head or for a classification
    task, the decoder for everything else. An encoder gets such an adapter's head.
    """
    path = None if adapter is None else adapter_file(adapter)
    n_classes = None if path is None else classes_of(path)
    if name is None:
        name = "encoder" if classes or n_classes else "decoder"
    model = named_model(name, device)
    if path is None:
        return model
    if n_classes and not isinstance(model, (minilora.GPT, EncoderForClassification)):
        model = new_classifier(
            model, n_classes, numpy.random.default_rng(0)
        )  # the drawn values are replaced by the file's
    minilora.load_adapter(model, path)
    return model


def open_decoder(name: str | None, adapter: str | None = None, *, device: str = "cpu") -> minilora.GPT:
    """Open a model as `open_model` does, but refuse anything that is not a GPT."""
    model = open_model(name, adapter, device=device)
    if not isinstance(model, minilora.GPT):
        if name is None:
            raise ValueError(f"--adapter {adapter} is a classifier's; this command needs a decoder's")
        raise ValueError(f"{what_is_held(name, model)}; this command needs a decoder, a GPT")
    return model


def open_lora(name: str | None, adapter: str):
    """The model with the LoRA adapter in a file or run folder."""
    model = open_model(name, adapter)
    if not lora_layers(model):
        raise ValueError(f"{adapter} holds no LoRA adapter, and only these have a delta W of low rank")
    return model


def what_is_held(name: str | None, model: object) -> str:
    """Which kind of model --model names, in words."""
    held = "the bundled model is" if name is None or name in BUNDLED else f"{name} holds"
    return f"{held} a {type(model).__name__}"


def named_model(name: str, device: str = "cpu"):
    """The model of a name that comes with minilora, of a file, or of a folder."""
    if name in BUNDLED:
        return minilora.load_bundled(name, device=device)
    path = Path(name)
    if path.is_dir():
        return _model_in(path, device)
    if not path.exists():
        raise ValueError(f"--model was {name}; there is no such file or folder{did_you_mean(name, BUNDLED)}")
    try:
        return minilora.load_model(path, device=device)
    except ValueError:
        if _holds(path, ADAPTER_KINDS):
            raise ValueError(
                f"--model was {name}, which is an adapter; give it as --adapter, together with its --model"
            ) from None
        raise


def _model_in(folder: Path, device: str):
    """The model in a folder of Hugging Face's, or in the run folder of full fine-tuning."""
    from minilora import interop

    loaders = {
        "gpt2": interop.load_gpt2,
        "roberta": interop.load_roberta,
        "deberta-v2": interop.load_deberta,
    }
    config = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    if "model_type" in config:
        kind = config["model_type"]
        if not isinstance(kind, str) or kind not in loaders:
            raise ValueError(f"--model was {folder}, a model of type {kind!r}; it must be {', '.join(loaders)}")
        return loaders[kind](folder, device=device)
    if (folder / MODEL_FILE).is_file():
        return minilora.load_model(folder / MODEL_FILE, device=device)
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
    if path.is_file() or (path / ADAPTER_FILE).is_file():
        return path if path.is_file() else path / ADAPTER_FILE
    if (path / "adapter_config.json").is_file():
        raise ValueError(f"--adapter was {name}, which PEFT saved; {_how_to_import(path)}")
    if (path / MODEL_FILE).is_file():
        raise ValueError(f"--adapter was {name}, the folder of a whole model; give it as --model")
    raise ValueError(f"--adapter was {name}, a folder without {ADAPTER_FILE}; {_what_is_in(path)}")


def classes_of(file: Path) -> int | None:
    """How many classes the head in an adapter's file has; None if it has no head, such as a decoder's."""
    try:
        return classes_in(file)
    except ValueError:
        if _holds(file, MODEL_KINDS):
            raise ValueError(f"--adapter was {file}, which is a whole model; give it as --model") from None
        raise


def _holds(file: Path, kinds) -> bool:
    """Whether a file is intact, and holds one of these kinds."""
    try:
        load_arrays(file, *kinds)
    except ValueError:
        return False
    return True


def _how_to_import(folder: Path) -> str:
    return f"make it minilora's with:  minilora import-peft {folder} --out adapter.safetensors"


def _what_is_in(folder: Path) -> str:
    """Where an adapter or a model is below a folder, or else what the folder holds."""
    for name, option in ((ADAPTER_FILE, "--adapter"), (MODEL_FILE, "--model"), ("adapter_config.json", "import-peft")):
        if below := sorted(folder.glob(f"*/{name}")):
            return f"did you mean {option} {below[0].parent}?"
    names = sorted(path.name for path in folder.iterdir())
    return f"it holds {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}" if names else "it is empty"

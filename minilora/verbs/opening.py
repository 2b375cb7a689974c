"""What several verbs need: the model, the task and the names in their options."""

from pathlib import Path

import minilora


def open_model(options, adapter=None):
    """The model that --model and --device name, with the adapter in a file or run folder, if one is given."""
    if options.model is None:
        model = minilora.load_bundled("decoder", device=options.device)
    else:
        model = minilora.load_model(options.model, device=options.device)
        if not isinstance(model, minilora.GPT):
            raise ValueError(f"{options.model} holds a {type(model).__name__}; this command needs a GPT")
    if adapter is not None:
        path = Path(adapter)
        minilora.load_adapter(model, path / "adapter.safetensors" if path.is_dir() else path)
    return model


def open_task(options, model, reserved=0):
    """The task that --task or --text names, for a model in which some positions are reserved for a prefix to come."""
    from minilora.data import load_task, text_task

    length = model.longest_input - reserved
    if options.text is not None:
        return text_task(options.text, length=length)
    return load_task(options.task, length=length)


def names_in(text):
    """The names in a list with commas between."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def check_file(out, example):
    """Raise a ValueError if --out names a folder."""
    if Path(out).is_dir():
        raise ValueError(f"--out was {out}, a folder; it may be a file, such as {example}")

"""What several verbs need: the model, the task and the names in their options."""

from pathlib import Path

import numpy

import minilora
from minilora.data import (
    CLASSIFICATION_TASKS,
    TASKS,
    EncoderTokenizer,
    has_classes,
    load_classification_task,
    load_task,
    text_task,
)
from minilora.methods import classes_in
from minilora.models.classification import EncoderForClassification, new_classifier


def open_model(options, adapter=None, *, classes=False):
    """The model that --model and --device name, with the adapter in a file or run folder, if one is given.

    Without --model it is a bundled one: the encoder for an adapter with a classification head or for a task of classes,
    the decoder for all else. An encoder gets such an adapter's head.
    """
    path = None if adapter is None else file_of(adapter)
    n_classes = None if path is None else classes_in(path)
    if options.model is not None:
        model = minilora.load_model(options.model, device=options.device)
    else:
        model = minilora.load_bundled("encoder" if classes or n_classes else "decoder", device=options.device)
    if path is None:
        return model
    if n_classes and not isinstance(model, (minilora.GPT, EncoderForClassification)):
        model = new_classifier(model, n_classes, numpy.random.default_rng(0))  # what is drawn gives way to the file's
    minilora.load_adapter(model, path)
    return model


def open_decoder(options, adapter=None):
    """The same, for what only a decoder can do."""
    model = open_model(options, adapter)
    if not isinstance(model, minilora.GPT):
        raise ValueError(f"{what_is_held(options, model)}; this command needs a GPT")
    return model


def what_is_held(options, model):
    """Which kind of model --model names."""
    held = "the bundled model is" if options.model is None else f"{options.model} holds"
    return f"{held} a {type(model).__name__}"


def file_of(adapter):
    """The file of an adapter that is named by its file or by its run folder."""
    path = Path(adapter)
    return path / "adapter.safetensors" if path.is_dir() else path


def open_model_and_task(options, adapter=None, reserved=0):
    """The model, and the task that --task or --text names: one of texts for a decoder, one of classes for an encoder.

    Parameters
    ----------
    options : Namespace
    adapter : str, optional
    reserved : int
        How many of a decoder's positions are kept for a prefix to come.
    """
    if options.text is None:
        check_task(options.task)
    classes = options.text is None and has_classes(options.task)
    model = open_model(options, adapter, classes=classes)
    held, asked = what_is_held(options, model), options.text or options.task
    if isinstance(model, minilora.GPT):
        if classes:
            raise ValueError(f"{held}; {asked} is a task of classes, for which --model may be an encoder")
        length = model.longest_input - reserved
        task = load_task(options.task, length=length) if options.text is None else text_task(asked, length=length)
        return model, task
    if options.text is not None or asked in TASKS or asked.lower().endswith(".txt"):
        raise ValueError(f"{held}; {asked} is a task of texts, for which --model may be a GPT")
    V = EncoderTokenizer.vocab_size
    if model.config.vocab_size != V:
        raise ValueError(f"{held} with a vocabulary of {model.config.vocab_size:,}; bytes need one of {V}")
    return model, load_classification_task(options.task, length=model.longest_input)


def check_task(name):
    """Raise a ValueError that lists all tasks, unless `name` is one of them or a file that may hold one."""
    tasks = (*TASKS, *CLASSIFICATION_TASKS)
    if name not in tasks and Path(name).suffix.lower() not in (".txt", ".csv", ".jsonl"):
        raise ValueError(f"the task was {name!r}; it may be {', '.join(tasks)}, or a .txt, .csv or .jsonl file")


def names_in(text):
    """The names in a list with commas between."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def check_file(out, example):
    """Raise a ValueError if --out names a folder."""
    if Path(out).is_dir():
        raise ValueError(f"--out was {out}, a folder; it may be a file, such as {example}")

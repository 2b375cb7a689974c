"""The task that --task or --text names, and a model that fits it."""

import argparse
from pathlib import Path

from minilora.cli.opening import adapter_file, check_vocabulary, classes_of, open_model, what_is_held
from minilora.cli.parser import did_you_mean
from minilora.cli.paths import check_input
from minilora.cli.printing import typed
from minilora.data import (
    CLASSIFICATION_TASKS,
    TASKS,
    ClassificationTask,
    ConversationTask,
    PairTask,
    TextTask,
    has_classes,
    load_classification_task,
    load_task,
    text_task,
)
from minilora.data.conversations import conversation_form
from minilora.interop.opening import OpenedModel
from minilora.models.decoder import Decoder

FILES = (".txt", ".csv", ".jsonl")


def open_model_and_task(
    options: argparse.Namespace, adapter: str | None = None, reserved: int = 0
) -> tuple[OpenedModel, PairTask | TextTask | ConversationTask | ClassificationTask]:
    """The model, and the task that --task or --text names: a text task with a decoder, classes with an encoder.

    Parameters
    ----------
    options : Namespace
        With model, bits, device, task and text.
    adapter : str, optional
        With the model.
    reserved : int
        How many of the model's positions to reserve for a prefix.
    """
    asked = named_task(options)
    classes = options.text is None and has_classes(options.task)
    of_texts = options.text is not None or options.task in TASKS or options.task.lower().endswith(".txt")
    if adapter is not None and options.model is None:
        _check_adapter(adapter, asked, classes=classes, of_texts=of_texts)
    opened = open_model(options.model, adapter, device=options.device, classes=classes, bits=options.bits)
    model, held = opened.model, what_is_held(options.model, opened.model)
    if isinstance(model, Decoder):
        if classes:
            raise ValueError(f"{held}; {asked} is a classification task, for which --model must be an encoder")
        check_vocabulary(model, held, opened.tokenizer)
        with_it = {"length": model.longest_input - reserved, "tokenizer": opened.tokenizer}
        if options.text:
            return opened, text_task(options.text, **with_it)
        template = opened.template if conversation_form(options.task) else None
        return opened, load_task(options.task, **with_it, template=template)
    if of_texts:
        raise ValueError(f"{held}; {asked} is a text task, for which --model must be a decoder")
    check_vocabulary(model, held, opened.tokenizer)
    pad = getattr(opened.tokenizer, "pad", getattr(model.config, "pad_id", 0))
    return opened, load_classification_task(
        options.task, length=model.longest_input - reserved, tokenizer=opened.tokenizer, pad=pad
    )


def named_task(options: argparse.Namespace) -> str:
    """The task that --task or --text names, checked as far as possible without loading it."""
    if {"task", "text"} <= options.typed:
        raise ValueError("--task and --text were given; it must be one of the two")
    if options.text is not None:
        check_input("--text", options.text)
        return options.text
    name = options.task
    tasks = (*TASKS, *CLASSIFICATION_TASKS)
    if name not in tasks:
        if Path(name).suffix.lower() not in FILES:
            known = f"it must be one of {', '.join(tasks)}, or a .txt, .csv or .jsonl file"
            raise ValueError(f"--task was {typed(name)}; {known}{did_you_mean(name, tasks)}")
        check_input("--task", name)
    return name


def _check_adapter(adapter: str, asked: str, *, classes: bool, of_texts: bool) -> None:
    """Raise a ValueError if an adapter for a bundled model is for the other kind of task."""
    n_classes = classes_of(adapter_file(adapter))
    if n_classes and of_texts:
        raise ValueError(f"--adapter {adapter} has a head for {n_classes} classes; {asked} is a text task: give --task")
    if classes and not n_classes:
        raise ValueError(f"--adapter {adapter} has no head for classes; {asked} is a classification task")

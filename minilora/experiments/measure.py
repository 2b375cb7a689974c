"""Measuring a model on a task: loss, exact sentences, speed, memory."""

import math
import sys
import time
import tracemalloc
from collections.abc import Sized
from statistics import median

import numpy
from tqdm import tqdm

from minilora.analysis import classification_scores
from minilora.arrays.backend import gpu_memory, to_numpy
from minilora.arrays.threads import cores, one_blas_thread, shared_by
from minilora.data import ClassificationTask, ConversationTask, check_vocabulary, parse_source, slot_errors
from minilora.experiments.baselines import baselines
from minilora.models.classification import EncoderForClassification
from minilora.models.generation import generate
from minilora.ops import cross_entropy_forward
from minilora.training import evaluate_loss

LONGEST_ANSWER = 160  # bytes; the longest sentence of mini-E2E's test has 138
TOGETHER = 24  # prompts that are continued at once


def measure_classes(model, task, *, split="test", progress=False):
    """How well a classifier tells a task's classes apart.

    Parameters
    ----------
    model : RobertaForClassification or DebertaForClassification
    task : ClassificationTask
    split : str
    progress : bool
        Show a progress bar if it takes more than two seconds.

    Returns
    -------
    dict
        loss (nats per text), accuracy and macro_f1.

    Raises
    ------
    ValueError
        If the model has no head, or one for another number of classes.
    """
    n_classes = len(task.label_names)
    if not isinstance(model, EncoderForClassification):
        raise ValueError(
            f"the model is a {type(model).__name__}, without a head for the classes of {task.name}: "
            "fine-tuning gives it one, and keeps it in the adapter"
        )
    if model.config.n_classes != n_classes:
        raise ValueError(f"the model tells {model.config.n_classes} classes apart; {task.name} has {n_classes}")
    batches = list(task.batches(split, 32))
    logits, labels = class_logits(model, batches, progress=progress), task.labels[split]
    loss, _ = cross_entropy_forward(logits, labels)
    return {"loss": float(loss), **classification_scores(labels, logits.argmax(axis=1))}


def class_logits(model, batches, *, progress=False):
    """The logits of each example of the batches, in their order: (n, n_classes), on the host."""

    def logits_of(batch):
        logits, _ = model.forward(*model.to_model(batch.ids, batch.padding_mask))  # (N, n_classes)
        return to_numpy(logits)

    with one_blas_thread(), shared_by(cores() if model.xp is numpy else 1) as map_:
        bar = {"total": len(batches) if isinstance(batches, Sized) else None, "unit": "batch", **bar_of(progress)}
        return numpy.concatenate(list(tqdm(map_(logits_of, batches), "texts", **bar)))


def measure(model, task, *, split="test", n_prompts=48, max_tokens=None, progress=False):
    """How well a model does a task.

    Parameters
    ----------
    model : GPT, or for classes RobertaForClassification or DebertaForClassification
    task : PairTask, TextTask, ConversationTask, or ClassificationTask
    split : str
    n_prompts : int
        How many prompts are continued, greedily.
    max_tokens : int, optional
        Of an answer; as many as make LONGEST_ANSWER bytes, if not given.
    progress : bool
        Show a progress bar if it takes more than two seconds.

    Returns
    -------
    dict
        For classes: what `measure_classes` returns, and scores of the `baselines`. For texts: loss (nats per token),
        bytes_per_token, and bits_per_byte, which compares models of different tokens; samples, a list of dicts of
        prompt, answer and reference; and for mini-E2E slot_exact and slot_error_rate, see `slot_scores`.
    """
    check_vocabulary(model, task.tokenizer)
    if isinstance(task, ClassificationTask):
        return {**measure_classes(model, task, split=split, progress=progress), "baselines": baselines(task, split)}
    bar = bar_of(progress)
    loss = evaluate_loss(model, list(task.batches(split)), progress="loss" if progress else None)
    prompts, references = task.prompts(split, n_prompts)
    stops = task.stops if isinstance(task, ConversationTask) else (task.tokenizer.end_of_text,)
    bytes_per_token, answers = task.bytes_per_token(split), []
    max_tokens = max_tokens or math.ceil(LONGEST_ANSWER / bytes_per_token)
    for i in tqdm(range(0, len(prompts), TOGETHER), "answers", unit_scale=TOGETHER, unit="prompt", **bar):
        answers += generate(model, prompts[i : i + TOGETHER], max_tokens=max_tokens, stop=stops)
    samples = [
        {"prompt": read(task.tokenizer, prompt), "answer": read(task.tokenizer, answer), "reference": reference}
        for prompt, answer, reference in zip(prompts, answers, references, strict=True)
    ]
    result = {
        "loss": loss,
        "bytes_per_token": bytes_per_token,
        "bits_per_byte": loss / math.log(2.0) / bytes_per_token,
        "samples": samples,
    }
    if task.name == "mini-e2e":
        result |= slot_scores(samples)
    return result


def bar_of(progress):
    """tqdm's settings for a bar that is shown after two seconds, and only while something is measured."""
    return {"delay": 2, "leave": False, "disable": not progress or sys.stderr is None}


def read(tokenizer, ids):
    """The text of some ids; those of the embedding's unused rows, which have none, are left out."""
    return tokenizer.decode([token for token in ids if token < tokenizer.vocab_size])


def slot_scores(samples):
    """How correct the answers to mini-E2E's prompts are.

    Parameters
    ----------
    samples : list of dict
        With prompt and answer.

    Returns
    -------
    dict
        slot_exact, the fraction of answers that say every attribute once and nothing else, in a sentence of the
        grammar; slot_error_rate, the missing, wrong and invented attributes as a fraction of those requested.
    """
    asked = [parse_source(sample["prompt"].strip()) for sample in samples]
    errors = [slot_errors(mr, sample["answer"]) for mr, sample in zip(asked, samples, strict=True)]
    return {
        "slot_exact": sum(e.exact for e in errors) / len(errors),
        "slot_error_rate": sum(e.n_errors for e in errors) / sum(map(len, asked)),
    }


def step_memory(trainer):
    """The memory of a training step in bytes: what persists (weights, optimizer state) and the step's peak above it.

    The step is computed once more, without changing a weight, while Python's tracemalloc follows every array, or on a
    GPU, CuPy's memory pool.
    """
    model, optimizer = trainer.model, trainer.optimizer
    staying = sum(p.nbytes for p in model.parameters())
    staying += sum(array.nbytes for state in optimizer.state for array in state.values())
    batch = trainer.sample_batch(numpy.random.default_rng(0))  # the same for every method
    model.zero_grad()
    pool = gpu_memory(release=True)
    with trainer.objective() as objective:
        tracemalloc.start()
        objective.loss_and_backward(batch, numpy.random.default_rng(0))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    if trainer.device == "gpu":
        peak = gpu_memory()["total"] - pool["used"]
    model.zero_grad()
    return {"staying": staying, "peak": staying + peak}


def generation_speed(variants, prompt, *, tokens=128, rounds=5):
    """Tokens per second when generating one sequence, for several models or several states of one, interleaved.

    Parameters
    ----------
    variants : dict of str to callable
        Each returns the model, in the state to be measured.
    prompt : integer sequence
    tokens, rounds : int

    Returns
    -------
    dict of str to list of float
        Tokens per second in each round.
    """
    speeds = {name: [] for name in variants}
    for _ in range(rounds):
        for name, prepare in variants.items():
            model = prepare()
            started = time.perf_counter()
            made = generate(model, [prompt], max_tokens=tokens)
            speeds[name].append(len(made[0]) / (time.perf_counter() - started))
    return speeds


def median_and_range(values):
    """A dict of median, min and max, for JSON."""
    return {"median": median(values), "min": min(values), "max": max(values)}

"""Adapting a model to a task, by any method: train, keep what was learned in a run folder, measure."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy

from minilora.accounting import count_parameters
from minilora.arrays.products import gpu_products
from minilora.data import check_vocabulary
from minilora.distributed import SINGLE_PROCESS
from minilora.experiments.measure import measure, step_memory
from minilora.experiments.record import provenance
from minilora.experiments.run_result import RESULT as RESULT
from minilora.experiments.run_result import describe_file, finished_run, write_result
from minilora.methods import METHODS, apply_method, quantization_of, save_adapter
from minilora.methods.registry import needs_batches
from minilora.methods.selection import new_parameters
from minilora.models import save_model, weights_hash
from minilora.training import TrainConfig, Trainer, diagnose, evaluate_loss, resume_newest
from minilora.training.checkpoint import remove_checkpoints

START_BATCHES = 8


@dataclass(frozen=True)
class FinetuneConfig:
    """What is adapted to what, and how.

    Parameters
    ----------
    task : str
        See `minilora.data.load_task` and `load_classification_task`.
    method : str
        A name in `minilora.methods.METHODS`.
    settings : dataclass, optional
        The method's configuration, such as a LoRAConfig; METHODS[method] if not given.
    train : TrainConfig
    """

    task: str = "mini-e2e"
    method: str = "lora"
    settings: Any = None
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self):
        if self.method not in METHODS:
            raise ValueError(f"method was {self.method!r}; it must be one of {', '.join(map(repr, METHODS))}")
        default = METHODS[self.method]
        if self.settings is None:
            object.__setattr__(self, "settings", default)
        if type(self.settings) is not type(default):
            raise ValueError(f"settings was {self.settings!r}; for {self.method} it must be a {type(default).__name__}")


def run(
    model,
    task,
    config,
    folder,
    *,
    command=None,
    about=None,
    products="float32",
    progress=True,
    checkpoint_every=None,
    ranks=SINGLE_PROCESS,
    n_prompts=48,
):
    """Adapt a model, in place, and write what came of it to a folder.

    With `checkpoint_every`, an interrupted run resumes where it stopped, and a finished one is not repeated:
    its result is returned, and the model is left untrained. Without it, the run starts over.

    Parameters
    ----------
    model : GPT, or for classes RobertaForClassification or DebertaForClassification
    task : PairTask, TextTask, ConversationTask, or ClassificationTask
    config : FinetuneConfig
    folder : str or Path
        Gets what was learned (``adapter.safetensors``), or after full fine-tuning the whole model
        (``model.safetensors``), ``result.json``, and the trainer's ``config.json`` and ``history.json``.
    command : str, optional
        The command line, for the record.
    about : dict of str to str, optional
        What the model is, for the record: see `OpenedModel.about`.
    products : {"float32", "tf32", "bfloat16"}
        How a GPU multiplies by weights: see `minilora.arrays.products`.
    progress : bool
        Show a progress bar.
    checkpoint_every : int, optional
        Steps between two checkpoints of the unfinished run.
    ranks : SingleProcess or Ranks, optional
        The job that this process belongs to. All its ranks train; only the first writes, and measures at the end.
    n_prompts : int
        How many prompts are continued at the end; see `measure`.

    Returns
    -------
    result : dict
        What ``result.json`` holds.
    history : History

    Raises
    ------
    ValueError
        With `checkpoint_every`, if the folder holds a run of another configuration, task or model; the message says
        what differs. Also if that run is finished, but its learned file is missing or is not the one its result
        describes.
    Diverged
        If training, or the measurement at the end, gave infinite or NaN numbers.
    FileNotFoundError
        If the folder is removed during the run.
    """
    multiplying = gpu_products(products, "cpu" if model.xp is numpy else "gpu")
    chosen = {} if products == "float32" else {"products": products}
    check_vocabulary(model, task.tokenizer)
    folder, base = Path(folder), weights_hash(model)
    batches = start_batches(task, config.settings, config.train)
    apply_method(model, config.settings, rng=numpy.random.default_rng(config.train.seed), batches=batches)
    trainer = Trainer(
        model,
        lambda rng: task.sample_batch(rng, config.train.batch_size),
        config.train,
        validate=lambda: evaluate_loss(model, task.batches("valid"), ranks),
        folder=folder,
        checkpoint_every=checkpoint_every,
        about={
            "task": task.name,
            "task_id": task.id,
            "model_id": base,
            "method": config.method,
            "settings": asdict(config.settings),
            **chosen,
        },
        ranks=ranks,
    )
    with trainer.folder_to_itself(), multiplying:
        if checkpoint_every:
            if kept := ranks.bcast_from_root(lambda: finished_run(folder, trainer.configuration)):
                return kept
            resume_newest(trainer, folder)
        trainer.run({"lora": "LoRA", "full": "full fine-tuning"}.get(config.method, config.method), progress)
        kept = {"command": command, **(about or {}), **chosen}
        result = ranks.bcast_from_root(
            lambda: _measured_and_kept(trainer, task, config, base, kept, n_prompts, progress)
        )
    return result, trainer.history


def start_batches(task, settings, train):
    """The batches from which a method starts that needs some, LoRA-GA; None for the others."""
    if not needs_batches(settings):
        return None
    rng = numpy.random.default_rng([train.seed, 2])  # `seed` by itself draws what the method adds, and the batches
    return [task.sample_batch(rng, train.batch_size) for _ in range(START_BATCHES)]


def _measured_and_kept(trainer, task, config, base, about, n_prompts, progress):
    """Measure a run whose training is over; write the result and what was learned to its folder."""
    model, history, folder, ranks = trainer.model, trainer.history, trainer.folder, trainer.ranks
    memory = step_memory(trainer)
    trainer.check_folder()
    path = folder / ("model.safetensors" if config.method == "full" else "adapter.safetensors")
    if config.method == "full":
        save_model(model, path, **about)
    else:
        save_adapter(model, path)

    measures = measure(model, task, n_prompts=n_prompts, progress=progress)
    trainer.check_folder()
    count, head = count_parameters(model), sum(p.size for p in new_parameters(model).values())
    quantization = quantization_of(model)
    result = {
        **about,
        "config": json.loads(json.dumps(asdict(config))),
        "model_id": base,
        "task": {"name": task.name, "id": task.id, "left_out": task.left_out},
        "trainable": count.trainable,
        **({"head": head} if head else {}),
        "percent": count.percent,
        **({"quantization": quantization} if quantization is not None else {}),
        **measures,
        "concerns": diagnose(history),
        "seconds": history.seconds,
        "tokens_per_second": history.tokens / history.seconds,
        "memory": memory,
        **({"ranks": ranks.size, "bytes_per_step": trainer.bucket.nbytes} if ranks.size > 1 else {}),
        "threads": trainer.threads,
        "file": describe_file(path),
        **provenance(),
    }
    write_result(folder, result)
    remove_checkpoints(folder)
    return result

"""The files that minilora reads, a real one of each kind, and what reads it.

A target makes its files in a folder, and says which of them is damaged, and how. Its `read` reads what lies there and
uses it: a model computes, a text is encoded. After a refusal, whatever was to be changed must be as it was.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.tiny import byte_gpt, csv_text, jsonl_text, prose_text, sum_task, sums, words_csv
from fuzz.mutations import mutate_bytes, mutate_json_file, mutate_safetensors
from interop.folders import GOLDEN, Folder
from interop.gguf_models import CONFIGS, adapted, config_of, tiny_llama
from interop.make_tiny_folders import make_gpt2, make_llama
from methods.every import EVERY, tiny_adapted
from methods.tiny import same_bits, tiny_gpt, tiny_lora, weights_of
from minilora.data import ByteTokenizer, load_labelled_file, load_task_file, load_text_file
from minilora.data.batches import LMBatch
from minilora.data.files import column_names
from minilora.experiments import finetune
from minilora.experiments.finetune import FinetuneConfig
from minilora.experiments.finished_runs import FinishedRuns
from minilora.experiments.report.own import factors_in
from minilora.experiments.report.page import page
from minilora.experiments.report.report import make_report
from minilora.experiments.run_result import finished_run, read_result
from minilora.interop import (
    load_gguf,
    load_gguf_adapter,
    load_gpt2,
    load_llama,
    load_peft,
    load_roberta,
    load_tokenizer,
    save_gguf,
    save_gguf_adapter,
)
from minilora.interop.description import describe
from minilora.methods import LoRAConfig, load_adapter, save_adapter
from minilora.models import Decoder, load_model, save_model
from minilora.training import TrainConfig, resume_run, save_run
from models.tiny_encoders import ALL, IDS, MASK, tiny
from training.runs import trainer


class Target(NamedTuple):
    files: dict[str, bytes]  # by their names in the folder
    damage: dict[str, Callable]  # how to damage one of them: f(content, rng) -> content
    read: Callable  # read(folder)


def files_in(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def compute(model):
    """A forward pass, which finds shapes that do not fit; its numbers may be anything. What was loaded must compute."""
    T = min(3, model.longest_input)  # nothing in a Llama's file says that its longest sequence is a short one
    ids, counted = np.zeros((1, T), int), np.ones((1, T), bool)
    try:
        with np.errstate(all="ignore"):
            _ = model.loss(LMBatch(ids, ids, counted)) if isinstance(model, Decoder) else model.forward(IDS, MASK)
    except ValueError as error:
        raise AssertionError("loaded, but it does not compute") from error


def unchanged_if_refused(model, change):
    """Call ``change()``; if it raises, the model must have the weights that it had."""
    before = weights_of(model)
    try:
        change()
    except ValueError:
        assert same_bits(weights_of(model), before), "refused, but the model is another one"
        raise


def model_target(model, folder):
    save_model(model, folder / "model.safetensors")
    return Target(
        files_in(folder),
        {"model.safetensors": mutate_safetensors},
        lambda folder: compute(load_model(folder / "model.safetensors")),
    )


def adapter_target(config, folder):
    save_adapter(tiny_adapted(config, "float32"), folder / "adapter.safetensors")

    def read(folder):
        model = tiny_gpt("float32")
        unchanged_if_refused(model, lambda: load_adapter(model, folder / "adapter.safetensors"))
        compute(model)

    return Target(files_in(folder), {"adapter.safetensors": mutate_safetensors}, read)


def checkpoint_target(folder):
    made = trainer(tiny_lora())
    made.run(progress=False)
    save_run(made, folder / "checkpoint.safetensors")

    def read(folder):
        model = tiny_lora()
        made = trainer(model)
        unchanged_if_refused(model, lambda: resume_run(made, folder / "checkpoint.safetensors"))
        assert made.step == len(made.history.losses)
        made.run(progress=False)

    return Target(files_in(folder), {"checkpoint.safetensors": mutate_safetensors}, read)


def hf_target(name, load, folder, shards=False):
    changed = Folder(name, folder / name)
    if shards:
        changed.shard(2)
    files = files_in(folder / name)
    damage = {name: mutate_safetensors for name in files if name.endswith(".safetensors")}
    damage |= {name: mutate_json_file for name in files if name.endswith(("config.json", "index.json"))}
    return Target(files, damage, lambda folder: compute(load(folder)))


def peft_target(adapter, base, folder):
    shutil.copytree(GOLDEN / "peft" / adapter, folder / "peft")

    def read(folder):
        model = base.replica()
        unchanged_if_refused(model, lambda: load_peft(model, folder))
        compute(model)

    files = {name: content for name, content in files_in(folder / "peft").items() if name.startswith("adapter_")}
    damage = {"adapter_config.json": mutate_json_file, "adapter_model.safetensors": mutate_safetensors}
    return Target(files, damage, read)


def report_target(folder):
    """A report needs no model that would know what fits."""
    peft = peft_target("gpt2/patterns", None, folder)

    def read(folder):
        told, factors = describe(folder), factors_in(folder)
        page(make_report("peft", told, factors, other="peft", others=factors))

    return peft._replace(read=read)


def run_folder_target(folder):
    task = sum_task()
    config = FinetuneConfig("sums", "lora", LoRAConfig(rank=2), TrainConfig(steps=2, batch_size=2, threads=1))
    finetune.run(byte_gpt(), task, config, folder, progress=False)
    configuration = json.loads((folder / "config.json").read_text())

    def read(folder):
        read_result(folder / "result.json")
        finished_run(folder, configuration)

    damage = {"result.json": mutate_json_file, "history.json": mutate_json_file}
    return Target(files_in(folder), damage, read)


def text_target(name, text, load):
    def read(folder):
        column_names(folder / name)
        for line in load(folder / name):
            assert line.strip() and len(ByteTokenizer().encode(line))

    return Target({name: text.encode()}, {name: mutate_bytes}, read)


def gguf_target(folder, gpt2=False):
    tokenizer = (make_gpt2 if gpt2 else make_llama)(folder / "tokenizer")
    model = load_gpt2(tokenizer) if gpt2 else tiny_llama(config_of("grouped", tokenizer))
    save_gguf(model, folder / "model.gguf", like=tokenizer, dtype="q8_0")

    def read(folder):
        compute(load_gguf(folder / "model.gguf"))
        load_tokenizer(folder / "model.gguf").encode("The river is 12 <|im_end|>")

    return Target({"model.gguf": (folder / "model.gguf").read_bytes()}, {"model.gguf": mutate_bytes}, read)


def gguf_adapter_target(folder):
    model, base = adapted(), tiny_llama(CONFIGS["grouped"])
    save_gguf_adapter(model, folder / "adapter.gguf")

    def read(folder):
        model = base.replica()
        describe(folder / "adapter.gguf")
        unchanged_if_refused(model, lambda: load_gguf_adapter(model, folder / "adapter.gguf"))
        compute(model)

    return Target({"adapter.gguf": (folder / "adapter.gguf").read_bytes()}, {"adapter.gguf": mutate_bytes}, read)


def sentencepiece_target(folder):
    shutil.copy(GOLDEN / "sentencepiece" / "llama.model", folder / "tokenizer.model")

    def read(folder):
        tokenizer = load_tokenizer(folder)
        tokenizer.decode(tokenizer.encode("The river   is 12 </s>"))

    return Target(files_in(folder), {"tokenizer.model": mutate_bytes}, read)


def texts_of(examples):
    return [text for e in examples for text in astuple(e) if text is not None]


def runs_target(folder):
    about = {"version": 1}
    runs = FinishedRuns(folder / "runs.jsonl", about)
    for seed in range(3):
        runs.keep({"seed": seed}, {"loss": 0.5})

    def read(folder):
        runs = FinishedRuns(folder / "runs.jsonl", about)
        runs.has({"seed": 1})

    return Target(files_in(folder), {"runs.jsonl": mutate_bytes}, read)


def targets(folder):
    """All targets, by name; their files are first made below `folder`."""

    def place(name):
        (Path(folder) / name).mkdir()
        return Path(folder) / name

    made = {"model file: gpt": model_target(byte_gpt(), place("gpt"))}
    for model_class in ALL:
        name = model_class.__name__
        made[f"model file: {name}"] = model_target(tiny(model_class, "float32"), place(name))
    for name in ("lora", "dora", "pissa", "adapter-h", "prefix-layer", "bitfit", "full"):
        made[f"adapter file: {name}"] = adapter_target(EVERY[name], place(f"adapter {name}"))
    made["checkpoint"] = checkpoint_target(place("checkpoint"))
    made["HF folder: gpt2"] = hf_target("gpt2", load_gpt2, place("hf gpt2"))
    made["HF folder: gpt2 in shards"] = hf_target("gpt2", load_gpt2, place("hf shards"), shards=True)
    made["HF folder: roberta"] = hf_target("roberta_classification", load_roberta, place("hf roberta"))
    made["HF folder: llama"] = hf_target("llama/llama3", load_llama, place("hf llama"))
    made["HF folder: qwen2 in shards"] = hf_target("llama/qwen2", load_llama, place("hf qwen2"), shards=True)
    made["PEFT folder: gpt2"] = peft_target("gpt2/c_attn", load_gpt2(GOLDEN / "peft" / "gpt2"), place("peft"))
    llama = load_llama(GOLDEN / "peft" / "llama")
    made["PEFT folder: llama"] = peft_target("llama/head", llama, place("peft llama"))
    made["report of a PEFT folder"] = report_target(place("report"))
    made["GGUF file"] = gguf_target(place("gguf"))
    made["GGUF file: gpt2"] = gguf_target(place("gguf gpt2"), gpt2=True)
    made["GGUF adapter"] = gguf_adapter_target(place("gguf adapter"))
    made["tokenizer.model"] = sentencepiece_target(place("sentencepiece"))
    made["run folder"] = run_folder_target(place("run folder"))
    made["runs.jsonl"] = runs_target(place("runs"))
    made["csv"] = text_target("task.csv", csv_text(sums(20)), lambda p: texts_of(load_task_file(p)))
    made["jsonl"] = text_target("task.jsonl", jsonl_text(sums(20)), lambda p: texts_of(load_task_file(p)))
    made["labelled csv"] = text_target("task.csv", words_csv(30), lambda p: texts_of(load_labelled_file(p)))
    made["txt"] = text_target("a.txt", prose_text(), lambda p: [d.text for d in load_text_file(p).documents])
    return made

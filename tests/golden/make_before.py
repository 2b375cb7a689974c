"""Make the files of tests/golden/before: what minilora wrote and computed at commit 4c974cf, in November 2026.

Run once, with the code of that commit; `tests/models/test_files_of_before.py` reads them with the code of today. A
user's model, adapter and checkpoint have to load for ever, and to compute what they did.

    models/KIND.safetensors              each kind of model, float64, at a generic point
    adapters/KIND.METHOD.safetensors     what each method has learned beside it
    run/                                 a run that stopped after step 3 of 6
    expected.float64.safetensors         logits, loss and ids, by "KIND" and "KIND.METHOD"; under "next.", what
    expected.float32.safetensors         `save_adapter` writes after a step of AdamW; the weights at the end of the run
"""

import itertools
import shutil
import sys
from pathlib import Path

import numpy as np
from minilora.generation import generate

from minilora.data.batches import Batch
from minilora.data.classification import LabelledBatch
from minilora.data.masked import MaskedBatch
from minilora.files import load_arrays, save_arrays
from minilora.methods import (
    METHODS,
    AdapterConfig,
    LoRAConfig,
    PrefixConfig,
    TopKConfig,
    apply_method,
    load_adapter,
    save_adapter,
)
from minilora.models import (
    GPT,
    Deberta,
    DebertaConfig,
    DebertaForClassification,
    GPTConfig,
    Roberta,
    RobertaConfig,
    RobertaForClassification,
    RobertaForMaskedLM,
    load_model,
    save_model,
)
from minilora.training import AdamW, TrainConfig, Trainer, loss_and_backward, resume_run

HERE = Path(__file__).resolve().parent / "before"
V, PAD = 13, 1
GPT_CONFIG = GPTConfig(vocab_size=V, n_positions=16, n_layer=2, d_model=6, n_head=2, d_mlp=10)
ROBERTA = RobertaConfig(vocab_size=V, n_positions=9, n_layer=2, d_model=6, n_head=2, d_mlp=10, n_classes=3)
DEBERTA = DebertaConfig(
    vocab_size=V, n_layer=2, d_model=6, n_head=2, d_mlp=10, n_buckets=2, max_distance=6, n_classes=3
)
MODELS = {
    "gpt": (GPT, GPT_CONFIG),
    "roberta": (Roberta, ROBERTA),
    "roberta-classification": (RobertaForClassification, ROBERTA),
    "roberta-masked-lm": (RobertaForMaskedLM, ROBERTA),
    "deberta": (Deberta, DEBERTA),
    "deberta-classification": (DebertaForClassification, DEBERTA),
}
LORA = {"rank": 2, "alpha": 3.0, "targets": ("q_proj", "v_proj", "fc_in")}
SMALL = {  # settings that fit models of six channels
    "lora": LoRAConfig(**LORA, dropout=0.25),
    "rslora": LoRAConfig(**LORA, rslora=True),
    "dora": LoRAConfig(**LORA, dora=True),
    "pissa": LoRAConfig(**LORA, init="pissa"),
    "top-k": TopKConfig(1),
    "adapter-h": AdapterConfig("houlsby", size=2),
    "adapter-l": AdapterConfig("lin", size=2),
    "adapter-p": AdapterConfig("pfeiffer", size=2),
    "adapter-d": AdapterConfig("pfeiffer", size=2, leave_out=1),
    "prefix-embedding": PrefixConfig("embedding", 2, 1),
    "prefix-layer": PrefixConfig("layer", 1, 2),
}
ADAPTED = {
    "gpt": tuple(METHODS),
    "roberta-classification": ("lora", "dora", "adapter-h", "bitfit"),
    "deberta-classification": ("lora", "pissa", "adapter-l", "full"),
}
IDS = np.array([[3, 7, 4, 0, 5, 9, 2], [6, 5, 3, 5, PAD, PAD, PAD], [8, 12, PAD, PAD, PAD, PAD, PAD]])  # (N, T)
MASK = IDS != PAD
COUNTED = MASK & (IDS % 2 == 0)
TARGETS = np.roll(IDS, -1, axis=1)
PROMPTS = [[3, 1, 4], [2, 7, 1, 8, 2]]


def batch_of(kind):
    """What the model's loss takes; None for an encoder without a head, which has no loss."""
    if kind == "gpt":
        return Batch(IDS, TARGETS, COUNTED)
    if kind.endswith("classification"):
        return LabelledBatch(IDS, MASK, np.array([2, 0, 1]))
    return MaskedBatch(IDS, MASK, TARGETS, COUNTED) if kind.endswith("masked-lm") else None


def shake(model, parameters, rng):
    for p in parameters:
        p.data = p.data + (0.3 * rng.standard_normal(p.data.shape)).astype(p.data.dtype)


def outputs(model, kind):
    """What a model says, by name: logits, loss, tokens."""
    if kind == "gpt":
        ids = model.prefix.insert(IDS, IDS, COUNTED)[0]
        found = {"logits": model.forward(ids)[0]}
        for name, how in {"greedy": {}, "drawn": {"temperature": 1.5, "top_k": 9, "top_p": 0.95}}.items():
            tokens = generate(model, PROMPTS, max_tokens=5, rng=np.random.default_rng(3), **how)
            found[name] = np.array(tokens)
    else:
        found = {"logits": model.forward(IDS, MASK)[0]}
    if batch_of(kind) is not None:
        found["loss"] = np.array(model.loss(*batch_of(kind))[0])
    return found


def next_step(model, kind, folder):
    """What `save_adapter` writes after a step of AdamW."""
    loss_and_backward(model, batch_of(kind), rng=np.random.default_rng(4))
    AdamW(model.parameters(), 0.01).step()
    save_adapter(model, folder / "next.safetensors")
    arrays, _ = load_arrays(folder / "next.safetensors", *"lora adapter prefix bitfit top-k full head".split())
    (folder / "next.safetensors").unlink()
    return {f"next.{name}": array for name, array in arrays.items()}


def run_trainer(model, folder, sample_batch):
    config = TrainConfig(steps=6, batch_size=3, lr=0.02, lr_ratio_B=4.0, weight_decay=0.1, threads=1, seed=5)
    return Trainer(model, sample_batch, config, folder=folder, checkpoint_every=3)


def sample_batch(rng):
    ids, targets = rng.integers(0, V, (2, 3, 7))
    return Batch(ids, targets, targets % 3 > 0)


class PowerCut(Exception):
    pass


def make_run(folder):
    """A run that ends in its fifth step; the checkpoint is of the third."""
    model = load_model(HERE / "models" / "gpt.safetensors")
    load_adapter(model, HERE / "adapters" / "gpt.lora.safetensors")
    calls = itertools.count()

    def with_a_power_cut(rng):
        if next(calls) == 4:
            raise PowerCut
        return sample_batch(rng)

    try:
        run_trainer(model, folder, with_a_power_cut).run(progress=False)
    except PowerCut:
        (folder / ".lock").unlink(missing_ok=True)


def main():
    (HERE / "models").mkdir(parents=True, exist_ok=True)
    (HERE / "adapters").mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for kind, (model_class, config) in MODELS.items():
        model = model_class(config, rng, dtype="float64")
        shake(model, model.parameters(), rng)
        save_model(model, HERE / "models" / f"{kind}.safetensors", note="of before")
        for method in ADAPTED.get(kind, ()):
            model = load_model(HERE / "models" / f"{kind}.safetensors", dtype="float64")
            apply_method(model, SMALL.get(method, method), rng=rng)
            shake(model, model.trainable_parameters(), rng)
            save_adapter(model, HERE / "adapters" / f"{kind}.{method}.safetensors")
    make_run(HERE / "run")
    for dtype in ("float64", "float32"):
        expected = {}
        for kind in MODELS:
            path = HERE / "models" / f"{kind}.safetensors"
            found = outputs(load_model(path, dtype=dtype), kind)
            expected |= {f"{kind}.{name}": array for name, array in found.items()}
            for method in ADAPTED.get(kind, ()):
                model = load_model(path, dtype=dtype)
                load_adapter(model, HERE / "adapters" / f"{kind}.{method}.safetensors")
                found = outputs(model, kind) | next_step(model, kind, HERE)
                expected |= {f"{kind}.{method}.{name}": array for name, array in found.items()}
        if dtype == "float32":
            expected |= end_of_run()
        save_arrays(HERE / f"expected.{dtype}.safetensors", expected, {"kind": "expected"})


def end_of_run():
    shutil.copytree(HERE / "run", HERE / "copy")
    model = load_model(HERE / "models" / "gpt.safetensors")
    load_adapter(model, HERE / "adapters" / "gpt.lora.safetensors")
    trainer = run_trainer(model, HERE / "copy", sample_batch)
    resume_run(trainer, HERE / "copy" / "checkpoint.safetensors")
    trainer.run(progress=False)
    save_adapter(model, HERE / "copy" / "end.safetensors")
    arrays, _ = load_arrays(HERE / "copy" / "end.safetensors", "lora")
    shutil.rmtree(HERE / "copy")
    return {f"run.{name}": array for name, array in arrays.items()} | {"run.losses": np.array(trainer.history.losses)}


if __name__ == "__main__":
    sys.exit(main())

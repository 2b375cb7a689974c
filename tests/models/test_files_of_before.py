"""Model files, adapter files and a checkpoint that an older minilora wrote load, and compute what they did then.

`tests/golden/make_before.py` says what they are; it made them with the code of commit 4c974cf.
"""

import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from minilora.data.batches import LMBatch
from minilora.data.classification import ClassificationBatch
from minilora.data.masked import MaskedBatch
from minilora.files import load_arrays
from minilora.methods import load_adapter, save_adapter
from minilora.methods.registry import KINDS
from minilora.models import load_model
from minilora.models.generation import generate
from minilora.training import AdamW, TrainConfig, Trainer, loss_and_backward, resume_run

BEFORE = Path(__file__).parents[1] / "golden" / "before"
MODELS = sorted(path.stem for path in BEFORE.glob("models/*"))
ADAPTERS = sorted(path.stem for path in BEFORE.glob("adapters/*"))
V, PAD = 13, 1
IDS = np.array([[3, 7, 4, 0, 5, 9, 2], [6, 5, 3, 5, PAD, PAD, PAD], [8, 12, PAD, PAD, PAD, PAD, PAD]])  # (N, T)
MASK = IDS != PAD
COUNTED = MASK & (IDS % 2 == 0)
TARGETS = np.roll(IDS, -1, axis=1)
PROMPTS = [[3, 1, 4], [2, 7, 1, 8, 2]]
DTYPES = pytest.mark.parametrize("dtype", ["float64", "float32"])


@cache
def expected(dtype):
    return load_arrays(BEFORE / f"expected.{dtype}.safetensors", "expected")[0]


def expected_of(dtype, prefix):
    return {name.removeprefix(prefix): a for name, a in expected(dtype).items() if name.startswith(prefix)}


def model_of(kind, dtype):
    return load_model(BEFORE / "models" / f"{kind}.safetensors", dtype=dtype)


def batch_of(kind):
    if kind == "gpt":
        return LMBatch(IDS, TARGETS, COUNTED)
    if kind.endswith("classification"):
        return ClassificationBatch(IDS, MASK, np.array([2, 0, 1]))
    return MaskedBatch(IDS, MASK, TARGETS, COUNTED) if kind.endswith("masked-lm") else None


def outputs(model, kind):
    if kind == "gpt":
        ids = model.read_batch(LMBatch(IDS, IDS, COUNTED))[0]
        found = {"logits": model.forward(ids)[0]}
        for name, how in {"greedy": {}, "drawn": {"temperature": 1.5, "top_k": 9, "top_p": 0.95}}.items():
            found[name] = np.array(generate(model, PROMPTS, max_tokens=5, rng=np.random.default_rng(3), **how))
    else:
        found = {"logits": model.forward(IDS, MASK)[0]}
    if batch_of(kind) is not None:
        found["loss"] = np.array(model.loss(batch_of(kind))[0])
    return found


def saved(model, folder):
    save_adapter(model, folder / "saved.safetensors")
    return load_arrays(folder / "saved.safetensors", *KINDS)[0]


def assert_agree(found, wanted, dtype):
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype, name
        if array.dtype.kind == "i":
            assert np.array_equal(found[name], array), name
        elif not name.endswith("k_proj.bias"):  # its gradient is zero but for rounding, of which Adam makes a step
            size = np.linalg.norm(array)
            bound = {"float64": 1e-12, "float32": 2e-6}[dtype]
            assert np.linalg.norm(found[name] - array) <= bound * size, name


@DTYPES
@pytest.mark.parametrize("kind", MODELS)
def test_a_models_file(kind, dtype):
    wanted = {k: a for k, a in expected_of(dtype, f"{kind}.").items() if k in ("logits", "loss", "greedy", "drawn")}
    assert wanted
    assert_agree(outputs(model_of(kind, dtype), kind), wanted, dtype)


@DTYPES
@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapters_file_and_the_next_step(name, dtype, tmp_path):
    kind = name.partition(".")[0]
    model = model_of(kind, dtype)
    load_adapter(model, BEFORE / "adapters" / f"{name}.safetensors")
    wanted = expected_of(dtype, f"{name}.")
    found = outputs(model, kind)
    loss_and_backward(model, batch_of(kind), rng=np.random.default_rng(4))
    AdamW(model.trainable_parameters(), 0.01).step()
    found |= {f"next.{parameter}": array for parameter, array in saved(model, tmp_path).items()}
    assert_agree(found, wanted, dtype)


def test_a_run_goes_on_from_its_checkpoint(tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(BEFORE / "run", folder)
    model = model_of("gpt", "float32")
    load_adapter(model, BEFORE / "adapters" / "gpt.lora.safetensors")
    model.reads_several_texts = False  # with padding, as then: without it, dropout draws for fewer positions
    config = TrainConfig(steps=6, batch_size=3, lr=0.02, lr_ratio_B=4.0, weight_decay=0.1, threads=1, seed=5)

    def sample_batch(rng):
        ids, targets = rng.integers(0, V, (2, 3, 7))
        return LMBatch(ids, targets, targets % 3 > 0)

    trainer = Trainer(model, sample_batch, config, folder=folder, checkpoint_every=3)
    resume_run(trainer, folder / "checkpoint.safetensors")
    assert trainer.step == 3
    trainer.run(progress=False)
    found = saved(model, tmp_path) | {"losses": np.array(trainer.history.losses)}
    assert_agree(found, expected_of("float32", "run."), "float32")

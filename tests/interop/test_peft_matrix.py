"""Some 80 adapters that peft makes for each of nine models: each gives peft's logits here, or is refused by the name of
its field; and what comes in goes out again, and gives peft our logits.

peft and torch live in an environment of their own, whose Python MINILORA_PEER_PYTHON names; or it is in .venv-torch.
"""

import json
import os
import re
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from methods.tiny import EVERYWHERE
from minilora import interop
from minilora.methods import LoRAConfig, apply_lora
from minilora.models import Decoder

HERE = Path(__file__).resolve().parent
PYTHON = os.environ.get("MINILORA_PEER_PYTHON") or str(HERE.parent.parent / ".venv-torch" / "bin" / "python")
LOADERS = {
    "gpt2": interop.load_gpt2,
    "roberta": interop.load_roberta,
    "masked": interop.load_roberta,
    "encoder": interop.load_roberta,
    "deberta": interop.load_deberta,
    "deberta-encoder": interop.load_deberta,
    "llama": interop.load_llama,
    "qwen2": interop.load_llama,
    "mistral": interop.load_llama,
}
LLAMAS = ("llama", "qwen2", "mistral")
# How many give the same logits, and how many are refused by the name of a field; peft itself refuses the rest.
COUNTS = {
    "gpt2": (66, 13),
    "roberta": (71, 6),
    "masked": (66, 11),
    "encoder": (72, 7),
    "deberta": (71, 7),
    "deberta-encoder": (69, 10),
    "llama": (73, 9),
    "qwen2": (65, 16),
    "mistral": (73, 9),
}
FIELDS = ["target_modules", "modules_to_save", "trainable_token_indices", "ensure_weight_tying", "lora_bias"]
FIELDS += ["lora_dropout", "layer_replication", "init_lora_weights"]
OURS = {
    "ours everywhere": LoRAConfig(rank=3, targets=EVERYWHERE),
    "ours rslora": LoRAConfig(rank=2, rslora=True, targets=("q_proj", "v_proj"), rank_pattern={"v_proj": 4}),
    "ours dora": LoRAConfig(rank=2, dora=True, targets=("q_proj", "fc_in")),
    "ours alpha 0": LoRAConfig(rank=2, targets=("q_proj", "v_proj"), alpha_pattern={"q_proj": 0}),
    "ours no alpha": LoRAConfig(rank=2, alpha=0, targets=("q_proj", "v_proj")),
    "ours besides": LoRAConfig(rank=2, targets=("q_proj", "v_proj"), besides=("ln_1", "blocks.1.mlp")),
    "ours biases": LoRAConfig(rank=2, targets=("q_proj", "v_proj", "fc_out"), besides=("bias",)),
}
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
OURS_OF_LLAMA = {
    "ours everywhere": LoRAConfig(rank=3, targets=PROJECTIONS),
    "ours rslora": LoRAConfig(rank=2, rslora=True, targets=("q_proj", "v_proj"), rank_pattern={"v_proj": 4}),
    "ours dora": LoRAConfig(rank=2, dora=True, targets=("q_proj", "up_proj")),
    "ours alpha 0": LoRAConfig(rank=2, targets=("q_proj", "v_proj"), alpha_pattern={"q_proj": 0}),
    "ours besides": LoRAConfig(rank=2, targets=("k_proj",), besides=("rms_1", "blocks.1.mlp")),
} | {f"ours {name}": LoRAConfig(rank=2, targets=(name,)) for name in PROJECTIONS}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path(PYTHON).is_file(), reason=f"no Python with peft: {PYTHON} (MINILORA_PEER_PYTHON)"),
]


def peer(action, folder):
    command = [PYTHON, str(HERE / "peer_peft.py"), action, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "does not read back" not in done.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("peft") / "made"
    peer("make", folder)
    return folder


def outputs(kind, model, expected):
    """Logits, or what a head would read, where there is no padding."""
    ids, mask = expected["ids"], expected["mask"]
    result, _ = model.forward(ids) if isinstance(model, Decoder) else model.forward(ids, mask)
    return np.where(mask[..., None], result, 0.0) if result.ndim == 3 else result


def loaded(kind, folder, adapter):
    model = LOADERS[kind](folder / kind, dtype="float64")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if "old file" in adapter else "error")
        interop.load_peft(model, folder / kind / adapter)
    return model


@pytest.mark.parametrize("kind", LOADERS)
def test_each_is_the_same_here_or_refused_by_the_name_of_its_field(kind, made):
    expected, by_peft = load_file(made / f"{kind}.safetensors"), json.loads((made / f"{kind}.json").read_text())
    base = LOADERS[kind](made / kind, dtype="float64")
    np.testing.assert_allclose(outputs(kind, base, expected), expected["base"], rtol=0, atol=1e-10)
    found, refused = Counter(), {}
    adapters = [name.removeprefix("out.") for name in expected if name.startswith("out.")]
    for adapter in adapters:
        try:
            model = loaded(kind, made, adapter)
        except ValueError as error:
            refused[adapter] = str(error)
            assert re.search(rf"adapter_config.json: ({'|'.join(FIELDS)}) ", refused[adapter]), refused[adapter]
            continue
        logits = outputs(kind, model, expected)
        np.testing.assert_allclose(logits, expected[f"out.{adapter}"], rtol=0, atol=1e-10, err_msg=adapter)
        found["other than the base"] += np.abs(logits - expected["base"]).max() > 0.1
    same = len(adapters) - len(refused)
    print(f"{kind}: {same} the same, {len(refused)} refused by field, {len(by_peft)} refused by peft", file=sys.stderr)
    assert len(adapters) >= 60 and (same, len(refused)) == COUNTS[kind]
    assert found["other than the base"] >= same - 1  # alpha 0


def test_what_goes_out_gives_peft_our_logits(made):
    said = {}
    for kind in LOADERS:
        expected = load_file(made / f"{kind}.safetensors")
        for name, config in (OURS_OF_LLAMA if kind in LLAMAS else OURS).items():
            model = LOADERS[kind](made / kind, dtype="float64")
            apply_lora(model, config, rng=np.random.default_rng(0))
            for p in model.trainable_parameters():
                p.data += 0.3 * np.random.default_rng(len(p.name)).standard_normal(p.data.shape)
            interop.save_peft(model, made / kind / name)
            said[kind, name] = outputs(kind, model, expected)
        for adapter in (name.removeprefix("out.") for name in expected if name.startswith("out.")):
            try:
                model = loaded(kind, made, adapter)
            except ValueError:
                continue
            name = f"ours {adapter}, again"
            try:
                interop.save_peft(model, made / kind / name)
            except ValueError as error:
                said[kind, name] = str(error)
            else:
                said[kind, name] = outputs(kind, model, expected)
    peer("read", made)
    count = Counter()
    for kind in LOADERS:
        read = load_file(made / f"{kind}.read.safetensors")
        assert json.loads((made / f"{kind}.read.json").read_text()) == {}
        for (of, name), logits in said.items():
            if of == kind and isinstance(logits, str):
                count[f"{kind}: no place"] += 1
                print(kind, name, logits, file=sys.stderr)
            elif of == kind:
                np.testing.assert_allclose(read[name], logits, rtol=0, atol=1e-10, err_msg=f"{kind}: {name}")
                count[f"{kind}: the same"] += 1
    print(dict(count), file=sys.stderr)

"""What peft makes by other methods than LoRA gives peft's logits here; what goes out gives peft ours."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from minilora import interop
from minilora.data.batches import LMBatch
from minilora.methods import (
    AdaLoRAConfig,
    LoRAConfig,
    PromptTuningConfig,
    VeRAConfig,
    apply_method,
    combine_adapters,
    method_of,
)
from minilora.models import Decoder

HERE = Path(__file__).resolve().parent
PYTHON = os.environ.get("MINILORA_PEER_PYTHON") or str(HERE.parent.parent / ".venv-torch" / "bin" / "python")
LOADERS = {
    "gpt2": interop.load_gpt2,
    "llama": interop.load_llama,
    "qwen2": interop.load_llama,
    "roberta": interop.load_roberta,
}
KINDS = {
    "ia3": "IA3Config",
    "lora": "LoRAConfig",
    "tokens": "TrainableTokensConfig",
    "prompt": "PromptTuningConfig",
    "vera": "VeRAConfig",
    "adalora": "AdaLoRAConfig",
}  # by the beginning of an adapter's name
OURS = {
    "ours lora-fa": LoRAConfig(rank=3, alpha=5, freeze_A=True),
    "ours lora-ga": LoRAConfig(rank=2, alpha=5, targets=("q_proj", "v_proj", "o_proj"), init="lora-ga"),
    "ours adalora": AdaLoRAConfig(rank=1, initial_rank=3, alpha=5, targets=("q_proj", "v_proj", "o_proj")),
    "ours vera": VeRAConfig(rank=6, targets=("o_proj",), seed=2),
}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path(PYTHON).is_file(), reason=f"no Python with peft: {PYTHON} (MINILORA_PEER_PYTHON)"),
]


def peer(action, folder):
    command = [PYTHON, str(HERE / "peer_peft_others.py"), action, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("peft") / "made"
    peer("make", folder)
    return folder


def logits(model, expected):
    ids, mask = expected["ids"], expected["mask"]
    if isinstance(method_of(model), PromptTuningConfig):
        n = model.prefix.length
        return model.forward(np.stack([model.read_prompt(row) for row in ids]))[0][:, n:]
    return (model.forward(ids) if isinstance(model, Decoder) else model.forward(ids, mask))[0]


def loaded(kind, folder, adapter):
    model = LOADERS[kind](folder / kind, dtype="float64")
    interop.load_peft(model, folder / kind / adapter)
    return model


@pytest.mark.parametrize("kind", LOADERS)
def test_each_gives_pefts_logits(kind, made):
    expected = load_file(made / f"{kind}.safetensors")
    adapters = [name.removeprefix("out.") for name in expected if name.startswith("out.")]
    assert len(adapters) >= 5
    for adapter in adapters:
        model = loaded(kind, made, adapter)
        found = logits(model, expected)
        np.testing.assert_allclose(found, expected[f"out.{adapter}"], rtol=0, atol=1e-10, err_msg=adapter)
        assert np.abs(found - expected["base"]).max() > 0.05, adapter
        assert type(method_of(model)).__name__ == KINDS[adapter.partition(",")[0]]


def test_what_comes_in_goes_out_again_and_gives_peft_our_logits(made):
    said = {}
    for kind in LOADERS:
        expected = load_file(made / f"{kind}.safetensors")
        for adapter in (name.removeprefix("out.") for name in expected if name.startswith("out.")):
            model = loaded(kind, made, adapter)
            draw = np.random.default_rng(7)
            # what q, k and v read has one l in GPT-2's c_attn: three that have learned apart cannot go out
            fused = kind == "gpt2" and adapter in ("ia3, all-linear", "ia3, inputs")
            for p in () if fused else model.trainable_parameters():
                p.data += 0.2 * draw.standard_normal(p.data.shape)
                p.data[...] = p.data.astype("float32")  # peft reads a prompt in float32
            interop.save_peft(model, made / kind / f"ours {adapter}")
            said[kind, f"ours {adapter}"] = logits(model, expected)
        for name, config in OURS.items():
            model = LOADERS[kind](made / kind, dtype="float64")
            batch = LMBatch(*(expected["ids"][:, cut] for cut in (slice(-1), slice(1, None))), expected["mask"][:, 1:])
            if name == "ours lora-ga" and not isinstance(model, Decoder):
                continue
            apply_method(model, config, rng=np.random.default_rng(0), batches=[batch])
            for p in model.trainable_parameters():
                p.data += 0.3 * np.random.default_rng(len(p.name)).standard_normal(p.data.shape)
            if name == "ours lora-ga":
                combine_adapters(model, ["default"], [1.0])
            interop.save_peft(model, made / kind / name)
            said[kind, name] = logits(model, expected)
    peer("read", made)
    for kind in LOADERS:
        read = load_file(made / f"{kind}.read.safetensors")
        for name in read:
            np.testing.assert_allclose(read[name], said[kind, name], rtol=0, atol=1e-10, err_msg=f"{kind}: {name}")
    assert len(said) >= 20

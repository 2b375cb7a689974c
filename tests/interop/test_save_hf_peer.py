"""transformers reads the folders that save_hf writes, without a word, and computes our numbers; its AutoTokenizer gives
our ids. It lives in an environment of its own, whose Python MINILORA_PEER_PYTHON names; or it is in .venv-torch.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from interop.every_folder import FOLDERS, TEXTS
from interop.folders import GOLDEN
from interop.make_tiny_folders import make_gpt2, make_llama
from minilora import interop
from minilora.data import ByteTokenizer
from minilora.data.encoder_tokenizer import EncoderTokenizer
from minilora.methods import LoRAConfig, apply_lora, merge_lora, remove_lora
from minilora.models import Decoder, load_bundled
from models.tiny_encoders import ALL, tiny

HERE = Path(__file__).resolve().parent
PYTHON = os.environ.get("MINILORA_PEER_PYTHON") or str(HERE.parent.parent / ".venv-torch" / "bin" / "python")
HEADS = ("pooler.",)  # made by transformers for a bare encoder, and used by nobody
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path(PYTHON).is_file(), reason=f"no Python with torch: {PYTHON} (MINILORA_PEER_PYTHON)"),
]


def models():
    """By name: a model, its tokenizer, and the folder that its tokenizer comes from."""
    for name, load in FOLDERS.items():
        yield name.replace("/", "-"), load(GOLDEN / name, dtype="float64"), None
    for model_class in ALL:
        yield model_class.__name__, tiny(model_class, "float64"), None
    merged = interop.load_llama(GOLDEN / "llama" / "bias", dtype="float64")
    apply_lora(merged, LoRAConfig(rank=2, targets=("q_proj", "o_proj", "down_proj")), rng=np.random.default_rng(0))
    for p in merged.trainable_parameters():
        p.data += np.random.default_rng(1).standard_normal(p.data.shape)
    merge_lora(merged)
    remove_lora(merged)
    yield "merged", merged, None
    yield "decoder", load_bundled(dtype="float64"), ByteTokenizer()
    yield "encoder", load_bundled("encoder", dtype="float64"), EncoderTokenizer()


def inputs_of(model):
    rng = np.random.default_rng(0)
    ids, mask = rng.integers(5, model.config.vocab_size, (3, 7)), np.ones((3, 7), bool)
    if isinstance(model, Decoder):
        return {"ids": ids}
    mask[1, 5:] = mask[2, 3:] = False
    return {"ids": np.where(mask, ids, getattr(model.config, "pad_id", 0)), "mask": mask}


def output_of(model, inputs):
    output = model.forward(*inputs.values())[0]
    return output * inputs["mask"][..., None] if "mask" in inputs and output.ndim == 3 else output


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root, ours, tokenizers = tmp_path_factory.mktemp("out"), {}, {}
    for name, model, tokenizer in models():
        interop.save_hf(model, root / name, tokenizer=tokenizer)
        inputs = inputs_of(model)
        np.savez(root / f"{name}.npz", **inputs)
        if name in ("decoder", "encoder", "llama-qwen2"):  # with an adapter beside its folder
            apply_lora(model, LoRAConfig(rank=2, targets=("q_proj", "v_proj")), rng=np.random.default_rng(0))
            for p in model.trainable_parameters():
                p.data += 0.1 * np.random.default_rng(1).standard_normal(p.data.shape)
            interop.save_peft(model, root / f"{name}.adapter")
        ours[name] = inputs, output_of(model, inputs)
        tokenizers |= {} if tokenizer is None else {name: tokenizer}
    for name, made, load in (
        ("tiny-gpt2", make_gpt2(root / "from-gpt2", old_tokenizer=True), interop.load_gpt2),
        ("tiny-llama", make_llama(root / "from-llama", attention_bias=True), interop.load_llama),
        ("tiny-qwen2", make_llama(root / "from-qwen2", kind="qwen2", head_dim=6), interop.load_llama),
    ):
        model = load(made, dtype="float64")
        interop.save_hf(model, root / name, tokenizer_from=made)
        inputs = inputs_of(model)
        np.savez(root / f"{name}.npz", **inputs)
        ours[name] = inputs, output_of(model, inputs)
        tokenizers[name] = interop.load_tokenizer(made)
    for name in tokenizers:
        (root / f"{name}.texts.json").write_text(json.dumps(TEXTS))
    command = [PYTHON, str(HERE / "peer_save_hf.py"), str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return root, ours, tokenizers


def test_transformers_computes_our_numbers_and_peft_those_of_an_adapter_beside_them(written):
    root, ours, _ = written
    assert len(ours) > 20
    for name, (inputs, output) in ours.items():
        theirs = np.load(root / f"{name}.out.npz")["output"]
        theirs = theirs * inputs["mask"][..., None] if "mask" in inputs and theirs.ndim == 3 else theirs
        assert np.abs(theirs - output).max() < 1e-10, name


def test_nothing_is_missing_or_unexpected_there(written):
    root, ours, _ = written
    for name in ours:
        said = json.loads((root / f"{name}.said.json").read_text())
        missing = [key for key in said["missing_keys"] if not key.startswith(HEADS)]
        assert missing == said["unexpected_keys"] == said["mismatched_keys"] == [], name


def test_its_tokenizer_gives_our_ids_and_texts(written):
    root, _, tokenizers = written
    for name, tokenizer in tokenizers.items():
        said = json.loads((root / f"{name}.said.json").read_text())
        assert said["ids"] == [tokenizer.encode(text).tolist() for text in TEXTS], name
        assert said["decoded"] == list(TEXTS), name
        assert said["tokens"][0] == tokenizer.end_of_text
    assert json.loads((root / "encoder.said.json").read_text())["tokens"] == [2, 3, 1]

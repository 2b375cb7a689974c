"""Make tests/golden/peft/llama/{vera,adalora}: adapters of PEFT's that are not LoRA, and what peft computes with them.

    PYTHONHASHSEED=0 python tests/golden/make_peft_family.py

It needs torch, transformers and peft (0.21). The base is that of make_peft.py, and so are the ids; each folder has an
expected.safetensors with the adapter's logits.
"""

import sys

import numpy as np
import peft
import torch
import transformers
from float64 import in_float64
from make_peft import FOLDER, logits_of, to_a_generic_point
from safetensors.torch import load_file, save_file

BASE = FOLDER / "llama"
SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ADAPTERS = {
    "vera": lambda: peft.VeraConfig(r=5, target_modules=["q_proj", "v_proj", "down_proj"], projection_prng_key=3),
    "adalora": lambda: peft.AdaLoraConfig(
        init_r=4, target_r=2, lora_alpha=6, total_step=50, tinit=5, tfinal=10, target_modules=SEVEN
    ),
}


def make(name):
    base = transformers.LlamaForCausalLM.from_pretrained(BASE, dtype=torch.float64)
    torch.manual_seed(1)
    model = peft.get_peft_model(base, ADAPTERS[name](), autocast_adapter_dtype=False).eval()
    if name == "adalora":  # as training would have left it
        draw = np.random.default_rng(0)
        pattern = {
            n: (draw.random(4) < 0.6).tolist() for n, _ in model.base_model.model.named_parameters() if "lora_E" in n
        }
        pattern[next(iter(pattern))] = [False] * 4
        model.peft_config["default"].rank_pattern = pattern
    to_a_generic_point(p for p in model.parameters() if p.requires_grad)
    if name == "adalora":
        with torch.no_grad():
            for n, p in model.base_model.model.named_parameters():
                if "lora_E" in n:
                    p.mul_(torch.tensor(pattern[n])[:, None])
    model.peft_config["default"].base_model_name_or_path = None  # which would be a path of the machine
    model.save_pretrained(BASE / name)
    (BASE / name / "README.md").unlink()
    ids = load_file(BASE / "expected.safetensors")["ids"]
    save_file({"logits": logits_of(model, ids)}, BASE / name / "expected.safetensors")


if __name__ == "__main__":
    with in_float64():
        for name in sys.argv[1:] or ADAPTERS:
            make(name)

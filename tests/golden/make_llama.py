"""Make tests/golden/llama/: eight tiny Llamas, Qwen2s and Mistrals, each in the form that make.py describes.

    python tests/golden/make_llama.py

It needs torch and transformers (5.24; float64.py says what is changed in them). Sizes differ pairwise where the
configuration lets them. "old_names" is the configuration of "llama3" as transformers 4 wrote it: rope_theta and
rope_scaling, where transformers 5 writes rope_parameters.
"""

import json
import shutil

import torch
import transformers
from float64 import in_float64
from make import HERE, save

SIZES = {
    "vocab_size": 29,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "intermediate_size": 20,
    "max_position_embeddings": 40,
    "rms_norm_eps": 1e-4,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
THETA = {"rope_type": "default", "rope_theta": 1e5}
MODELS = {  # by name: the model, and what differs from SIZES
    "grouped": ("Llama", {"num_attention_heads": 6, "num_key_value_heads": 3}),  # K = 2: neighbours and halves agree
    "head_dim": ("Llama", {"head_dim": 10, "num_key_value_heads": 3}),
    "theta": ("Llama", {"rope_parameters": THETA}),
    "tied": ("Llama", {"tie_word_embeddings": True}),
    "bias": ("Llama", {"attention_bias": True}),
    # wavelengths 6.3 (kept), 62.8 (between) and 628 (divided)
    "llama3": ("Llama", {"head_dim": 8, "rope_parameters": {"rope_theta": 10000.0, **LLAMA3}}),
    "qwen2": ("Qwen2", {"tie_word_embeddings": True, "rope_parameters": THETA}),
    "mistral": ("Mistral", {"sliding_window": None, "head_dim": 6, "num_attention_heads": 4, "num_key_value_heads": 2}),
}


def make(name):
    kind, changes = MODELS[name]
    folder = HERE / "llama" / name
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**SIZES | changes)
    with in_float64():
        model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
        with torch.no_grad():
            for p in model.parameters():
                p += 0.3 * torch.randn_like(p)
        ids, targets = torch.randint(0, 29, (5, 19)), torch.randint(0, 29, (5, 19))
        logits = model(ids).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        save(folder, model, loss, ids=ids, targets=targets, logits=logits)
    for file in folder.rglob("generation_config.json"):
        file.unlink()


def write_old_configuration():
    folder = HERE / "llama"
    config = json.loads((folder / "llama3" / "config.json").read_text())
    del config["rope_parameters"]
    config |= {"rope_theta": 10000.0, "rope_scaling": LLAMA3, "torch_dtype": config.pop("dtype")}
    config["transformers_version"] = "4.57.1"
    (folder / "old_names.json").write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    shutil.rmtree(HERE / "llama", ignore_errors=True)
    for name in MODELS:
        make(name)
    write_old_configuration()
    versions = {module.__name__: module.__version__ for module in (torch, transformers)}
    (HERE / "llama" / "versions.json").write_text(json.dumps(versions, indent=1) + "\n")

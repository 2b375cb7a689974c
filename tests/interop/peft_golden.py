"""The golden folders of tests/golden/make_peft.py: their base as a model of ours, and their logits."""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from minilora.models import GPT, GPTConfig

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "peft"
GPT2 = GOLDEN / "gpt2"
ADAPTERS = ("c_attn", "patterns", "one_layer", "regex", "dora")
CONFIG = GPTConfig(vocab_size=19, n_positions=9, n_layer=2, d_model=12, n_head=4, d_mlp=20)


def gpt2(dtype="float64"):
    """The tiny GPT-2: c_attn cut in three, every weight transposed."""
    model = GPT(CONFIG, np.random.default_rng(0), dtype=dtype)
    for name, array in load_file(GPT2 / "model.safetensors").items():
        for path, part in our_parameters(name, array):
            parameter = dict(model.named_parameters())[path]
            assert parameter.data.shape == part.shape
            parameter.data[...] = part
    return model


def our_parameters(name, array):
    """(path, values) of what is stored under one of transformers' names."""
    *module, kind = name.removeprefix("transformer.").replace("h.", "blocks.").split(".")
    module = ".".join(module)
    if kind == "weight" and "ln_" in module:
        return [(f"{module}.gain", array)]
    kind = "W" if kind == "weight" else kind
    if not module.startswith("blocks.") or "ln_" in module:
        return [(f"{module}.{kind}", array)]
    for theirs, ours in (("attn.c_proj", "attn.o_proj"), ("mlp.c_fc", "mlp.fc_in"), ("mlp.c_proj", "mlp.fc_out")):
        module = module.replace(theirs, ours)
    if "c_attn" not in module:
        return [(f"{module}.{kind}", array.T)]
    parts = np.split(array, 3, axis=-1)
    return [(module.replace("c_attn", f"{c}_proj") + f".{kind}", part.T) for c, part in zip("qkv", parts)]


def expected(kind="gpt2"):
    """ids, and the logits without an adapter ("base") and with each."""
    return load_file(GOLDEN / kind / "expected.safetensors")


def logits(model, ids):
    return model.forward(ids)[0]

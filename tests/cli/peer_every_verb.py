"""What PEFT, transformers and llama.cpp make of the files that `test_every_verb.py` wrote; run by the peers' Python.

    python peer_every_verb.py FOLDER

FOLDER/ids.npy holds the token ids (T,). To FOLDER/peers.npz come the logits (T, V) of transformers: "base" of
FOLDER/base, "adapter" with PEFT's adapter of FOLDER/peft, "merged" of FOLDER/merged-hf; and, where there are .gguf
files, the ids that llama.cpp adds greedily: "gguf" with merged.gguf, "gguf-adapter" with base.gguf and adapter.gguf.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = Path(sys.argv[1])
ids = np.load(folder / "ids.npy")


def load(name):
    return AutoModelForCausalLM.from_pretrained(folder / name, dtype=torch.float32, attn_implementation="eager").eval()


def logits(model):
    with torch.no_grad():
        return model(torch.tensor(ids[None])).logits[0].numpy()


made = {"base": logits(load("base")), "merged": logits(load("merged-hf"))}
made["adapter"] = logits(PeftModel.from_pretrained(load("base"), folder / "peft").eval())
text = "The river is long"
made["tokens"] = np.array(AutoTokenizer.from_pretrained(folder / "merged-hf")(text)["input_ids"])
np.savez(folder / "peers.npz", **made)

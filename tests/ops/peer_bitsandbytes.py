"""What bitsandbytes makes of weights, run by a Python that has it: peer_bitsandbytes.py weights.npy results.npz"""

import sys

import bitsandbytes.functional as bnb
import numpy as np
import torch

w = torch.from_numpy(np.load(sys.argv[1]))
once, once_state = bnb.quantize_4bit(w, blocksize=64, quant_type="nf4")
twice, state = bnb.quantize_4bit(w, blocksize=64, quant_type="nf4", compress_statistics=True)
results = {
    "levels": bnb.get_4bit_type("nf4", device="cpu"),
    "dynamic_levels": bnb.create_dynamic_map(),
    "codes": once.reshape(-1),
    "absmax": once_state.absmax,
    "w": bnb.dequantize_4bit(once, once_state),
    "scale_codes": state.absmax,
    "absmax2": state.state2.absmax,
    "mean": state.offset,
    "w_twice": bnb.dequantize_4bit(twice, state),
}
np.savez(sys.argv[2], **{name: value.numpy() for name, value in results.items()})

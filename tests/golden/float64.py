"""Make transformers compute Llama in float64 throughout, for golden files. It needs torch.

Whatever the model's dtype, transformers computes RoPE's frequencies and angles, RMSNorm and the softmax of eager
attention in float32, which it writes as `torch.float` and `torch.float32`. Within `in_float64()` both names mean
float64, so that its own formulas are used, and only the precision is another.
"""

from contextlib import contextmanager

import torch


@contextmanager
def in_float64():
    """A model that is made and called within this computes in float64 alone."""
    before = torch.float, torch.float32
    torch.float = torch.float32 = torch.float64
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.float, torch.float32 = before
        torch.set_default_dtype(before[0])

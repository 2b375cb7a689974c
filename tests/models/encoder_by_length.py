"""Bits a masked byte of the bundled encoder on held-out prose, by the length of the window."""

import math

from minilora.data import load_corpus
from minilora.experiments.pretrain_encoder import ENCODER
from minilora.models import load_bundled
from minilora.training import evaluate_loss

encoder, tokens = load_bundled("encoder"), ENCODER.encode(load_corpus("prose").texts("test"))
for length in (32, 64, 128, 256):
    loss = evaluate_loss(encoder, ENCODER.held_out(tokens, length=length, batch_size=4096 // length))
    print(f"T = {length:>3}: {loss / math.log(2):.2f} bits a masked byte")

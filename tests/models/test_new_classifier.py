"""A new head on a pretrained encoder, of whichever kind and with whatever head before."""

import math

import numpy as np
import pytest

from experiments.tiny import DEBERTA, ENCODERS, ROBERTA, byte_encoder, byte_gpt
from methods.tiny import same_bits, weights_of
from minilora.models import DebertaForClassification, RobertaForClassification, new_classifier


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("kind", ENCODERS)
def test_the_head_is_new_and_the_encoder_is_the_same_object(kind):
    model = byte_encoder(kind)
    encoder = getattr(model, "encoder", model)
    before = weights_of(encoder)
    made = new_classifier(model, 5, rng())
    assert type(made) is (RobertaForClassification if kind.startswith("roberta") else DebertaForClassification)
    assert made.encoder is encoder and same_bits(weights_of(encoder), before)
    assert made.config.n_classes == 5 and made.head.out_proj.W.data.shape == (5, 16)
    assert made.forward(np.array([[0, 70, 2]]))[0].shape == (1, 5)
    names = [name for name, _ in made.named_parameters()]
    assert names[0] == "encoder.wte.W" and [p.name for p in made.parameters()] == names


def test_the_head_follows_the_generator():
    one, same, other = (new_classifier(byte_encoder(), 2, rng(seed)).head.dense.W.data for seed in (0, 0, 1))
    assert same_bits(one, same) and not same_bits(one, other)


def test_a_decoder_is_refused():
    with pytest.raises(ValueError, match="model was a GPT; a classifier needs an encoder, a Roberta or Deberta"):
        new_classifier(byte_gpt(), 2, rng())


def test_the_longest_input():
    for kind in ENCODERS:
        longest = ROBERTA.n_positions if kind.startswith("roberta") else math.inf
        assert byte_encoder(kind).longest_input == longest
    assert DEBERTA.max_distance < 40, "farther tokens are no farther, but there may be some"
    assert byte_encoder("deberta").forward(np.full((1, 40), 70))[0].shape == (1, 40, 16)

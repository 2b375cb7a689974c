"""The probe counts what it says: the bytes of a copy from its fourth on, and nothing else."""

import numpy as np
import pytest

from minilora.experiments.reader_probe import copy_batch, copying_bits, prose_bits
from minilora.models import GPT, GPTConfig, load_bundled


def test_a_copy_counts_from_its_fourth_byte():
    batch = copy_batch(["Of ", "Kal Dor", " and ", "Kal Dor"], 3)
    assert bytes(batch.targets[batch.loss_mask].astype(np.uint8)) == b" Dor"
    assert bytes(batch.targets[0].astype(np.uint8)) == b"Of Kal Dor and Kal Dor" and batch.ids[0, 0] == 0
    assert bytes(copy_batch(["Of ", "Kal Dor", " and ", "Kal Dor"], 1).targets[0][6:10].astype(np.uint8)) == b" Dor"
    assert copy_batch(["Of ", "Kal Dor", " and ", "Kal Dor"], 1).loss_mask[0].nonzero()[0].tolist() == [6, 7, 8, 9]


def tiny_model():
    config = GPTConfig(vocab_size=256, n_positions=256, n_layer=1, d_model=16, n_head=2)
    return GPT(config, np.random.default_rng(0))


def test_a_model_that_knows_nothing_needs_eight_bits_a_byte_of_everything():
    model = tiny_model()
    for p in model.parameters():
        p.data[:] = 0.0
    assert prose_bits(model) == pytest.approx(8.0)
    bits = copying_bits(model, n=4)
    assert bits.keys() == {"name_first", "name_second", "string_first", "string_second"}
    assert all(value == pytest.approx(8.0) for value in bits.values())


def test_the_second_time_is_measured_after_the_first():
    """The bundled decoder's bits are those of the texts themselves: made-up names are as new as random strings."""
    bits = copying_bits(load_bundled("decoder"), n=8)
    assert 4 < bits["name_first"] < bits["string_first"] < 16
    assert copying_bits(load_bundled("decoder"), n=8) == bits != copying_bits(load_bundled("decoder"), n=8, seed=1)

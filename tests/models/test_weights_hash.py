"""Weights have an id, by which an adapter knows its base and a result its model."""

import numpy as np
import pytest

from methods.tiny import tiny_gpt
from minilora.models import load_model, save_model, weights_hash
from minilora.models.weights_hash import arrays_hash


def test_the_same_weights_have_the_same_id_and_a_bit_changes_it():
    model, same, other = (tiny_gpt("float32") for _ in range(3))
    assert weights_hash(model) == weights_hash(same) and len(weights_hash(model)) == 12
    other.parameters()[-1].data[-1] = np.nextafter(other.parameters()[-1].data[-1], np.float32(9))
    assert weights_hash(other) != weights_hash(model)


def test_a_model_read_in_float64_is_the_same(tmp_path):
    save_model(tiny_gpt("float32"), tmp_path / "model")
    assert weights_hash(load_model(tmp_path / "model", dtype="float64")) == weights_hash(tiny_gpt("float32"))


ARRAYS = {"W": np.arange(6.0).reshape(2, 3), "bias": np.ones(2)}


@pytest.mark.parametrize(
    "other",
    [
        {"V": ARRAYS["W"], "bias": ARRAYS["bias"]},
        {"W": ARRAYS["W"].reshape(3, 2), "bias": ARRAYS["bias"]},
        {"bias": ARRAYS["bias"], "W": ARRAYS["W"]},
        {"W": ARRAYS["W"]},
    ],
    ids=["a name", "a shape", "the order", "a parameter"],
)
def test_names_shapes_and_order_count(other):
    assert arrays_hash(other) != arrays_hash(ARRAYS)

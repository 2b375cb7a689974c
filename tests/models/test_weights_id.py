"""Weights have an id, by which an adapter knows its base and a result its model."""

import numpy as np
import pytest

from methods.tiny import tiny_gpt
from minilora.models import load_model, save_model, weights_id
from minilora.models.weights_id import arrays_id


def test_the_same_weights_have_the_same_id_and_a_bit_changes_it():
    model, same, other = (tiny_gpt("float32") for _ in range(3))
    assert weights_id(model) == weights_id(same) and len(weights_id(model)) == 12
    other.parameters()[-1].data[-1] = np.nextafter(other.parameters()[-1].data[-1], np.float32(9))
    assert weights_id(other) != weights_id(model)


def test_a_model_read_in_float64_is_the_same(tmp_path):
    save_model(tiny_gpt("float32"), tmp_path / "model")
    assert weights_id(load_model(tmp_path / "model", dtype="float64")) == weights_id(tiny_gpt("float32"))


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
    assert arrays_id(other) != arrays_id(ARRAYS)

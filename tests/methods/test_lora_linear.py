import numpy as np
import pytest

from minilora.methods import adapter_dropout
from minilora.methods.lora import LoRAFactors, LoRALinear, lora_scale
from minilora.parameter import Parameter

I, O, R = 5, 4, 2


@pytest.fixture
def layer(normal, linear):
    base = linear(I, O)
    base.freeze()
    layer = LoRALinear(base)
    for name, dropout in (("one", 0.0), ("two", 0.5)):
        A, B = Parameter(normal((R, I))), Parameter(normal((O, R)))
        layer.adapters[name] = LoRAFactors(A, B, scale=1.7, dropout=dropout)
    layer.active = "one"
    return layer


@pytest.fixture
def x(normal):
    return normal((3, I))


def test_without_an_active_adapter_it_is_its_base_to_the_bit(layer, x):
    layer.active = None
    assert np.array_equal(layer.forward(x)[0], layer.base.forward(x)[0])
    assert [name for name, _ in layer.named_parameters()] == ["base.W", "base.bias"]


def test_the_active_adapters_factors_are_its_parameters(layer):
    for name in ("one", "two"):
        layer.active = name
        parameters = dict(layer.named_parameters())
        assert list(parameters) == ["base.W", "base.bias", "A", "B"]
        assert parameters["A"] is layer.adapters[name].A
        assert parameters["B"] is layer.adapters[name].B


def test_delta_W_is_what_the_adapter_adds(layer, x):
    added = layer.forward(x)[0] - layer.base.forward(x)[0]
    assert np.allclose(added, x @ layer.delta_W().T, rtol=0, atol=1e-12)
    assert np.linalg.matrix_rank(layer.delta_W()) == R


def test_merged_it_gives_the_same_y(layer, x):
    y, _ = layer.forward(x)
    layer.merge()
    assert layer.merged
    assert np.allclose(layer.forward(x)[0], y, rtol=0, atol=1e-12)


def test_unmerging_restores_the_very_array(layer):
    W = layer.base.W.data
    before = W.tobytes()
    layer.merge()
    assert layer.base.W.data is not W
    layer.unmerge()
    assert layer.base.W.data is W and W.tobytes() == before
    assert not layer.merged


def test_merging_twice_is_merging_once(layer):
    layer.merge()
    W = layer.base.W.data
    layer.merge()
    assert layer.base.W.data is W


def test_a_merged_adapter_cannot_be_trained(layer, x):
    layer.merge()
    y, cache = layer.forward(x)
    with pytest.raises(ValueError, match="call unmerge_lora"):
        layer.backward(y, cache)


def test_dropout_acts_in_its_context_alone(layer, x):
    layer.active = "two"
    plain, _ = layer.forward(x)
    with adapter_dropout(layer, np.random.default_rng(0)):
        dropped, cache = layer.forward(x)
    assert np.array_equal(layer.forward(x)[0], plain)
    assert not np.allclose(dropped, plain)
    assert set(np.unique(cache.inner.dropout_mask)) == {0.0, 2.0}


def test_dropout_of_zero_draws_nothing(layer, x):
    rng = np.random.default_rng(0)
    with adapter_dropout(layer, rng):
        layer.forward(x)
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state


@pytest.mark.parametrize(("rslora", "scale"), [(False, 2.0), (True, 4.0)])
def test_scale_is_alpha_over_r_or_over_its_root(rslora, scale):
    assert lora_scale(8, 4, rslora) == scale

"""DoRA and PiSSA of one layer against PEFT's, by automatic differentiation (golden/make_lora_variants.py)."""

import json
from pathlib import Path

import numpy as np
import pytest

from minilora.layers import Linear
from minilora.methods.lora.layer import LoRAFactors, LoRALinear, lora_scale
from minilora.methods.lora.variants import DoRAFactors, PiSSAFactors, pissa_start
from minilora.parameter import Parameter

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "lora_variants.json").read_text())
SCALE = GOLDEN["scale"]


def golden(kind):
    return {name: np.array(values) for name, values in GOLDEN[kind].items()}


def base_of(g):
    base = Linear(g["W"], g["bias"])
    base.freeze()
    return base


def assert_peft_agrees(factors, g, names):
    y, cache = factors.forward(g["x"], base_of(g))
    found = {"y": y, "dx": factors.backward(g["dy"], cache)}
    found |= {f"d{name}": getattr(factors, name).grad for name in names}
    for name, array in found.items():
        assert np.allclose(array, g[name], rtol=0, atol=1e-13), name


def test_dora_is_pefts_which_takes_the_norm_for_a_constant():
    g = golden("dora")
    factors = DoRAFactors(Parameter(g["A"]), Parameter(g["B"]), SCALE, m=Parameter(g["m"]))
    assert_peft_agrees(factors, g, "ABm")
    exact = DoRAFactors(Parameter(g["A"]), Parameter(g["B"]), SCALE, m=Parameter(g["m"]), exact=True)
    with pytest.raises(AssertionError, match="dA"):
        assert_peft_agrees(exact, g, "ABm")


def test_pissa_is_pefts_from_the_same_start():
    g = golden("pissa")
    factors = PiSSAFactors(Parameter(g["A"]), Parameter(g["B"]), SCALE, A0=g["A0"], B0=g["B0"], W_res=g["frozen"])
    assert_peft_agrees(factors, g, "AB")


def test_pissa_starts_as_pefts_but_for_the_signs_of_singular_vectors():
    g = golden("pissa")  # PEFT takes the singular value decomposition in float32
    B0, A0 = pissa_start(base_of(g), 2, SCALE)
    assert np.allclose(np.abs(A0), np.abs(g["A0"]), rtol=0, atol=1e-6)
    assert np.allclose(B0 @ A0, g["B0"] @ g["A0"], rtol=0, atol=1e-6)
    assert np.allclose(g["W"] - SCALE * B0 @ A0, g["frozen"], rtol=0, atol=1e-6)


# ---- what holds for every kind of factors

FACTORS = {
    "LoRA": lambda A, B, W: LoRAFactors(A, B, SCALE),
    "DoRA": lambda A, B, W: DoRAFactors(A, B, SCALE, m=Parameter(1.0 + np.arange(4.0))),
    "PiSSA": lambda A, B, W: PiSSAFactors(A, B, SCALE, A0=A.data, B0=B.data, W_res=W),
}
each_kind = pytest.mark.parametrize("make", FACTORS.values(), ids=FACTORS)


def made(make):
    rng = np.random.default_rng(0)
    W = rng.standard_normal((4, 5))
    return make(Parameter(rng.standard_normal((2, 5))), Parameter(rng.standard_normal((4, 2))), W), Linear(W)


@each_kind
def test_a_base_without_a_bias_is_one_with_a_bias_of_zero(make):
    factors, base = made(make)
    x = np.random.default_rng(1).standard_normal((3, 5))
    assert np.array_equal(factors.forward(x, base)[0], factors.forward(x, Linear(base.W.data, np.zeros(4)))[0])


@each_kind
def test_factors_are_told_apart_by_identity_and_drop_nothing_unless_told_to(make):
    (one, _), (other, _) = made(make), made(make)
    assert one == one and one != other and len({one, other}) == 2
    assert one.dropout == 0.0 and "draws_from" not in repr(one)
    one.draws_from = np.random.default_rng(0)
    assert one.dropout_mask(np.ones((3, 5))) is None
    with pytest.raises(TypeError, match="draws_from"):
        LoRAFactors(one.A, one.B, SCALE, draws_from=np.random.default_rng(0))


def test_a_scale_is_alpha_over_r_unless_rslora_is_asked_for():
    assert lora_scale(8, 4) == 2.0 and lora_scale(8, 4, rslora=True) == 4.0


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("active", [None, "one"])
def test_the_bases_bias_gets_its_gradient_once_if_it_is_trained(active, bias):
    factors, base = made(FACTORS["LoRA"])
    if bias:
        base.bias = Parameter(np.zeros(4))
    layer = LoRALinear(base)
    layer.adapters["one"], layer.active = factors, active
    x, dy = (np.random.default_rng(2).standard_normal(shape) for shape in ((2, 3, 5), (2, 3, 4)))
    for trained in (False, True):
        base.freeze()
        if bias:
            base.bias.trainable = trained
        layer.backward(dy, layer.forward(x)[1])
        assert base.W.grad is None
        if bias:
            assert np.allclose(base.bias.grad, dy.sum(axis=(0, 1))) if trained else base.bias.grad is None

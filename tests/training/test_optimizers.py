"""SGD, AdamW and clipping against the textbook's formulas, written out again."""

import math

import numpy as np
import pytest

from methods.tiny import rng, same_bits, tiny_lora
from minilora.layers import Linear
from minilora.methods import LoRAConfig, adapters_per_row, apply_lora
from minilora.methods.lora import LoRAFactors, LoRALinear
from minilora.parameter import Parameter
from minilora.training import SGD, AdamW, ParameterGroup, clip_gradients, lora_plus_groups

START = rng(1).standard_normal((4, 3))
GRADS = rng(2).standard_normal((6, 4, 3)) * np.logspace(-4, 2, 6)[:, None, None]  # of all sizes


def steps_of(make_optimizer, name="W"):
    """The values of one parameter after each step of an optimizer."""
    p = Parameter(START.copy(), name=name)
    optimizer = make_optimizer([p])
    values = []
    for grad in GRADS:
        p.grad = grad
        optimizer.step()
        values.append(p.data.copy())
    return np.array(values)


def textbook_sgd(lr, momentum=0.0, weight_decay=0.0):
    w, velocity = START, 0.0
    for grad in GRADS:
        velocity = momentum * velocity + grad
        w = w - lr * weight_decay * w - lr * velocity
        yield w


def textbook_adamw(lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    """Algorithm 1 of Kingma and Ba (2015), with the decay of Loshchilov and Hutter (2019)."""
    w, m, v = START, 0.0, 0.0
    for t, grad in enumerate(GRADS, start=1):
        m = betas[0] * m + (1 - betas[0]) * grad
        v = betas[1] * v + (1 - betas[1]) * grad**2
        m_hat = m / (1 - betas[0] ** t)
        v_hat = v / (1 - betas[1] ** t)
        w = w - lr * weight_decay * w - lr * m_hat / (np.sqrt(v_hat) + eps)
        yield w


@pytest.mark.parametrize(
    ("optimizer", "textbook", "settings"),
    [
        (SGD, textbook_sgd, {}),
        (SGD, textbook_sgd, {"momentum": 0.9}),
        (SGD, textbook_sgd, {"momentum": 0.5, "weight_decay": 0.3}),
        (AdamW, textbook_adamw, {}),
        (AdamW, textbook_adamw, {"betas": (0.8, 0.95), "eps": 1e-2}),
        (AdamW, textbook_adamw, {"weight_decay": 0.3}),
    ],
)
def test_steps_are_the_textbooks(optimizer, textbook, settings):
    values = steps_of(lambda parameters: optimizer(parameters, lr=0.05, **settings))
    assert np.allclose(values, list(textbook(0.05, **settings)), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("optimizer", [SGD, AdamW])
def test_weight_decay_is_decoupled_from_the_gradient(optimizer):
    """After one step it has taken lr * weight_decay * W away, whatever the gradient."""
    plain = steps_of(lambda parameters: optimizer(parameters, lr=0.05))
    decayed = steps_of(lambda parameters: optimizer(parameters, lr=0.05, weight_decay=0.3))
    assert np.allclose(plain[0] - decayed[0], 0.05 * 0.3 * START, rtol=0, atol=1e-14)


# ---- groups


@pytest.mark.parametrize("optimizer", [SGD, AdamW])
def test_a_group_has_a_rate_and_a_decay_of_its_own(optimizer):
    def of_group(parameters):
        other = Parameter(START.copy())
        return optimizer([ParameterGroup([other]), ParameterGroup(parameters, 2.0, weight_decay=0.3)], lr=0.05)

    assert same_bits(steps_of(of_group), steps_of(lambda p: optimizer(p, lr=0.1, weight_decay=0.3)))


@pytest.mark.parametrize("optimizer", [SGD, AdamW])
def test_a_group_without_a_decay_has_the_optimizers_and_a_schedule_changes_all_rates(optimizer):
    def of_group(parameters):
        made = optimizer([ParameterGroup(parameters, 2.0)], lr=123.0, weight_decay=0.3)
        made.lr = 0.05
        return made

    assert same_bits(steps_of(of_group), steps_of(lambda p: optimizer(p, lr=0.1, weight_decay=0.3)))


def lora_layer(**names):
    """A LoRALinear whose A and B have these names."""
    layer = LoRALinear(Linear(START.copy()))
    A, B = (
        Parameter(START[:2].copy(), name=names.get("A", "")),
        Parameter(START[:, :2].copy(), name=names.get("B", "")),
    )
    layer.adapters["default"] = LoRAFactors(A, B, 1.0)
    layer.active = "default"
    layer.base.freeze()
    return layer


@pytest.mark.parametrize("names", [{}, {"A": "x.B", "B": "x.A"}, {"A": "q_proj.A", "B": "q_proj.B"}], ids=str)
def test_lora_plus_gives_the_rate_to_what_is_B_whatever_it_is_called(names):
    layer = lora_layer(**names)
    for p in (layer.A, layer.B):
        p.grad = np.ones_like(p.data)
    A, B = layer.A.data.copy(), layer.B.data.copy()
    SGD(lora_plus_groups(layer, 16.0), lr=0.1).step()
    assert np.allclose(A - layer.A.data, 0.1) and np.allclose(B - layer.B.data, 1.6)


def test_lora_plus_leaves_anybodys_own_B_alone_and_finds_the_B_of_every_row():
    model = tiny_lora()
    apply_lora(model, LoRAConfig(rank=2, targets=("q_proj",)), rng=rng(3), name="other")
    model.B = Parameter(START.copy(), name="B")  # a model's own, which no LoRA has made
    with adapters_per_row(model, ["default", "other"]):
        model.B.trainable = True
        plain, plus = lora_plus_groups(model, 16.0)
        assert model.B in plain.parameters
        assert {p.name.rsplit(".", 1)[1] for p in plus.parameters} == {"B"}
        assert len(plus.parameters) == sum(p.name.endswith(".B") for p in model.trainable_parameters()) > 2
        assert (plain.lr_ratio, plus.lr_ratio) == (1.0, 16.0)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda p: [ParameterGroup([p]), ParameterGroup([p])],
            ValueError,
            "Parameter.* twice; each must occur once",
        ),
        (lambda p: [ParameterGroup([p]), p], TypeError, "parameters held a ParameterGroup; each must be a Parameter"),
        (lambda p: [START], TypeError, "parameters held a ndarray; each must be a Parameter"),
        (lambda p: [ParameterGroup([p], lr_ratio=-1.0)], ValueError, "lr_ratio was -1.0; it must be a finite number"),
        (lambda p: [ParameterGroup([p], weight_decay=math.nan)], ValueError, "weight_decay was nan; it must be"),
    ],
)
def test_groups_that_cannot_be_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        SGD(make(Parameter(START.copy())), lr=0.1)


# ---- each parameter counts its own steps


def test_a_first_gradient_after_many_steps_moves_a_weight_as_far_as_one_in_the_first_step():
    """Adam's first step is lr * grad / |grad|, whenever it comes."""
    early, late = Parameter(np.zeros(3)), Parameter(np.zeros(3))
    optimizer = AdamW([early, late], lr=0.01)
    for _ in range(3000):
        early.grad = np.ones(3)
        optimizer.step()
    late.grad, early.grad = np.ones(3), None
    optimizer.step()
    assert late.data == pytest.approx(-0.01, rel=1e-6)
    assert optimizer.updates == [3000, 1] and optimizer.steps == 3001


@pytest.mark.parametrize("optimizer", [SGD, AdamW])
def test_steps_without_a_gradient_leave_no_trace(optimizer):
    def steps(pauses):
        p, other = Parameter(START.copy()), Parameter(START.copy())
        made, other.grad = optimizer([p, other], lr=0.05, weight_decay=0.3), GRADS[0]
        for grad in GRADS:
            for _ in range(pauses):
                p.grad = None
                made.step()
            p.grad = grad
            made.step()
        return p.data

    assert same_bits(steps(0), steps(3))


@pytest.mark.parametrize("optimizer", [SGD, AdamW])
def test_a_parameter_without_a_gradient_stays(optimizer):
    moving, still = Parameter(START.copy()), Parameter(START.copy())
    moving.grad = GRADS[0]
    optimizer([moving, still], lr=0.1, weight_decay=0.1).step()
    assert same_bits(still.data, START) and not np.isclose(moving.data, START).any()


@pytest.mark.parametrize("optimizer", [SGD, AdamW])
def test_a_frozen_parameter_has_no_state(optimizer):
    frozen, trained = Parameter(START, trainable=False), Parameter(START.copy())
    made = optimizer([frozen, trained], lr=0.1)
    assert made.parameters == [trained] and len(made.state) == 1


@pytest.mark.parametrize("optimizer", [SGD, AdamW])
def test_a_step_keeps_the_array_the_dtype_and_the_gradient(optimizer):
    p = Parameter(START.astype("float32"))
    p.grad = GRADS[0].astype("float32")
    array, grad = p.data, p.grad.copy()
    optimizer([p], lr=0.1, weight_decay=0.1).step()
    assert p.data is array and p.data.dtype == "float32"
    assert same_bits(p.grad, grad)


@pytest.mark.parametrize("optimizer", [SGD, AdamW])
@pytest.mark.parametrize("name", ["lr", "weight_decay"])
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, "fast", None, True])
def test_a_rate_that_cannot_be_is_refused_by_name(optimizer, name, value):
    with pytest.raises(ValueError, match=f"{name} was {value!r}; it must be a finite number of at least 0"):
        optimizer([Parameter(START)], **({"lr": 0.1} | {name: value}))


@pytest.mark.parametrize("parameters", [[], [Parameter(START, trainable=False)]], ids=["none", "frozen"])
def test_nothing_to_train_is_refused_with_what_to_do(parameters):
    with pytest.raises(ValueError, match=r"parameters held nothing trainable: .*apply_lora, apply_full"):
        AdamW(parameters, lr=0.1)


# ---- clipping


def with_gradients(dtype="float64"):
    """Two gradients whose joint norm is 13, and a parameter without one."""
    a, b, none = (Parameter(np.zeros(n, dtype)) for n in (2, 1, 1))
    a.grad, b.grad = np.array([3.0, 4.0], dtype), np.array([12.0], dtype)
    return [a, b, none]


def test_the_joint_norm_is_returned_and_then_it_is_max_norm():
    parameters = with_gradients()
    assert clip_gradients(parameters, 6.5) == pytest.approx(13.0, rel=1e-15)
    assert parameters[0].grad == pytest.approx([1.5, 2.0], rel=1e-6)
    assert parameters[1].grad == pytest.approx([6.0], rel=1e-6)
    assert parameters[2].grad is None
    assert clip_gradients(parameters, math.inf) <= 6.5


@pytest.mark.parametrize("max_norm", [13.1, 1e9])
def test_below_the_limit_nothing_changes(max_norm):
    parameters = with_gradients()
    clip_gradients(parameters, max_norm)
    assert same_bits(np.concatenate([p.grad for p in parameters[:2]]), np.array([3.0, 4.0, 12.0]))


def test_clipping_keeps_float32():
    parameters = with_gradients("float32")
    assert clip_gradients(parameters, 1.0).dtype == parameters[0].grad.dtype == "float32"


def test_gradients_of_zero_stay_zero():
    parameters = with_gradients()
    for p in parameters[:2]:
        p.grad *= 0.0
    assert clip_gradients(parameters, 1.0) == 0.0
    assert not parameters[0].grad.any()

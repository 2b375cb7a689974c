"""AdamW's step (`ops/adamw.py`) with only two temporary arrays, and as one kernel on a GPU."""

import math

from minilora.arrays.backend import Array, check_same_device, get_xp
from minilora.arrays.kernels import fused
from minilora.ops import adamw as page
from minilora.ops.plain import engine_of


@engine_of(page.adamw_inplace)
def adamw_inplace(
    data: Array, grad: Array, m: Array, v: Array, t: int, lr: float, beta1: float, beta2: float, eps: float
) -> None:
    check_same_device(data=data, grad=grad, m=m, v=v)
    # lr m_hat / (sqrt(v_hat) + eps) = (lr / (1 - beta1^t)) m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
    rate, root = lr * (1.0 / (1.0 - beta1**t)), math.sqrt(1.0 / (1.0 - beta2**t))
    _adamw(data, grad, m, v, beta1, 1.0 - beta1, beta2, 1.0 - beta2, rate, root, float(eps))


@fused(
    """data[...], grad[...], m[...], v[...], keep_m, take_m, keep_v, take_v, rate, root, eps
    -> data[...], m[...], v[...]""",
    """
    m[i] = keep_m * m[i] + take_m * grad[i];
    v[i] = keep_v * v[i] + take_v * grad[i] * grad[i];
    data[i] -= rate * m[i] / (root * sqrt(v[i]) + eps);
    """,
)
def _adamw(
    data: Array,
    grad: Array,
    m: Array,
    v: Array,
    keep_m: float,
    take_m: float,
    keep_v: float,
    take_v: float,
    rate: float,
    root: float,
    eps: float,
) -> None:
    m *= keep_m
    m += take_m * grad
    v *= keep_v
    v += take_v * (grad * grad)
    denominator = get_xp(v).sqrt(v)
    denominator *= root
    denominator += eps
    change = m / denominator
    change *= rate
    data -= change

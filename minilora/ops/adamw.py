"""AdamW (Kingma and Ba, 2015; Loshchilov and Hutter, 2019): how a gradient becomes a step. In place; not an op.

    m = beta1 m + (1 - beta1) grad                 the mean of the gradients, of the last 1 / (1 - beta1) above all
    v = beta2 v + (1 - beta2) grad^2               the mean of their squares
    data = data - lr m_hat / (sqrt(v_hat) + eps)

Both means begin at zero. After t steps their weights add up to 1 - beta^t, so that m_hat = m / (1 - beta1^t) and
v_hat = v / (1 - beta2^t) are weighted means of the t gradients that came.
"""

from minilora.arrays.backend import Array, get_xp


def adamw_inplace(
    data: Array, grad: Array, m: Array, v: Array, t: int, lr: float, beta1: float, beta2: float, eps: float
) -> None:
    """Change data, m and v for the t-th time.

    Parameters
    ----------
    data, grad, m, v : ndarray of one shape
        m and v are zero before the first time.
    t : int
        Counted from 1.
    lr, beta1, beta2, eps : float
    """
    xp = get_xp(data=data, grad=grad, m=m, v=v)
    m[...] = beta1 * m + (1.0 - beta1) * grad
    v[...] = beta2 * v + (1.0 - beta2) * grad * grad
    m_hat = m / (1.0 - beta1**t)
    v_hat = v / (1.0 - beta2**t)
    data[...] = data - lr * m_hat / (xp.sqrt(v_hat) + eps)

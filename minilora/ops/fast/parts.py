"""Single gradients of an op, for a layer whose other parameters are frozen: each is one result of the op's backward."""

from minilora.arrays.backend import Array, get_xp
from minilora.ops import conv1d, layernorm, linear
from minilora.ops.conv1d import Conv1dCache
from minilora.ops.fast.layernorm import _dx
from minilora.ops.fast.prefix import prefix_backward
from minilora.ops.fast.row_products import sum_of_rows, unrows
from minilora.ops.layernorm import LayerNormCache
from minilora.ops.linear import LinearCache
from minilora.ops.plain import engine_of
from minilora.ops.prefix import PrefixCache
from minilora.ops.rows import rows


@engine_of(lambda dy, cache: linear.linear_backward(dy, cache._replace(x=None))[0])
def linear_dx(dy: Array, cache: LinearCache) -> Array:
    return unrows(rows(dy) @ cache.W, dy.shape)  # (M, O) @ (O, I) -> (M, I)


@engine_of(lambda dy, cache: linear.linear_backward(dy, cache)[1])
def linear_dW(dy: Array, cache: LinearCache) -> Array:
    return rows(dy).T @ rows(cache.x)  # (O, M) @ (M, I) -> (O, I)


@engine_of(lambda dy, cache: linear.linear_backward(dy, cache)[2])
def linear_dbias(dy: Array, cache: LinearCache) -> Array:
    return None if cache.bias is None else sum_of_rows(dy)  # (O,)


@engine_of(lambda dy, cache: layernorm.layernorm_backward(dy, cache)[0])
def layernorm_dx(dy: Array, cache: LayerNormCache) -> Array:
    return _dx(dy, *cache)


@engine_of(lambda dy, cache: layernorm.layernorm_backward(dy, cache)[1])
def layernorm_dgain(dy: Array, cache: LayerNormCache) -> Array:
    return get_xp(dy=dy).einsum("mc,mc->c", rows(dy), rows(cache.xhat))  # (C,)


@engine_of(lambda dy, cache: layernorm.layernorm_backward(dy, cache)[2])
def layernorm_dbias(dy: Array, cache: LayerNormCache) -> Array:
    return sum_of_rows(dy)  # (C,)


def conv1d_dx(dy: Array, cache: Conv1dCache) -> Array:
    return conv1d.conv1d_backward(dy, cache)[0]


def conv1d_dW(dy: Array, cache: Conv1dCache) -> Array:
    return conv1d.conv1d_backward(dy, cache)[1]


def conv1d_dbias(dy: Array, cache: Conv1dCache) -> Array:
    return sum_of_rows(dy)


def prefix_dx(dy: Array, cache: PrefixCache) -> Array:
    return prefix_backward(dy, cache)[0]


def prefix_dP(dy: Array, cache: PrefixCache) -> Array:
    return prefix_backward(dy, cache)[1]

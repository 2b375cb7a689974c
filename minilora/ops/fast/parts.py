"""Single gradients of an op, for layers that ask for no other. On their way out: a layer calls one backward."""

from minilora.ops.conv1d import conv1d_backward
from minilora.ops.fast.dora_linear import dora_linear_backward
from minilora.ops.fast.layernorm import layernorm_backward
from minilora.ops.fast.linear import linear_backward
from minilora.ops.fast.lora_linear import lora_linear_backward
from minilora.ops.fast.prefix import prefix_backward


def linear_dx(dy, cache):
    return linear_backward(dy, cache._replace(x=None, bias=None))[0]


def linear_dW(dy, cache):
    return linear_backward(dy, cache._replace(bias=None))[1]


def linear_dbias(dy, cache):
    return linear_backward(dy, cache._replace(x=None))[2]


def layernorm_dx(dy, cache):
    return layernorm_backward(dy, cache)[0]


def layernorm_dgain(dy, cache):
    return layernorm_backward(dy, cache)[1]


def layernorm_dbias(dy, cache):
    return layernorm_backward(dy, cache)[2]


def lora_linear_dA_dB(dy, cache):
    return lora_linear_backward(dy, cache)[1:]


def dora_linear_dA_dB_dm(dy, cache):
    return dora_linear_backward(dy, cache)[1:]


def conv1d_dx(dy, cache):
    return conv1d_backward(dy, cache)[0]


def conv1d_dW(dy, cache):
    return conv1d_backward(dy, cache)[1]


def conv1d_dbias(dy, cache):
    return conv1d_backward(dy, cache)[2]


def prefix_dx(dy, cache):
    return prefix_backward(dy, cache)[0]


def prefix_dP(dy, cache):
    return prefix_backward(dy, cache)[1]

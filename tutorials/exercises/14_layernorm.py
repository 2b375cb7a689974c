# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Exercise 14: layer normalisation, forward and backward
#
# *Difficulty 4 of 5, about 50 minutes.*
#
# *The formula at work: tutorial 2, Backpropagation by hand (`tutorials/02_backprop_by_hand.ipynb`).*
#
# **Goal.** Write both passes of layer normalisation, which in GPT-2 stands before every attention and every MLP. Its
# backward pass is the first here in which a statistic of the row (mean, variance) depends on x too.
#
# **Formula.** For one row of C channels,
#
#     mean = (1 / C) sum of x_c               var = (1 / C) sum of (x_c - mean)^2
#     inv_std = 1 / sqrt(var + eps)
#     xhat = (x - mean) * inv_std             y = gain * xhat + bias
#
# and backwards, with dxhat = dy * gain and means over the C channels of a row,
#
#     dx = inv_std * (dxhat  -  mean(dxhat)  -  xhat * mean(dxhat * xhat))
#
# | array | shape | | array | shape |
# |---|---|---|---|---|
# | x, xhat, y | (..., C) | | dx, dy | (..., C) |
# | gain, bias | (C,) | | dgain, dbias | (C,) |
# | mean, inv_std | (..., 1) | | | |
#
# Every row uses the same gain and bias. The cache is yours: keep in it what your backward pass needs.

# %% nbgrader={"grade": false, "grade_id": "layernorm", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def layernorm_forward(x, gain, bias, eps):
    """y = gain * (x - mean) / sqrt(var + eps) + bias, of shape (..., C), and a cache."""
    ### BEGIN SOLUTION
    xc = x - x.mean(axis=-1, keepdims=True)  # (..., C)
    inv_std = 1 / np.sqrt((xc**2).mean(axis=-1, keepdims=True) + eps)  # (..., 1)
    xhat = xc * inv_std  # (..., C)
    y = gain * xhat + bias
    cache = (xhat, inv_std, gain)
    ### END SOLUTION
    return y, cache


def layernorm_backward(dy, cache):
    """The gradients dx (..., C), dgain (C,) and dbias (C,)."""
    ### BEGIN SOLUTION
    xhat, inv_std, gain = cache
    rows = tuple(range(dy.ndim - 1))  # all axes but the last
    dgain = (dy * xhat).sum(axis=rows)
    dbias = dy.sum(axis=rows)
    dxhat = dy * gain
    shift = dxhat.mean(axis=-1, keepdims=True)  # (..., 1)
    stretch = (dxhat * xhat).mean(axis=-1, keepdims=True)  # (..., 1)
    dx = inv_std * (dxhat - shift - xhat * stretch)
    ### END SOLUTION
    return dx, dgain, dbias


# %% tags=["check"]
# Checks the cell above, and that alone: all that the answer needs belongs there, imports and helpers too.
from minilora.exercises import check

check("layernorm", layernorm_forward)

# %% nbgrader={"grade": true, "grade_id": "layernorm_marks", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
# This cell gives the marks. Leave it as it is.
### BEGIN HIDDEN TESTS
from minilora.exercises import marks

marks("layernorm", layernorm_forward, points=8, seed=114)
### END HIDDEN TESTS

# %% [markdown] tags=["hint"]
# The backward pass needs xhat, inv_std and gain, and nothing else. Means over a row are `.mean(axis=-1,
# keepdims=True)`.

# %% [markdown] tags=["hint"]
# dgain and dbias are sums over all rows, that is, over all axes but the last: `axis=tuple(range(dy.ndim - 1))`. In
# dgain, each dy is multiplied by what gain was multiplied by.

# %% [markdown] tags=["hint"]
# dgain = (dy * xhat).sum(rows)          dbias = dy.sum(rows)
# dxhat = dy * gain
# dx = inv_std * (dxhat - mean(dxhat) - xhat * mean(dxhat * xhat))

# %% [markdown] tags=["shown"]
# What was shown: y does not change if a row of x is shifted, and hardly if it is stretched; so dx has nothing along
# these two directions, and the two subtracted means are what takes them away. Leave one out, and training still works,
# only worse: that is why gradients are checked.

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
# # Exercise 17: RMSNorm, forward and backward
#
# *Difficulty 3 of 5, about 35 minutes.*
#
# *The formula at work: tutorial 12, A Llama, forward and backward, and LoRA on it (`tutorials/12_a_llama.ipynb`).*
#
# **Goal.** Write both passes of RMSNorm, which stands in Llama and in most language models since where GPT-2 has
# layer normalisation (exercise 14). No mean is taken away and no bias is added, so the backward pass has a term less.
#
# **Formula.** For one row of C channels,
#
#     inv_rms = 1 / sqrt((1 / C) sum of x_c^2 + eps)
#     xhat = x * inv_rms
#     y = gain * xhat
#
# and backwards, with dxhat = dy * gain and the mean over the C channels of a row,
#
#     dx = inv_rms * (dxhat  -  xhat * mean(dxhat * xhat))
#
# | array | shape | | array | shape |
# |---|---|---|---|---|
# | x, xhat, y | (..., C) | | dx, dy | (..., C) |
# | gain | (C,) | | dgain | (C,) |
# | inv_rms | (..., 1) | | | |
#
# Derive the second term before you write it: inv_rms depends on every x of its row, and d(inv_rms) / dx_c =
# -inv_rms^3 x_c / C.

# %% nbgrader={"grade": false, "grade_id": "rmsnorm", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def rmsnorm_forward(x, gain, eps):
    """y = gain * x / sqrt(mean(x^2) + eps), of shape (..., C), and a cache."""
    ### BEGIN SOLUTION
    inv_rms = 1 / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps)  # (..., 1)
    xhat = x * inv_rms  # (..., C)
    y = xhat * gain
    cache = (xhat, inv_rms, gain)
    ### END SOLUTION
    return y, cache


def rmsnorm_backward(dy, cache):
    """The gradients dx (..., C) and dgain (C,)."""
    ### BEGIN SOLUTION
    xhat, inv_rms, gain = cache
    rows = tuple(range(dy.ndim - 1))  # all axes but the last
    dgain = (dy * xhat).sum(axis=rows)
    dxhat = dy * gain  # (..., C)
    along = (dxhat * xhat).mean(axis=-1, keepdims=True)  # (..., 1)
    dx = inv_rms * (dxhat - xhat * along)
    ### END SOLUTION
    return dx, dgain


# %% tags=["check"]
# Checks the cell above, and that alone: all that the answer needs belongs there, imports and helpers too.
from minilora.exercises import check

check("rmsnorm", rmsnorm_forward)

# %% nbgrader={"grade": true, "grade_id": "rmsnorm_marks", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
# This cell gives the marks. Leave it as it is.
### BEGIN HIDDEN TESTS
from minilora.exercises import marks

marks("rmsnorm", rmsnorm_forward, points=6, seed=117)
### END HIDDEN TESTS

# %% [markdown] tags=["hint"]
# The forward pass is the one of exercise 14 without the mean and without the bias. The backward pass needs xhat,
# inv_rms and gain.

# %% [markdown] tags=["hint"]
# dgain is a sum over all rows, that is, over all axes but the last: `axis=tuple(range(dy.ndim - 1))`. For dx, x
# reaches y twice: directly, and through inv_rms.

# %% [markdown] tags=["hint"]
# dgain = (dy * xhat).sum(rows)
# dxhat = dy * gain
# dx = inv_rms * (dxhat - xhat * mean(dxhat * xhat))

# %% [markdown] tags=["shown"]
# What was shown: y hardly changes if a row of x is stretched, so dx has nothing along x, and the one subtracted term
# is what takes it away. LayerNorm's other term took away what lies along a shift; here a shift does change y.
# Dividing by C twice, or writing x where xhat belongs, are the two mistakes that have been made in public code.

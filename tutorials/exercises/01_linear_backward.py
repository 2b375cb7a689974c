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
# # Exercise 1: the gradients of a linear map
#
# *Difficulty 1 of 5, about 20 minutes.*
#
# *The formula at work: tutorial 2, Backpropagation by hand (`tutorials/02_backprop_by_hand.ipynb`).*
#
# **Goal.** Write the backward pass of `y = x W^T + bias`, the map that a network mostly consists of. Everything in LoRA
# is this map, used twice.
#
# **What is given.** The loss L is a number. Something behind this layer has computed `dy`, which says how L changes
# with each entry of y: `dy[..., o]` is dL / dy[..., o]. Your function carries that back to what y was made from.
#
# **Formula.** For one row of x,
#
#     y_o = sum over i of  W_oi x_i  +  bias_o
#
# | array | shape | | array | shape |
# |---|---|---|---|---|
# | x | (..., I) | | dx | (..., I) |
# | W | (O, I) | | dW | (O, I) |
# | bias | (O,) | | dbias | (O,) |
# | y, dy | (..., O) | | | |
#
# The leading axes `...` may be any number of axes, such as batch and time, or none; each place in them is one row. W
# and bias are used by every row, so their gradients are **sums** over all rows.

# %% nbgrader={"grade": false, "grade_id": "linear_backward", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def linear_backward(dy, cache):
    """The gradients dx, dW and dbias of y = x W^T + bias.

    dy has shape (..., O); cache is what the forward pass has kept: x (..., I), W (O, I) and bias (O,).
    """
    x, W, bias = cache
    ### BEGIN SOLUTION
    dx = dy @ W  # (..., O) @ (O, I) -> (..., I)
    dy_rows, x_rows = dy.reshape(-1, dy.shape[-1]), x.reshape(-1, x.shape[-1])  # (M, O), (M, I)
    dW = dy_rows.T @ x_rows  # (O, M) @ (M, I) -> (O, I)
    dbias = dy_rows.sum(axis=0)  # (O,)
    ### END SOLUTION
    return dx, dW, dbias


# %% tags=["check"]
# Checks the cell above, and that alone: all that the answer needs belongs there, imports and helpers too.
from minilora.exercises import check

check("linear_backward", linear_backward)

# %% nbgrader={"grade": true, "grade_id": "linear_backward_marks", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# This cell gives the marks. Leave it as it is.
### BEGIN HIDDEN TESTS
from minilora.exercises import marks

marks("linear_backward", linear_backward, points=2, seed=101)
### END HIDDEN TESTS

# %% [markdown] tags=["hint"]
# A gradient has the shape of what it belongs to. Write the shapes of dy, x and W on paper, and look which products of
# two of them have the shape of dx, and which that of dW.

# %% [markdown] tags=["hint"]
# Turn all leading axes into one first: `dy.reshape(-1, dy.shape[-1])` has the shape (M, O), a row for each place. Then
# dW is a sum over M, which a matrix product does; and dbias is a sum over M too.

# %% [markdown] tags=["hint"]
# dx_i    = sum over o of  dy_o W_oi                   that is  dy @ W
# dW_oi   = sum over the rows of  dy_o x_i             that is  (O, M) @ (M, I)
# dbias_o = sum over the rows of  dy_o

# %% [markdown] tags=["shown"]
# What was shown: a layer's backward pass is two matrix products. dx needs W, and dW needs x, which is why the forward
# pass keeps both. Where W is frozen, as under LoRA, dW is not computed at all: that product is saved, and dx still
# flows.

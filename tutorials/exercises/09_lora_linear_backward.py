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
# # Exercise 9: LoRA's gradients
#
# *Difficulty 3 of 5, about 35 minutes.*
#
# *The formula at work: tutorial 3, LoRA by hand (`tutorials/03_lora_by_hand.ipynb`).*
#
# **Goal.** Write the backward pass that is LoRA: the gradients of A and B, and of x, while W and bias are frozen.
#
# **Formula.** The forward pass, in two lines:
#
#     h = x A^T                                  (..., r)
#     y = x W^T + bias + scale h B^T             (..., O)
#
# | array | shape | | array | shape |
# |---|---|---|---|---|
# | x | (..., I) | | dx | (..., I) |
# | A | (r, I) | | dA | (r, I) |
# | B | (O, r) | | dB | (O, r) |
# | h | (..., r) | | dy | (..., O) |
# | W | (O, I) | | | |
#
# There is no dW: W is a constant. dx is needed all the same, for the layers below. Exercise 1 has every piece of this:
# go through the two lines from the last to the first.

# %% nbgrader={"grade": false, "grade_id": "lora_linear_backward", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def lora_linear_backward(dy, cache):
    """The gradients dx, dA and dB of y = x W^T + bias + scale (x A^T) B^T.

    dy has shape (..., O); cache is what the forward pass has kept: x (..., I), h = x A^T (..., r), W (O, I), A (r, I),
    B (O, r) and the number scale.
    """
    x, h, W, A, B, scale = cache
    ### BEGIN SOLUTION
    dy_rows, x_rows, h_rows = (array.reshape(-1, array.shape[-1]) for array in (dy, x, h))
    dh = scale * (dy @ B)  # (..., O) @ (O, r) -> (..., r)
    dB = scale * (dy_rows.T @ h_rows)  # (O, M) @ (M, r) -> (O, r)
    dA = dh.reshape(-1, dh.shape[-1]).T @ x_rows  # (r, M) @ (M, I) -> (r, I)
    dx = dy @ W + dh @ A  # (..., I)
    ### END SOLUTION
    return dx, dA, dB


# %% tags=["check"]
# Checks the cell above, and that alone: all that the answer needs belongs there, imports and helpers too.
from minilora.exercises import check

check("lora_linear_backward", lora_linear_backward)

# %% nbgrader={"grade": true, "grade_id": "lora_linear_backward_marks", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
# This cell gives the marks. Leave it as it is.
### BEGIN HIDDEN TESTS
from minilora.exercises import marks

marks("lora_linear_backward", lora_linear_backward, points=6, seed=109)
### END HIDDEN TESTS

# %% [markdown] tags=["hint"]
# The second line is a linear map of h with the weight scale B. What does exercise 1 say about the gradients of its
# input and of its weight?

# %% [markdown] tags=["hint"]
# So dh = scale dy B, and dB = scale (dy rows)^T (h rows). The first line is a linear map of x with the weight A, and
# its upstream gradient is dh. And x is used in two places.

# %% [markdown] tags=["hint"]
# dA = (dh rows)^T (x rows)          (r, M) @ (M, I)
# dx = dy W + dh A                   a sum, for x is used twice

# %% [markdown] tags=["shown"]
# What was shown: the heart of LoRA. With the gradient of full fine-tuning, G = dy^T x, these are dB = scale G A^T and
# dA = scale B^T G: LoRA sees the full gradient through two narrow windows. While B = 0, dA is zero and dB is not. x
# is kept, for dA; what is saved is the large product dW, and all that an optimizer would keep for it.

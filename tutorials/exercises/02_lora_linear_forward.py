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
# # Exercise 2: LoRA's forward pass
#
# *Difficulty 1 of 5, about 10 minutes.*
#
# *The formula at work: tutorial 3, LoRA by hand (`tutorials/03_lora_by_hand.ipynb`).*
#
# **Goal.** Write LoRA's linear map: a frozen layer, and next to it a branch of two thin matrices (equation 3 of the
# paper).
#
# **Formula.** The paper writes it for a column x, as h = W_0 x + (alpha / r) B A x. Our x holds rows, so each product
# is transposed:
#
#     y = x W^T + bias + scale (x A^T) B^T          scale = alpha / r
#
# | array | shape | |
# |---|---|---|
# | x | (..., I) | |
# | W, bias | (O, I), (O,) | frozen |
# | A | (r, I) | down to the rank r |
# | B | (O, r) | up again |
# | y | (..., O) | |
#
# The product B A has W's shape, (O, I). It is **not** formed here: from right to left, two thin products are cheaper.

# %% nbgrader={"grade": false, "grade_id": "lora_linear_forward", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def lora_linear_forward(x, W, bias, A, B, scale):
    """y = x W^T + bias + scale (x A^T) B^T, of shape (..., O)."""
    ### BEGIN SOLUTION
    h = x @ A.T  # (..., I) @ (I, r) -> (..., r)
    y = x @ W.T + bias + scale * (h @ B.T)  # (..., O)
    ### END SOLUTION
    return y


# %% tags=["check"]
# Checks the cell above, and that alone: all that the answer needs belongs there, imports and helpers too.
from minilora.exercises import check

check("lora_linear_forward", lora_linear_forward)

# %% nbgrader={"grade": true, "grade_id": "lora_linear_forward_marks", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# This cell gives the marks. Leave it as it is.
### BEGIN HIDDEN TESTS
from minilora.exercises import marks

marks("lora_linear_forward", lora_linear_forward, points=2, seed=102)
### END HIDDEN TESTS

# %% [markdown] tags=["hint"]
# There are two paths from x to y. Write each as a line of its own, and add them up.

# %% [markdown] tags=["hint"]
# The first path is the frozen layer, `x @ W.T + bias`. The second goes through the rank: first `h = x @ A.T`, of shape
# (..., r).

# %% [markdown] tags=["hint"]
# The second path is `scale * (h @ B.T)`. The scale belongs to this path alone.

# %% [markdown] tags=["shown"]
# What was shown: LoRA changes nothing in the frozen layer; it adds a branch. While B = 0 the branch is silent, and the
# adapted model is the base model to the bit. Going through the rank costs r (I + O) products for each row, where W
# costs I O.

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
# # Exercise 5: the gradient of softmax
#
# *Difficulty 2 of 5, about 25 minutes.*
#
# *The formula at work: tutorial 2, Backpropagation by hand (`tutorials/02_backprop_by_hand.ipynb`).*
#
# **Goal.** Write the backward pass of softmax. It is the first one here in which every input of a row changes every
# output of that row.
#
# **Formula.** For one row,
#
#     probs_i = exp(x_i) / sum over j of exp(x_j)
#     d probs_i / d x_j = probs_i (1 if i = j, else 0)  -  probs_i probs_j
#
# | array | shape |
# |---|---|
# | x, dx | (..., V) |
# | probs, dprobs | (..., V) |
#
# The upstream gradient is `dprobs`; dx_j is the sum over i of dprobs_i times (d probs_i / d x_j). There is no need for
# a V x V matrix: the sum comes out as something simple.

# %% nbgrader={"grade": false, "grade_id": "softmax_backward", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def softmax_backward(dprobs, cache):
    """The gradient dx of probs = softmax(x) over the last axis.

    dprobs has shape (..., V); cache is what the forward pass has kept: probs (..., V).
    """
    (probs,) = cache
    ### BEGIN SOLUTION
    overlap = np.sum(dprobs * probs, axis=-1, keepdims=True)  # (..., 1)
    dx = probs * (dprobs - overlap)  # (..., V)
    ### END SOLUTION
    return dx


# %% tags=["check"]
# Checks the cell above, and that alone: all that the answer needs belongs there, imports and helpers too.
from minilora.exercises import check

check("softmax_backward", softmax_backward)

# %% nbgrader={"grade": true, "grade_id": "softmax_backward_marks", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
# This cell gives the marks. Leave it as it is.
### BEGIN HIDDEN TESTS
from minilora.exercises import marks

marks("softmax_backward", softmax_backward, points=4, seed=105)
### END HIDDEN TESTS

# %% [markdown] tags=["hint"]
# Put the formula of d probs_i / d x_j into the sum over i, and split it in two: the part in which i = j, and the rest.

# %% [markdown] tags=["hint"]
# The first part is dprobs_j probs_j. In the second, probs_j does not depend on i: take it out of the sum. What stays
# inside is the same number for every j of the row.

# %% [markdown] tags=["hint"]
# dx_j = probs_j (dprobs_j - s), with s = sum over i of dprobs_i probs_i. In NumPy, s needs `axis=-1, keepdims=True`.

# %% [markdown] tags=["shown"]
# What was shown: the gradient of softmax is what is left of dprobs after its average, weighted with probs, is taken
# away. Add the same number to all dprobs of a row, and dx does not change; and every row of dx sums to zero.

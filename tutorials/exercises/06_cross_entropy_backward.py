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
# # Exercise 6: the gradient of the loss
#
# *Difficulty 2 of 5, about 25 minutes.*
#
# *The formula at work: tutorial 4, A transformer, forward and backward (`tutorials/04_a_transformer.ipynb`).*
#
# **Goal.** Write where every gradient begins: the derivative of the loss with respect to the model's outputs. The
# paper's objective (equation 2) counts only the positions of the answer y, not those of the prompt x; the mask says
# which.
#
# **Formula.** With probs = softmax(logits), and M positions that count,
#
#     loss = (1 / M) * sum over counted positions of  -log probs[target]
#     d(-log probs[target]) / d logits_v = probs_v - (1 if v = target, else 0)
#
# | array | shape | |
# |---|---|---|
# | probs, dlogits | (..., V) | |
# | targets | (...) | whole numbers from 0 to V - 1 |
# | mask | (...) | True where a position counts |
# | dloss | a number | the upstream gradient: 1 if the loss is the end of it |
#
# `(...)` may be any number of axes, or none; M counts the positions of all sequences together.

# %% nbgrader={"grade": false, "grade_id": "cross_entropy_backward", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def cross_entropy_backward(dloss, cache):
    """The gradient dlogits, (..., V), of the mean of -log probs[target] over the positions at which mask is True.

    cache is what the forward pass has kept: probs (..., V), targets (...) and mask (...). At least one position counts.
    """
    probs, targets, mask = cache
    ### BEGIN SOLUTION
    onehot = np.eye(probs.shape[-1])[targets]  # (..., V)
    weight = dloss * mask / mask.sum()  # (...)
    dlogits = weight[..., None] * (probs - onehot)  # (..., V)
    ### END SOLUTION
    return dlogits


# %% tags=["check"]
# Checks the cell above, and that alone: all that the answer needs belongs there, imports and helpers too.
from minilora.exercises import check

check("cross_entropy_backward", cross_entropy_backward)

# %% nbgrader={"grade": true, "grade_id": "cross_entropy_backward_marks", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
# This cell gives the marks. Leave it as it is.
### BEGIN HIDDEN TESTS
from minilora.exercises import marks

marks("cross_entropy_backward", cross_entropy_backward, points=4, seed=106)
### END HIDDEN TESTS

# %% [markdown] tags=["hint"]
# For one position the gradient is `probs`, with 1 subtracted at the target. Write that for all positions first.

# %% [markdown] tags=["hint"]
# `np.eye(V)[targets]` has the shape (..., V): a row of zeros with a 1 at the target for each position. Then think of
# what a mean does to a gradient, and of the positions that do not count.

# %% [markdown] tags=["hint"]
# Multiply `probs - onehot` by a weight for each position: dloss / M where the mask is True, 0 elsewhere, with M =
# `mask.sum()`. The weight needs a last axis: `weight[..., None]`.

# %% [markdown] tags=["shown"]
# What was shown: softmax and the logarithm together have the simplest gradient of all, probs - onehot: what the model
# says minus what it should say. The mean over the counted positions alone keeps the step the same size, however long
# the prompt is.

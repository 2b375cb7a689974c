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
# # Exercise 10: one step of AdamW
#
# *Difficulty 3 of 5, about 25 minutes.*
#
# *The formula at work: tutorial 5, Pretrain, then adapt (`tutorials/05_pretrain_then_adapt.ipynb`).*
#
# **Goal.** Write the optimizer that LoRA is trained with. It keeps two numbers for each one that it trains, which is
# why training few parameters saves so much memory.
#
# **Formula.** t counts the steps from 1; all arrays have the same shape.
#
#     m = beta1 m + (1 - beta1) grad                    a running average of the gradient
#     v = beta2 v + (1 - beta2) grad^2                  a running average of its square
#     m_hat = m / (1 - beta1^t)                         they began at zero, and are too small at first
#     v_hat = v / (1 - beta2^t)
#     data = data - lr weight_decay data - lr m_hat / (sqrt(v_hat) + eps)
#
# The weight decay is "decoupled", the W of AdamW: it shrinks the data from before the step, and never enters m or v.
#
# Return **new** arrays data, m and v; change none of those that you are given.

# %% nbgrader={"grade": false, "grade_id": "adamw_step", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def adamw_step(data, grad, m, v, t, lr, beta1, beta2, eps, weight_decay):
    """data, m and v after step t."""
    ### BEGIN SOLUTION
    m = beta1 * m + (1 - beta1) * grad
    v = beta2 * v + (1 - beta2) * grad**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    data = data - lr * weight_decay * data - lr * m_hat / (np.sqrt(v_hat) + eps)
    ### END SOLUTION
    return data, m, v


# %% tags=["check"]
# Checks the cell above, and that alone: all that the answer needs belongs there, imports and helpers too.
from minilora.exercises import check

check("adamw_step", adamw_step)

# %% nbgrader={"grade": true, "grade_id": "adamw_step_marks", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
# This cell gives the marks. Leave it as it is.
### BEGIN HIDDEN TESTS
from minilora.exercises import marks

marks("adamw_step", adamw_step, points=6, seed=110)
### END HIDDEN TESTS

# %% [markdown] tags=["hint"]
# Write the five lines one after another. `m = beta1 * m + ...` makes a new array; `m *= beta1` would change the one
# given.

# %% [markdown] tags=["hint"]
# m and v are returned as they are after the first two lines; m_hat and v_hat are for the last line alone.

# %% [markdown] tags=["hint"]
# eps is added to the root, not under it, and the decay is `lr * weight_decay * data`, with data from before the step.

# %% [markdown] tags=["shown"]
# What was shown: Adam divides each gradient by its own recent size, so that a step is about lr for every number,
# whatever its scale. It keeps m and v for each trained number: with LoRA, of A and B alone. That, and not the weights,
# is most of what LoRA saves (the paper's section 4.2).

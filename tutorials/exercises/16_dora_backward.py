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
# # Exercise 16: the exact gradients of DoRA
#
# *Difficulty 5 of 5, about 60 minutes.*
#
# *The formula at work: tutorial 11, After LoRA (`tutorials/11_after_lora.ipynb`).*
#
# **Goal.** Write the backward pass of DoRA (Liu et al., 2024), which splits a weight into the length and the direction
# of each of its rows: LoRA learns the direction, and a number m for each row its length.
#
# **Formula.** The forward pass:
#
#     V = W + scale B A                    (O, I)
#     norm_o = ||V_o||                     (O,)       the length of row o
#     h = x A^T                            (..., r)
#     u = x W^T + scale h B^T              (..., O)
#     y = u * (m / norm) + bias            (..., O)
#
# | array | shape | | array | shape |
# |---|---|---|---|---|
# | x, dx | (..., I) | | m, dm, norm | (O,) |
# | A, dA | (r, I) | | B, dB | (O, r) |
# | W, V | (O, I) | | u, dy | (..., O) |
#
# A and B reach y in **two** ways: through u, as in LoRA (exercise 9), and through norm. The paper and PEFT leave the
# second one out, to save memory. Here both count: give the exact gradients. From d norm_o / d V_o = V_o / norm_o
# follows
#
#     dV = (dnorm / norm) V,  row by row,     and with it     dA gets scale B^T dV,     dB gets scale dV A^T

# %% nbgrader={"grade": false, "grade_id": "dora_backward", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def dora_backward(dy, cache):
    """The exact gradients dx (..., I), dA (r, I), dB (O, r) and dm (O,) of DoRA's linear map.

    dy has shape (..., O); cache is what the forward pass has kept: x, h, u, W, A, B, m, norm, V and the number scale.
    """
    x, h, u, W, A, B, m, norm, V, scale = cache
    ### BEGIN SOLUTION
    dy_rows, x_rows, h_rows, u_rows = (array.reshape(-1, array.shape[-1]) for array in (dy, x, h, u))
    dgain = (dy_rows * u_rows).sum(axis=0)  # (O,)  gain = m / norm
    dm = dgain / norm
    du = dy * (m / norm)  # (..., O)
    du_rows = du.reshape(-1, du.shape[-1])
    dh = scale * (du @ B)  # (..., r)
    dB = scale * (du_rows.T @ h_rows)  # (O, r)
    dA = dh.reshape(-1, dh.shape[-1]).T @ x_rows  # (r, I)
    dx = du @ W + dh @ A  # (..., I)
    dnorm = -dgain * m / norm**2  # (O,)
    dV = (dnorm / norm)[:, None] * V  # (O, I)
    dB = dB + scale * (dV @ A.T)
    dA = dA + scale * (B.T @ dV)
    ### END SOLUTION
    return dx, dA, dB, dm


# %% tags=["check"]
# Checks the cell above, and that alone: all that the answer needs belongs there, imports and helpers too.
from minilora.exercises import check

check("dora_backward", dora_backward)

# %% nbgrader={"grade": true, "grade_id": "dora_backward_marks", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
# This cell gives the marks. Leave it as it is.
### BEGIN HIDDEN TESTS
from minilora.exercises import marks

marks("dora_backward", dora_backward, points=10, seed=116)
### END HIDDEN TESTS

# %% [markdown] tags=["hint"]
# Call gain = m / norm, so that y = u * gain + bias. What are du and dgain? (gain is used by every row of u.)

# %% [markdown] tags=["hint"]
# du = dy * gain, and from there on dx, dA and dB are LoRA's, with du for dy. dgain is the sum of dy * u over all rows;
# dm = dgain / norm, and dnorm = -dgain m / norm^2.

# %% [markdown] tags=["hint"]
# After LoRA's part:  dV = (dnorm / norm)[:, None] * V,  then  dB += scale dV A^T  and  dA += scale B^T dV.

# %% [markdown] tags=["shown"]
# What was shown: the norm is a function of A and B too, and its gradient takes away what dA and dB have along each row
# of V: they turn the row, and m alone changes its length. With the norm as a constant, as PEFT has it, that part stays
# in; check which one a library gives you before you compare.

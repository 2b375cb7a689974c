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
# # Exercise 18: rotary positions, forward and backward
#
# *Difficulty 3 of 5, about 40 minutes.*
#
# *The formula at work: tutorial 12, A Llama, forward and backward, and LoRA on it (`tutorials/12_a_llama.ipynb`).*
#
# **Goal.** Write the rotation by which Llama tells its positions apart, and its backward pass. No position is added
# to a token; instead each query and each key is turned, by an angle that grows with its position, so that their
# product depends on how far apart they are.
#
# **Formula.** The K numbers of a head are K / 2 pairs: number i goes with number i + K / 2. At position p, pair i is
# turned by the angle
#
#     angle = p * theta^(-2 i / K)             i = 0, 1, ..., K / 2 - 1
#
#     y_i         = x_i cos(angle)  -  x_(i + K/2) sin(angle)
#     y_(i + K/2) = x_i sin(angle)  +  x_(i + K/2) cos(angle)
#
# | array | shape |
# |---|---|
# | x, y, dy, dx | (N, H, T, K), and K is even |
# | positions | (T,): where each token stands |
# | angle | (T, K / 2) |
#
# The backward pass gets no cache: positions and theta are all that it needs.

# %% nbgrader={"grade": false, "grade_id": "rope", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def rope_forward(x, positions, theta):
    """Each pair (i, i + K / 2) of x, (N, H, T, K), turned by positions * theta^(-2 i / K)."""
    ### BEGIN SOLUTION
    half = x.shape[-1] // 2
    angle = positions[:, None] * theta ** (-np.arange(half) / half)  # (T, K / 2)
    a, b = x[..., :half], x[..., half:]  # (N, H, T, K / 2) each
    turned = (a * np.cos(angle) - b * np.sin(angle), a * np.sin(angle) + b * np.cos(angle))
    y = np.concatenate(turned, axis=-1)
    ### END SOLUTION
    return y


def rope_backward(dy, positions, theta):
    """The gradient dx, (N, H, T, K), of y = rope_forward(x, positions, theta)."""
    ### BEGIN SOLUTION
    dx = rope_forward(dy, -positions, theta)  # a rotation's transpose turns back
    ### END SOLUTION
    return dx


# %% tags=["check"]
# Checks the cell above, and that alone: all that the answer needs belongs there, imports and helpers too.
from minilora.exercises import check

check("rope", rope_forward)

# %% nbgrader={"grade": true, "grade_id": "rope_marks", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
# This cell gives the marks. Leave it as it is.
### BEGIN HIDDEN TESTS
from minilora.exercises import marks

marks("rope", rope_forward, points=6, seed=118)
### END HIDDEN TESTS

# %% [markdown] tags=["hint"]
# `x[..., :half]` and `x[..., half:]` are the two numbers of every pair, and (T, K / 2) broadcasts against them. Put
# the results together with `np.concatenate(..., axis=-1)`.

# %% [markdown] tags=["hint"]
# The rotation is a matrix R for each pair, y = R x. So dx = R^T dy. What is the transpose of a rotation?

# %% [markdown] tags=["hint"]
# R^T turns by minus the angle: the backward pass is the forward pass of dy, with -positions for positions.

# %% [markdown] tags=["shown"]
# What was shown: a rotation is linear in x and has no parameter, and its backward is itself, turned back. Turn a
# query at position m and a key at n, and their product depends on m - n alone: try it. Which numbers make a pair is a
# convention: Hugging Face's Llama takes i and i + K / 2, the original one and llama.cpp take 2 i and 2 i + 1, and so
# they store the rows of W_q and W_k in another order. Mixing them up leaves text that reads almost right.

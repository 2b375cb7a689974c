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
# # Exercise 20: find the bugs
#
# *Difficulty 3 of 5, about 30 minutes.*
#
# *The formula at work: tutorial 3, LoRA by hand (`tutorials/03_lora_by_hand.ipynb`).*
#
# **Goal.** Below is a training loop that somebody else has written. It runs, the loss falls, and it is wrong in three
# places. Find them. Nothing is missing: you change lines that are there.
#
# **Formula.** LoRA on one linear map, with the mean over the M rows of half the squared error,
#
#     e = x W^T + scale (x A^T) B^T - y                        (M, O)
#     loss = 1 / (2 M) * sum of e^2
#     dB = scale / M * e^T (x A^T)                             (O, r)
#     dA = scale / M * (e B)^T x                               (r, I)
#
# and a step of plain gradient descent is A - lr dA and B - lr dB, both with the gradients at the old A and B. x is
# (M, I), y is (M, O), W is (O, I). The function gives back A and B after a number of steps. Whoever calls it goes on
# using the A and B that were handed in.

# %% nbgrader={"grade": false, "grade_id": "lora_loop", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def lora_loop(x, y, W, A, B, scale, lr, steps):
    """A and B after some steps of gradient descent on the mean of half the squared error."""
    ### BEGIN SOLUTION
    for _ in range(steps):
        h = x @ A.T  # (M, I) @ (I, r) -> (M, r)
        e = (x @ W.T + scale * (h @ B.T) - y) / len(x)  # (M, O)
        dB = scale * (e.T @ h)  # (O, M) @ (M, r) -> (O, r)
        dA = scale * ((e @ B).T @ x)  # (r, M) @ (M, I) -> (r, I)
        A, B = A - lr * dA, B - lr * dB  # new arrays, both from the old A and B
    ### INSTEAD
    # for _ in range(steps):
    #     h = x @ A.T  # (M, r)
    #     e = (x @ W.T + scale * (h @ B.T) - y) / len(x)  # (M, O)
    #     dB = e.T @ h  # (O, r)
    #     B -= lr * dB
    #     dA = scale * ((e @ B).T @ x)  # (r, I)
    #     A -= lr * dA
    ### END SOLUTION
    return A, B


# %% tags=["check"]
# Checks the cell above, and that alone: all that the answer needs belongs there, imports and helpers too.
from minilora.exercises import check

check("lora_loop", lora_loop)

# %% nbgrader={"grade": true, "grade_id": "lora_loop_marks", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
# This cell gives the marks. Leave it as it is.
### BEGIN HIDDEN TESTS
from minilora.exercises import marks

marks("lora_loop", lora_loop, points=6, seed=120)
### END HIDDEN TESTS

# %% [markdown] tags=["hint"]
# A falling loss proves little: any step that goes roughly downhill makes it fall. Compare each line with its formula,
# and look at what a line changes besides what it computes.

# %% [markdown] tags=["hint"]
# One factor is missing. One gradient is taken at a point that has already moved. And what does `-=` do to an array that
# somebody else holds, too?

# %% [markdown] tags=["hint"]
# dB needs its `scale`. Compute dB and dA before either of A and B changes. Then `A, B = A - lr * dA, B - lr * dB` makes
# new arrays, where `A -= lr * dA` writes into the caller's.

# %% [markdown] tags=["shown"]
# What was shown: three bugs that no error message and no loss curve tells you about. Without its scale, B learns more
# slowly, or faster; with a B that has moved, dA belongs to no point at all; and a changed argument is found by whoever
# trains twice from the same start and gets two results.

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
# # Exercise 13: two adapters into one of PEFT's
#
# *Difficulty 3 of 5, about 30 minutes.*
#
# *The formula at work: tutorial 10, On a GPU, and on real checkpoints (`tutorials/10_gpu_and_checkpoints.ipynb`).*
#
# **Goal.** GPT-2 computes q, k and v with one matrix, `c_attn`. Your LoRA adapts W_q and W_v apart, as the paper does.
# Write them as the one adapter that PEFT can keep for `c_attn`, such that nothing changes.
#
# **Formula.** The outputs of c_attn are q, k and v, one behind the other: in the layout (out, in), the rows of its
# delta_W are
#
#     delta_W = ( delta_W_q )     (d, d)
#               (     0     )     (d, d)     k is not adapted
#               ( delta_W_v )     (d, d)
#
# with delta_W_q = (alpha / r) B_q A_q, and likewise for v. Find A, B, the rank and the alpha of one LoRA that gives
# this delta_W exactly:
#
# | array | shape |
# |---|---|
# | A_q, A_v | (r, d) |
# | B_q, B_v | (d, r) |
# | A | (rank, d), with A_q above A_v |
# | B | (3 d, rank) |
#
# PEFT scales by alpha / rank, with **your** alpha and rank, and keeps A as (r, in) and B as (out, r), also where W
# itself lies transposed.

# %% nbgrader={"grade": false, "grade_id": "peft_export", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def peft_export(A_q, B_q, A_v, B_v, alpha):
    """A (rank, d), B (3 d, rank), rank and alpha of one LoRA for c_attn."""
    ### BEGIN SOLUTION
    d, r = B_q.shape
    A = np.concatenate([A_q, A_v])  # (2 r, d)
    B = np.zeros((3 * d, 2 * r))
    B[:d, :r] = B_q
    B[2 * d :, r:] = B_v
    rank, alpha = 2 * r, 2 * alpha
    ### END SOLUTION
    return A, B, rank, alpha


# %% tags=["check"]
# Checks the cell above, and that alone: all that the answer needs belongs there, imports and helpers too.
from minilora.exercises import check

check("peft_export", peft_export)

# %% nbgrader={"grade": true, "grade_id": "peft_export_marks", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
# This cell gives the marks. Leave it as it is.
### BEGIN HIDDEN TESTS
from minilora.exercises import marks

marks("peft_export", peft_export, points=6, seed=113)
### END HIDDEN TESTS

# %% [markdown] tags=["hint"]
# Multiply a matrix in blocks: what must B be for B @ A, with A_q above A_v, to have B_q A_q in its first d rows?

# %% [markdown] tags=["hint"]
# B has three blocks of rows, for q, k and v, and two blocks of columns, for A_q and A_v. Four of the six blocks are
# zero.

# %% [markdown] tags=["hint"]
# `B[:d, :r] = B_q` and `B[2*d:, r:] = B_v`. The rank is 2 r; alpha must grow with it, so that alpha / rank stays what
# it was.

# %% [markdown] tags=["shown"]
# What was shown: two LoRAs side by side are one LoRA of twice the rank, with B in blocks. The scale is alpha / rank, so
# doubling the rank means doubling alpha; forgetting it halves the adapter, and no error says so. PEFT's own default for
# GPT-2 is another model: one A that q, k and v share.

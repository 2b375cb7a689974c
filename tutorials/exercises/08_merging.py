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
# # Exercise 8: merging without a trace
#
# *Difficulty 2 of 5, about 15 minutes.*
#
# *The formula at work: tutorial 6, Merging, switching, many tasks (`tutorials/06_merging_and_switching.ipynb`).*
#
# **Goal.** Put LoRA into the weight itself, so that the adapted model is as fast as the base; and take it out again
# such that the frozen W is back **to the bit**.
#
# **Formula.**
#
#     merged = W + scale B A          (O, I)
#
# | array | shape |
# |---|---|
# | W, merged | (O, I) |
# | A | (r, I) |
# | B | (O, r) |
#
# Write two functions:
#
# - `merge(W, A, B, scale)` returns the merged matrix, and whatever you want to keep for taking it out again;
# - `unmerge(merged, kept)` returns W as it was, given what `merge` returned.
#
# `merge` must not change the W that it is given.

# %% nbgrader={"grade": false, "grade_id": "merging", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def merge(W, A, B, scale):
    """The merged matrix, (O, I), and what `unmerge` will need."""
    ### BEGIN SOLUTION
    return W + scale * (B @ A), W
    ### END SOLUTION


def unmerge(merged, kept):
    """The frozen W, to the bit."""
    ### BEGIN SOLUTION
    return kept
    ### END SOLUTION


# %% tags=["check"]
# Checks the cell above, and that alone: all that the answer needs belongs there, imports and helpers too.
from minilora.exercises import check

check("merging", merge)

# %% nbgrader={"grade": true, "grade_id": "merging_marks", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
# This cell gives the marks. Leave it as it is.
### BEGIN HIDDEN TESTS
from minilora.exercises import marks

marks("merging", merge, points=4, seed=108)
### END HIDDEN TESTS

# %% [markdown] tags=["hint"]
# In mathematics (W + D) - D = W. In floating-point numbers, W + D is rounded. What does that mean for subtracting?

# %% [markdown] tags=["hint"]
# `unmerge` can only be exact if it computes nothing. What could `merge` keep so that it need not?

# %% [markdown] tags=["hint"]
# `merge` returns `W + scale * (B @ A)`, which is a new array, and W itself. `unmerge` returns what was kept.

# %% [markdown] tags=["shown"]
# What was shown: merging costs one product, and then there is no branch left, and no latency (the paper's section 4.1).
# Subtracting does not restore W: an entry in ten or so comes back with another last bit, in float64 as in float32, and
# a thousand different adapters, each merged and subtracted, drift. So the frozen W is kept.

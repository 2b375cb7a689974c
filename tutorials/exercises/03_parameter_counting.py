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
# # Exercise 3: how many numbers LoRA trains
#
# *Difficulty 1 of 5, about 15 minutes.*
#
# *The formula at work: tutorial 9, The other methods (`tutorials/09_other_methods.ipynb`).*
#
# **Goal.** Count what LoRA trains, so that you can check the numbers that are printed in papers (some are wrong).
#
# **Formula.** Each adapted matrix W of shape (O, I) gets an A of shape (r, I) and a B of shape (O, r). W is frozen, and
# does not count. Every one of the L blocks of a model has such matrices.
#
# Write two functions:
#
# - `lora_parameters(shapes, n_layer, rank)`: all numbers in the A's and B's of a model, where `shapes` is a list with
#   the shape (O, I) of each adapted matrix of one block;
# - `largest_saving_rank(O, I)`: the largest whole r for which A and B together hold **fewer** numbers than W.
#
# Both return a whole number (an `int`).

# %% nbgrader={"grade": false, "grade_id": "parameter_counting", "locked": false, "schema_version": 3, "solution": true, "task": false}
def lora_parameters(shapes, n_layer, rank):
    """How many numbers all A's and B's hold; shapes is a list of (O, I), one for each adapted matrix of a block."""
    ### BEGIN SOLUTION
    return n_layer * sum(rank * I + O * rank for O, I in shapes)
    ### END SOLUTION


def largest_saving_rank(O, I):
    """The largest r with which A (r, I) and B (O, r) hold fewer numbers than W (O, I)."""
    ### BEGIN SOLUTION
    return (O * I - 1) // (O + I)
    ### END SOLUTION


# %% tags=["check"]
# Checks the cell above, and that alone: all that the answer needs belongs there, imports and helpers too.
from minilora.exercises import check

check("parameter_counting", lora_parameters)

# %% nbgrader={"grade": true, "grade_id": "parameter_counting_marks", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# This cell gives the marks. Leave it as it is.
### BEGIN HIDDEN TESTS
from minilora.exercises import marks

marks("parameter_counting", lora_parameters, points=2, seed=103)
### END HIDDEN TESTS

# %% [markdown] tags=["hint"]
# How many numbers does an array of shape (r, I) hold? And one of shape (O, r)?

# %% [markdown] tags=["hint"]
# One matrix adds r I + O r = r (O + I). Sum that over the shapes, which need not be square, and then over the blocks.
# For the second function: r (O + I) < O I.

# %% [markdown] tags=["hint"]
# `n_layer * sum(rank * (O + I) for O, I in shapes)`. And r (O + I) < O I means r (O + I) <= O I - 1, for whole numbers,
# so that whole-number division gives the answer: `(O * I - 1) // (O + I)`.

# %% [markdown] tags=["shown"]
# What was shown: |Theta| = r (O + I) for each adapted matrix, 2 d r for a square one. GPT-2 medium with r = 4 on W_q
# and W_v trains 393,216 numbers; the paper's table 3 prints 0.35M for it. `minilora count published` has all of them.
# And for a square W, everything below half of full rank saves something.

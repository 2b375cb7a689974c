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
# # Exercise 21: predict, then run
#
# *Difficulty 3 of 5, about 20 minutes.*
#
# *The formula at work: tutorial 3, LoRA by hand (`tutorials/03_lora_by_hand.ipynb`).*
#
# **Goal.** Say what LoRA will do before it does it. Write down six numbers, with pencil and paper and without running
# anything; `check` then runs the experiments and shows what came out. Your first try is the one that counts: the list
# of exercises shows how many you took.
#
# **Formula.** One linear map, y = x W^T + scale (x A^T) B^T, with W of shape (12, 20), r = 4, A drawn and B zero, as at
# the start of every training with LoRA, and some loss L behind it. The six numbers are
#
# | number | what is asked |
# |---|---|
# | trained | how many numbers A and B hold together |
# | dA | the norm of the gradient of A at the start |
# | rank | the rank of delta_W = scale B A after a hundred steps, of a task that needs all of W to change |
# | sgd | after **one** step of plain gradient descent: how many times larger delta_W is if alpha is twice as large |
# | adamw | the same, after one step of AdamW, without weight decay |
# | swapped | later, with B not zero: how many times larger dB is if A is doubled and B halved (the same delta_W) |

# %% nbgrader={"grade": false, "grade_id": "predictions", "locked": false, "schema_version": 3, "solution": true, "task": false}
def predictions():
    """The six numbers trained, dA, rank, sgd, adamw and swapped, in this order."""
    ### BEGIN SOLUTION
    return 4 * (12 + 20), 0, 4, 4, 2, 2
    ### END SOLUTION


# %% tags=["check"]
# Checks the cell above, and that alone: all that the answer needs belongs there, imports and helpers too.
from minilora.exercises import check

check("predictions", predictions)

# %% nbgrader={"grade": true, "grade_id": "predictions_marks", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
# This cell gives the marks. Leave it as it is.
### BEGIN HIDDEN TESTS
from minilora.exercises import marks

marks("predictions", predictions, points=6, seed=121)
### END HIDDEN TESTS

# %% [markdown] tags=["hint"]
# Write down dA and dB, with dy for the gradient of y: which of them has B in it, and which A? How often does the scale
# stand in each, and how often in delta_W?

# %% [markdown] tags=["hint"]
# At the start B is zero, so after one step delta_W is scale times the step of B times A. The step of gradient descent
# is proportional to dB, which has a scale of its own. AdamW's first step has one size, whatever the gradient's size.

# %% [markdown] tags=["hint"]
# dB = scale dy^T (x A^T) and dA = scale (dy B)^T x. delta_W has the rank of its thinnest factor. Doubling A doubles
# x A^T.

# %% [markdown] tags=["shown"]
# What was shown: alpha is not one knob. With plain gradient descent it enters twice, with AdamW once, which is why the
# paper can say that tuning alpha is like tuning the learning rate. And delta_W does not say what A and B are: the same
# delta_W, held otherwise, has another gradient, which is what LoRA+ and others build on.

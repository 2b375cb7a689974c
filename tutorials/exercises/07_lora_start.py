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
# # Exercise 7: where LoRA starts
#
# *Difficulty 2 of 5, about 20 minutes.*
#
# *The formula at work: tutorial 3, LoRA by hand (`tutorials/03_lora_by_hand.ipynb`).*
#
# **Goal.** Make A, B and the scale as they are before the first step, and know why.
#
# **Formula.** The adapted model must be the base model at the start: delta_W = scale B A = 0. And it must be able to
# learn: with the full gradient G = dL/dW, dA = scale B^T G and dB = scale G A^T, so that A and B must not **both** be
# zero. So
#
#     A   uniform between -1 / sqrt(I) and 1 / sqrt(I)     (r, I)
#     B   zero                                             (O, r)
#     scale = alpha / r
#
# The paper says "random Gaussian" for A, without its size; its code, PEFT and minilora draw the uniform one above.
#
# Draw all of A with a single call of `rng.uniform`, where `rng` is a NumPy generator, so that everybody draws the same.

# %% nbgrader={"grade": false, "grade_id": "lora_start", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def lora_start(O, I, rank, alpha, rng):
    """A of shape (rank, I), B of shape (O, rank), and the scale."""
    ### BEGIN SOLUTION
    bound = 1 / np.sqrt(I)
    A = rng.uniform(-bound, bound, (rank, I))
    B = np.zeros((O, rank))
    scale = alpha / rank
    ### END SOLUTION
    return A, B, scale


# %% tags=["check"]
# Checks the cell above, and that alone: all that the answer needs belongs there, imports and helpers too.
from minilora.exercises import check

check("lora_start", lora_start)

# %% nbgrader={"grade": true, "grade_id": "lora_start_marks", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
# This cell gives the marks. Leave it as it is.
### BEGIN HIDDEN TESTS
from minilora.exercises import marks

marks("lora_start", lora_start, points=4, seed=107)
### END HIDDEN TESTS

# %% [markdown] tags=["hint"]
# Which of the two may be zero, and which one then gets a gradient at the first step?

# %% [markdown] tags=["hint"]
# `rng.uniform(low, high, shape)` draws an array of that shape. The bound goes by the number of inputs that A reads.

# %% [markdown] tags=["hint"]
# `bound = 1 / np.sqrt(I)`, then `A = rng.uniform(-bound, bound, (rank, I))`, and B is `np.zeros((O, rank))`.

# %% [markdown] tags=["shown"]
# What was shown: B = 0 makes the start exact, and A, which is not zero, lets B learn: at the first step dA is zero and
# dB is not; from the second on both move. With both zero, both gradients stay zero for ever. Dividing alpha by r keeps
# the size of the change about the same when the rank is changed.

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
# # Exercise 22: measure memory
#
# *Difficulty 3 of 5, about 25 minutes.*
#
# *The formula at work: tutorial 5, Pretrain, then adapt (`tutorials/05_pretrain_then_adapt.ipynb`).*
#
# **Goal.** Write the measurement behind every sentence about LoRA's memory: how much a function needs while it runs,
# and how much it leaves behind. A training step leaves little, and needs much.
#
# **Formula.** `tracemalloc`, of Python's own library, counts what is allocated, NumPy's arrays included: after
# `tracemalloc.start()`, `tracemalloc.get_traced_memory()` gives two numbers of bytes, what is allocated now and the
# most that ever was. With b for the first of them just before the call y = f(x), where x is an array of shape (1,),
#
#     peak = (the most during the call) - b
#     kept = (what is allocated after it, while y is still there) - b
#
# Return both as whole numbers of MB, of 10^6 bytes, rounded to the nearest with `round`. Call f once. Leave tracemalloc
# stopped: while it runs, everything is slower.

# %% nbgrader={"grade": false, "grade_id": "peak_memory", "locked": false, "schema_version": 3, "solution": true, "task": false}
import tracemalloc


def peak_memory(f, x):
    """How many MB the call f(x) needs at its peak, and how many it keeps in what it returns."""
    ### BEGIN SOLUTION
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    y = f(x)  # a name keeps the result alive: without one, it is gone before it is counted
    after, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del y
    return round((most - before) / 1e6), round((after - before) / 1e6)
    ### END SOLUTION


# %% tags=["check"]
# Checks the cell above, and that alone: all that the answer needs belongs there, imports and helpers too.
from minilora.exercises import check

check("peak_memory", peak_memory)

# %% nbgrader={"grade": true, "grade_id": "peak_memory_marks", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
# This cell gives the marks. Leave it as it is.
### BEGIN HIDDEN TESTS
from minilora.exercises import marks

marks("peak_memory", peak_memory, points=6, seed=122)
### END HIDDEN TESTS

# %% [markdown] tags=["hint"]
# Start, read, call, read, stop. The second reading has both numbers that you need; the first one says what was there
# before.

# %% [markdown] tags=["hint"]
# Does the result of f still exist when you read? `f(x)` on a line of its own gives it back at once; `y = f(x)` keeps
# it.

# %% [markdown] tags=["hint"]
# `after, most = tracemalloc.get_traced_memory()`: peak is `most - before`, kept is `after - before`, each divided by
# 1e6 and then rounded.

# %% [markdown] tags=["shown"]
# What was shown: peak and kept are two questions. What a forward pass keeps for its backward is most of the memory of a
# training step, and LoRA keeps nearly all of it: what it saves are gradients and the optimizer's m and v. `minilora
# count` adds them up.

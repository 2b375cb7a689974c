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
# # Exercise 4: a gradient check that cannot be fooled
#
# *Difficulty 2 of 5, about 35 minutes.*
#
# *The formula at work: tutorial 2, Backpropagation by hand (`tutorials/02_backprop_by_hand.ipynb`).*
#
# **Goal.** Write the check by which every gradient here is judged: the slope of a function, measured; and a verdict on
# whether two gradients are the same. A check that lets a wrong gradient pass is worse than none.
#
# **Formula.** The loss is L = sum(dy * f(x)), with a given upstream gradient dy of f(x)'s shape. For each entry i of x,
# alone,
#
#     dx_i = (L(x with x_i + h) - L(x with x_i - h)) / (2 h)          h = 1e-5
#
# and two gradients a and n agree if
#
#     ||a - n||  <=  bound * max(||a||, ||n||)          bound = 1e-7
#
# Write two functions:
#
# - `numerical_gradient(f, x, dy, h=1e-5)` returns dx, of x's shape. `f` takes an array like x and returns one of any
#   shape, perhaps x itself, or a view of it. x has any number of axes, and must afterwards be what it was before, to
#   the bit;
# - `agree(analytic, numerical, bound=1e-7)` returns True or False, with the Frobenius norm, the root of the sum of all
#   squares. Two gradients of zero agree; a gradient with a nan or an infinity in it agrees with nothing.

# %% nbgrader={"grade": false, "grade_id": "numerical_gradient", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def numerical_gradient(f, x, dy, h=1e-5):
    """The gradient of sum(dy * f(x)) with respect to x, by centred differences; of x's shape."""
    ### BEGIN SOLUTION
    x = x.copy()
    dx = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        original = x[i]
        x[i] = original + h
        plus = np.sum(dy * f(x))  # a number: f(x) itself may lie in x's own memory
        x[i] = original - h
        minus = np.sum(dy * f(x))
        x[i] = original
        dx[i] = (plus - minus) / (2 * h)
    return dx
    ### END SOLUTION


def agree(analytic, numerical, bound=1e-7):
    """Whether two gradients are the same, relative to the larger of their norms."""
    ### BEGIN SOLUTION
    if not (np.isfinite(analytic).all() and np.isfinite(numerical).all()):
        return False  # an infinite error would be within an infinite bound
    size = max(np.linalg.norm(analytic), np.linalg.norm(numerical))
    return bool(np.linalg.norm(analytic - numerical) <= bound * size)
    ### END SOLUTION


# %% tags=["check"]
# Checks the cell above, and that alone: all that the answer needs belongs there, imports and helpers too.
from minilora.exercises import check

check("numerical_gradient", numerical_gradient)

# %% nbgrader={"grade": true, "grade_id": "numerical_gradient_marks", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
# This cell gives the marks. Leave it as it is.
### BEGIN HIDDEN TESTS
from minilora.exercises import marks

marks("numerical_gradient", numerical_gradient, points=4, seed=104)
### END HIDDEN TESTS

# %% [markdown] tags=["hint"]
# `for i in np.ndindex(x.shape):` visits every entry of an array of any shape; `x[i]` is that entry. Work on a copy of
# x.

# %% [markdown] tags=["hint"]
# Change one entry, compute L, change it the other way, compute L, and put the entry back as it was: keep the original
# value, for x + h - h is not always x. For the verdict, mind what a comparison with nan gives: False, always; and that
# infinity is within a bound of infinity.

# %% [markdown] tags=["hint"]
# `plus = np.sum(dy * f(x))`, and `dx[i] = (plus - minus) / (2 * h)`. Once nan and infinity have been turned away,
# `agree` is one comparison with `<=`: with `<`, two zeros would not agree.

# %% [markdown] tags=["shown"]
# What was shown: a gradient check is a dozen lines, and each of them matters. The centred difference is 100,000 times
# as exact as the one-sided one; the random dy catches what a dy of ones lets pass (softmax's outputs always sum to one,
# so that their sum has no gradient at all); and the bound is relative, for an absolute one passes every small gradient.
#
# From now on `minilora exercises check` lets this check of yours look at every backward pass that you write.

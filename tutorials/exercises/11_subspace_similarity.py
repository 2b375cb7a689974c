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
# # Exercise 11: do two adapters look the same way?
#
# *Difficulty 3 of 5, about 30 minutes.*
#
# *The formula at work: tutorial 8, Subspaces (`tutorials/08_subspaces.ipynb`).*
#
# **Goal.** Write the paper's phi (section 7.2, equation 4): how much of the subspace of one adapter's first i
# directions lies in that of another's first j.
#
# **Formula.** The directions of A (r, I) are its **right**-singular vectors, in the order of the singular values from
# the largest to the smallest: the rows of Vt in `np.linalg.svd(A, full_matrices=False)`. With v_a the directions of A1,
# and w_b those of A2,
#
#     phi(i, j) = sum over a <= i and b <= j of (v_a . w_b)^2   /   min(i, j)
#
# | array | shape | |
# |---|---|---|
# | A1 | (r1, I) | |
# | A2 | (r2, I) | |
# | phi | (r1, r2) | phi(i, j) stands in phi[i - 1, j - 1] |
#
# phi is 0 for orthogonal subspaces, and 1 if one holds the other. The two ranks may differ.

# %% nbgrader={"grade": false, "grade_id": "subspace_similarity", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def subspace_similarity(A1, A2):
    """The grid of phi(i, j), of shape (r1, r2)."""
    ### BEGIN SOLUTION
    V = np.linalg.svd(A1, full_matrices=False)[2]  # (r1, I)
    W = np.linalg.svd(A2, full_matrices=False)[2]  # (r2, I)
    G = (V @ W.T) ** 2  # (r1, I) @ (I, r2) -> (r1, r2)
    i = np.arange(1, len(A1) + 1)[:, None]  # (r1, 1)
    j = np.arange(1, len(A2) + 1)[None, :]  # (1, r2)
    phi = G.cumsum(axis=0).cumsum(axis=1) / np.minimum(i, j)
    ### END SOLUTION
    return phi


# %% tags=["check"]
# Checks the cell above, and that alone: all that the answer needs belongs there, imports and helpers too.
from minilora.exercises import check

check("subspace_similarity", subspace_similarity)

# %% nbgrader={"grade": true, "grade_id": "subspace_similarity_marks", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
# This cell gives the marks. Leave it as it is.
### BEGIN HIDDEN TESTS
from minilora.exercises import marks

marks("subspace_similarity", subspace_similarity, points=6, seed=111)
### END HIDDEN TESTS

# %% [markdown] tags=["hint"]
# Begin with the table of all (v_a . w_b)^2: one matrix product, squared entry by entry. Its shape is that of phi.

# %% [markdown] tags=["hint"]
# phi(i, j) needs the sum of the upper left i x j part of that table. Two loops do it; `cumsum` along both axes does it
# at once.

# %% [markdown] tags=["hint"]
# `G.cumsum(axis=0).cumsum(axis=1)` holds all the sums. Divide by `np.minimum(i, j)`, with i a column and j a row, both
# from 1.

# %% [markdown] tags=["shown"]
# What was shown: phi asks about directions only, not about how strong they are. Two random subspaces of R^I have phi =
# max(i, j) / I on average, so a figure of phi needs that control next to it. And the same delta_W = B A has many A's,
# whose phi(i, j) differ: only phi(r, r) is the same for all of them.

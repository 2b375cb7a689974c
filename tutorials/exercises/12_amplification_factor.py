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
# # Exercise 12: what delta W amplifies
#
# *Difficulty 3 of 5, about 30 minutes.*
#
# *The formula at work: tutorial 8, Subspaces (`tutorials/08_subspaces.ipynb`).*
#
# **Goal.** Write the paper's amplification factor (section 7.3, table 7): does delta_W repeat what W does already, or
# does it lift what W hardly does?
#
# **Formula.** delta_W = scale B A has rank r. U (O, r) and V (I, r) are its first r left and right singular vectors, as
# columns. In the directions of delta_W, W is U^T W V, an r x r matrix:
#
#     projected = ||U^T W V||                 the Frobenius norm: the root of the sum of squares
#     factor    = ||delta_W|| / projected
#
# | array | shape |
# |---|---|
# | W, delta_W | (O, I) |
# | A | (r, I) |
# | B | (O, r) |
# | U^T W V | (r, r) |

# %% nbgrader={"grade": false, "grade_id": "amplification_factor", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def amplification_factor(W, A, B, scale):
    """projected and factor, two numbers."""
    ### BEGIN SOLUTION
    rank = len(A)
    delta_W = scale * (B @ A)  # (O, I)
    U, _, Vt = np.linalg.svd(delta_W, full_matrices=False)
    inner = U[:, :rank].T @ W @ Vt[:rank].T  # (r, O) @ (O, I) @ (I, r) -> (r, r)
    projected = np.linalg.norm(inner)
    factor = np.linalg.norm(delta_W) / projected
    ### END SOLUTION
    return projected, factor


# %% tags=["check"]
# Checks the cell above, and that alone: all that the answer needs belongs there, imports and helpers too.
from minilora.exercises import check

check("amplification_factor", amplification_factor)

# %% nbgrader={"grade": true, "grade_id": "amplification_factor_marks", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
# This cell gives the marks. Leave it as it is.
### BEGIN HIDDEN TESTS
from minilora.exercises import marks

marks("amplification_factor", amplification_factor, points=6, seed=112)
### END HIDDEN TESTS

# %% [markdown] tags=["hint"]
# Form delta_W, take its SVD, and look at the shapes of what `np.linalg.svd(delta_W, full_matrices=False)` returns.

# %% [markdown] tags=["hint"]
# It returns min(O, I) vectors on each side, of which only the first r belong to delta_W: `U[:, :r]` and `Vt[:r]`. The
# rest is arbitrary.

# %% [markdown] tags=["hint"]
# `inner = U[:, :r].T @ W @ Vt[:r].T` is (r, r); `np.linalg.norm` of a matrix is the Frobenius norm.

# %% [markdown] tags=["shown"]
# What was shown: for GPT-3 the paper finds 6.91 / 0.32 = 21.6 at r = 4. A random matrix in place of delta_W would give
# projected = (r / d) ||W|| for a square W, which is the "random" column of its table 7. A large factor says that
# delta_W lifts directions that W has, but does not stress.

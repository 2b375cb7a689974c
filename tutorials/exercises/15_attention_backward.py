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
# # Exercise 15: the gradients of attention
#
# *Difficulty 4 of 5, about 50 minutes.*
#
# *The formula at work: tutorial 4, A transformer, forward and backward (`tutorials/04_a_transformer.ipynb`).*
#
# **Goal.** Write the backward pass of scaled dot-product attention. Three lines forward, each taken back in turn, and
# softmax in the middle (exercise 5). Once you have passed that, `from earlier import softmax_backward` brings yours
# here; in a course, where each answer stands alone, write it once more.
#
# **Formula.** For each head of each sequence,
#
#     scores = q k^T / sqrt(K)             (T, T)     -inf where a key comes after its query
#     probs = softmax(scores)              (T, T)     over the keys, the last axis
#     y = probs v                          (T, K)
#
# | array | shape |
# |---|---|
# | q, k, v, y and their gradients | (N, H, T, K) |
# | probs | (N, H, T, T): query, then key |
#
# `@` multiplies the last two axes, for all N and H at once; `x.swapaxes(-1, -2)` transposes them. Where a key is not
# seen, its probability is zero, and you will see that its gradient is zero without further care.

# %% nbgrader={"grade": false, "grade_id": "attention_backward", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def attention_backward(dy, cache):
    """The gradients dq, dk and dv, each (N, H, T, K), of y = softmax(q k^T / sqrt(K)) v.

    dy has shape (N, H, T, K); cache is what the forward pass has kept: q, k, v (N, H, T, K) and probs (N, H, T, T).
    """
    q, k, v, probs = cache
    ### BEGIN SOLUTION
    dv = probs.swapaxes(-1, -2) @ dy  # (T, T) @ (T, K) -> (T, K)
    dprobs = dy @ v.swapaxes(-1, -2)  # (T, K) @ (K, T) -> (T, T)
    overlap = np.sum(dprobs * probs, axis=-1, keepdims=True)  # (T, 1)
    dscores = probs * (dprobs - overlap) / np.sqrt(q.shape[-1])  # (T, T)
    dq = dscores @ k  # (T, T) @ (T, K) -> (T, K)
    dk = dscores.swapaxes(-1, -2) @ q
    ### END SOLUTION
    return dq, dk, dv


# %% tags=["check"]
# Checks the cell above, and that alone: all that the answer needs belongs there, imports and helpers too.
from minilora.exercises import check

check("attention_backward", attention_backward)

# %% nbgrader={"grade": true, "grade_id": "attention_backward_marks", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
# This cell gives the marks. Leave it as it is.
### BEGIN HIDDEN TESTS
from minilora.exercises import marks

marks("attention_backward", attention_backward, points=8, seed=115)
### END HIDDEN TESTS

# %% [markdown] tags=["hint"]
# Go backwards, line by line. y = probs v is a product of two matrices that both have a gradient: dprobs has the shape
# of probs, and dv that of v.

# %% [markdown] tags=["hint"]
# dv = probs^T dy and dprobs = dy v^T. Then softmax, as in exercise 5, over the last axis. The 1 / sqrt(K) comes back in
# what follows.

# %% [markdown] tags=["hint"]
# With dscores = probs * (dprobs - sum over keys of dprobs * probs): dq = dscores k / sqrt(K) and dk = dscores^T q /
# sqrt(K).

# %% [markdown] tags=["shown"]
# What was shown: the backward pass of attention is four matrix products and softmax's backward. The mask needs no line
# of its own, for probs = 0 makes dscores = 0. And the sum in softmax's gradient equals dy . y, K terms in place of T:
# that is what lets fast attention forget the T x T matrices.

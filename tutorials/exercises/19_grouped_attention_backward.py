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
# # Exercise 19: the gradients of grouped attention
#
# *Difficulty 5 of 5, about 45 minutes.*
#
# *The formula at work: tutorial 12, A Llama, forward and backward, and LoRA on it (`tutorials/12_a_llama.ipynb`).*
#
# **Goal.** Llama's query heads share keys and values: H query heads, but only G key-value heads, each read by a group
# of J = H / G query heads that stand next to each other. Write the backward pass. It is that of exercise 15, with one
# thought more.
#
# **Formula.** Query head h reads key-value head g = h // J:
#
#     scores_h = q_h k_g^T / sqrt(K)          (T, T)     -inf where a key comes after its query
#     probs_h = softmax(scores_h)             (T, T)     over the keys, the last axis
#     y_h = probs_h v_g                       (T, K)
#
# | array | shape |
# |---|---|
# | q, y, dy, dq | (N, H, T, K) |
# | k, v, dk, dv | (N, G, T, K) |
# | probs | (N, H, T, T): query, then key |
#
# `np.repeat(k, J, axis=1)` gives every query head its own copy of what it reads.

# %% nbgrader={"grade": false, "grade_id": "grouped_attention_backward", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def grouped_attention_backward(dy, cache):
    """The gradients dq (N, H, T, K), dk and dv (N, G, T, K); head h of q reads head h // (H // G) of k and v.

    dy has shape (N, H, T, K); cache is what the forward pass has kept: q (N, H, T, K), k, v (N, G, T, K) and probs
    (N, H, T, T).
    """
    q, k, v, probs = cache
    ### BEGIN SOLUTION
    (N, H, T, K), G = q.shape, k.shape[1]
    k, v = np.repeat(k, H // G, axis=1), np.repeat(v, H // G, axis=1)  # (N, H, T, K)
    dprobs = dy @ v.swapaxes(-1, -2)  # (T, K) @ (K, T) -> (T, T)
    overlap = np.sum(dprobs * probs, axis=-1, keepdims=True)  # (T, 1)
    dscores = probs * (dprobs - overlap) / np.sqrt(K)  # (T, T)
    dq = dscores @ k  # (T, T) @ (T, K) -> (T, K)
    dk = dscores.swapaxes(-1, -2) @ q  # for each head's own copy of k: (N, H, T, K)
    dv = probs.swapaxes(-1, -2) @ dy
    dk = dk.reshape(N, G, H // G, T, K).sum(axis=2)  # a key is read by the whole group: (N, G, T, K)
    dv = dv.reshape(N, G, H // G, T, K).sum(axis=2)
    ### END SOLUTION
    return dq, dk, dv


# %% tags=["check"]
# Checks the cell above, and that alone: all that the answer needs belongs there, imports and helpers too.
from minilora.exercises import check

check("grouped_attention_backward", grouped_attention_backward)

# %% nbgrader={"grade": true, "grade_id": "grouped_attention_backward_marks", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
# This cell gives the marks. Leave it as it is.
### BEGIN HIDDEN TESTS
from minilora.exercises import marks

marks("grouped_attention_backward", grouped_attention_backward, points=10, seed=119)
### END HIDDEN TESTS

# %% [markdown] tags=["hint"]
# Copy k and v with `np.repeat`, and exercise 15 gives you dq, and a gradient for every copy. But what is asked for are
# the gradients of k and v, not of their copies.

# %% [markdown] tags=["hint"]
# One key is used by J query heads. Whatever is used several times gets the sum of the gradients of its uses.

# %% [markdown] tags=["hint"]
# dk and dv per copy have the shape (N, H, T, K). Heads of a group stand next to each other, so
# `.reshape(N, G, H // G, T, K).sum(axis=2)` adds them up.

# %% [markdown] tags=["shown"]
# What was shown: sharing in the forward pass is a sum in the backward pass, here as for a bias that all rows share,
# or an embedding whose token comes twice. A copy costs memory for nothing: minilora lets the J queries of a group
# stand in one matrix against one key-value head, and then the sum happens inside the matrix product.

# %% [markdown]
# # 1. Rank
#
# **Goal.** Understand what the rank of a matrix is, first exactly, on six integers, then with rounded numbers, on the
# weights of a language model; replace a matrix by the best one of lower rank; and look at the rank of what
# fine-tuning adds to a weight, which is the observation that LoRA is built on.
#
# **Minutes.** 50
#
# **Prerequisites.** What a matrix product is, and a little NumPy.
#
# **Next.** [2. Backpropagation by hand](02_backprop_by_hand.ipynb)

# %%
# %matplotlib inline
import numpy as np

from minilora import plots
from minilora.analysis import matrix_rank_steps

np.set_printoptions(precision=3, suppress=True)
rng = np.random.default_rng(0)

# %% [markdown]
# ## Six integers
#
# A matrix is a table of numbers. This one has three rows and two columns; we say that its **shape** is 3 × 2. In the
# code, the comment behind a line says the shape of what the line makes.

# %%
M = np.array([[1, 2], [2, 5], [2, 4]])  # (3, 2)
plots.matrices({"$M$": M})

# %% [markdown]
# Look at its rows as points of the plane, or rather as arrows from the origin to these points.

# %%
plots.arrows({f"row {i + 1}": row for i, row in enumerate(M)})

# %% [markdown]
# Row 3 is twice row 1: it goes further on the same line, and tells nothing new. Row 2 points elsewhere. So of the three
# rows two are **independent**: neither is a mixture of the other. (A **mixture** of rows is a sum of multiples of them;
# books call it a linear combination.) The number of independent rows, here 2, is the **rank** of the matrix.
#
# With more rows and columns it can no longer be seen, so we calculate. Subtracting a multiple of one row from another
# loses nothing, for it can be added back. Do that until every row begins further to the right than the row above it:
# the rows that are not zero then are independent. (This is Gaussian elimination.)

# %%
plots.elimination(matrix_rank_steps(M))

# %% [markdown]
# Read it from left to right: above each matrix stands what was done to the one before it, and the row that has changed
# is orange. Row 3 has vanished. The two rows that are left are not the rows that we began with, but every one of these
# is a mixture of them. The first number in each that is not zero, framed, is called a **pivot**; there are as many as
# independent rows.
#
# ### Rows or columns?
#
# We could have asked the same of the columns: (1, 2, 2) and (2, 5, 4). Columns are rows of the **transpose**
# $M^\top$, the table with rows and columns exchanged.

# %%
plots.elimination(matrix_rank_steps(M.T))  # (2, 3)

# %% [markdown]
# Two again, and that is no accident: **row rank and column rank are always the same**. The reason is worth a minute,
# for it is LoRA in a nutshell. Suppose that all rows of a matrix can be mixed from $r$ rows. Write these below each
# other in a matrix $A$, and how much of each is needed for every row of $M$ in a matrix $B$. Then
#
# $$M = B A.$$
#
# Now read the same product by columns: every column of $M$ is a mixture of the $r$ columns of $B$, with the amounts
# standing in $A$. So if $r$ rows are enough, $r$ columns are enough, and the other way round.
#
# The rows that are left at the end of the elimination may serve as $A$. Row 1 is the first of them, row 2 is twice
# the first and once the second, row 3 is twice the first:

# %%
A = np.array([[1, 2], [0, 1]])  # (r, 2), with r = 2
B = np.array([[1, 0], [2, 1], [2, 0]])  # (3, r)
plots.matrices({"$M$": M, "$B$": B, "$A$": A, "$BA$": B @ A}, ("=", "@", "="))

# %% [markdown]
# ### Rank 1
#
# Change a single number: let row 2 be (2, 4) instead of (2, 5). All three rows now lie on one line, and one row is
# enough.

# %%
M1 = np.array([[1, 2], [2, 4], [2, 4]])  # (3, 2)
A1, B1 = np.array([[1, 2]]), np.array([[1], [2], [2]])  # (1, 2), (3, 1)
print("rank:", matrix_rank_steps(M1).rank)
plots.matrices({"$M$": M1, "$B$": B1, "$A$": A1}, ("=", "@"))

# %% [markdown]
# Six numbers are written with five. For six that is no great saving; but a matrix of 4096 × 4096 has 16.8 million
# entries, and its $B$ and $A$ of rank 1 have 8192 numbers together. In general, with $O$ rows (**out**) and $I$
# columns (**in**, the letters will make sense as soon as matrices are layers), a matrix of rank $r$ needs
#
# $$r\,(O + I) \quad\text{numbers instead of}\quad O \cdot I.$$
#
# And whatever $B$ ($O \times r$) and $A$ ($r \times I$) you write down, their product can have no more than $r$
# independent rows, as all of them are mixed from the $r$ rows of $A$. So **the rank of $BA$ is $r$ at most**. We draw
# a few at random:

# %%
for r in 1, 2, 3, 5:
    B, A = rng.integers(-3, 4, (6, r)), rng.integers(-3, 4, (r, 8))  # (O, r), (r, I)
    print(f"r = {r}: B A has shape {(B @ A).shape} and rank {matrix_rank_steps(B @ A).rank}")

# %% [markdown]
# The same as a picture. Here are a $B$ and an $A$ of rank 2, and their product:

# %%
B, A = rng.integers(1, 4, (5, 2)), rng.integers(-2, 3, (2, 6))  # (O, r), (r, I), with r = 2
plots.matrices({"$B$": B, "$A$": A, "$BA$": B @ A}, ("@", "="))

# %% [markdown]
# The product is the sum of $r$ matrices: column $k$ of $B$ times row $k$ of $A$. In each of them all rows are multiples
# of one row, and all columns of one column, which is to say that its rank is 1. And a sum of $r$ such matrices has
# rank $r$ at most:

# %%
terms = {f"$b_{k + 1} a_{k + 1}$": np.outer(B[:, k], A[k]) for k in (0, 1)}  # (O, I) each
plots.matrices({"$BA$": B @ A, **terms}, ("=", "+"))

# %% [markdown]
# ## When numbers are rounded
#
# Everything so far was exact: `matrix_rank_steps` calculates in fractions. The weights of a model are not exact. Take
# the matrix with the rows (0.1, 0.3) and (1, 3). The second row is ten times the first, so the rank is 1. But a
# computer's 0.1 is only nearly a tenth, and ten times the first row, taken from the second, does not leave zero:

# %%
print("exact:  ", matrix_rank_steps([["0.1", "0.3"], [1, 3]]).rank)
print("rounded:", 3 - 0.3 / 0.1)

# %% [markdown]
# By the definition, this is a second independent row. It is nothing but rounding, though. So for rounded
# numbers "is it zero?" is the wrong question, and we need to ask "**how large** is it?" of each independent direction.
# The answer is the **singular value decomposition**, and it takes one picture.
#
# ### What a matrix does to a circle
#
# Multiply all arrows $x$ of length 1 by a matrix $M$ of 2 × 2. The $x$ form a circle, and the products $Mx$ form an
# ellipse:

# %%
from minilora.analysis import svd_of

M2 = np.array([[1.0, 2.0], [0.5, -0.6]])  # (O, I) = (2, 2)
U, S, Vt = svd_of(M2)  # (O, 2), (2,), (2, I)
plots.circle_and_image(M2, U, S, Vt)

# %% [markdown]
# The ellipse has a longest direction and, at a right angle to it, a shortest one. It turns out that the two arrows
# $v_1$ and $v_2$ that were sent there stand at a right angle too. In numbers,
#
# $$M v_1 = \sigma_1 u_1, \qquad M v_2 = \sigma_2 u_2,$$
#
# where $u$ and $v$ have length 1, and $\sigma_1 \ge \sigma_2 \ge 0$ are the **singular values**: by how much $M$
# stretches the direction. The $v_i$ are directions of the input, the $u_i$ directions of the output.
#
# Every matrix has such a decomposition, of whatever shape (Beltrami, 1873). `svd_of` returns the $u_i$ as columns of
# `U`, the $\sigma_i$ as `S`, from large to small, and the $v_i$ as **rows** of `Vt` (the t is for transposed). Let us
# see whether they do what the formula says:

# %%
for i in 0, 1:
    print("M v =", M2 @ Vt[i], "   sigma u =", S[i] * U[:, i])  # (O,), (O,)

# %% [markdown]
# ### A sum of matrices of rank 1
#
# If $M$ sends $v_i$ to $\sigma_i u_i$, then it is the sum of matrices that each do this for one direction and send
# all others to zero:
#
# $$M = \sigma_1 u_1 v_1^\top + \sigma_2 u_2 v_2^\top + \dots$$
#
# Each term is a column times a row: rank 1, as above. So the rank is the number of terms, that is, **the number of
# singular values that are not zero**. And now we know how large each of them is. Our first matrix, in two terms:

# %%
U, S, Vt = svd_of(M)  # (3, 2), (2,), (2, 2)
terms = {rf"$\sigma_{i + 1} u_{i + 1} v_{i + 1}^\top$": S[i] * np.outer(U[:, i], Vt[i]) for i in (0, 1)}
print("sigma =", S)
plots.matrices({"$M$": M, **terms}, ("=", "+"))

# %% [markdown]
# The rank is 2. But $\sigma_1$ is 24 times $\sigma_2$: the first term alone is nearly $M$, and the second one is a
# small correction. (The arrows showed it already: they point in nearly the same direction.) Rank counts both terms
# alike; singular values do not.
#
# ### The numerical rank
#
# For rounded numbers we count the singular values that are **more than rounding**: those above a tolerance. Rounding
# to seven digits (float32, in which models are stored) can add singular values of about $10^{-7} \sigma_1$ times the
# longer side of the matrix; so this is the tolerance that `numerical_rank` takes. A product of rank 3, calculated in
# float32:

# %%
from minilora.analysis import numerical_rank, singular_values

B, A = rng.standard_normal((8, 3)), rng.standard_normal((3, 10))  # (O, r), (r, I)
product = B.astype("float32") @ A.astype("float32")  # (O, I)
S = singular_values(product)  # (8,)
print("numerical rank:", numerical_rank(product))
plots.spectrum_cut(S, tolerance=S[0] * 10 * np.finfo("float32").eps)

# %% [markdown]
# Three values, and then a cliff of seven powers of ten. Where there is such a cliff, nobody quarrels about the rank.
#
# ## The best matrix of lower rank
#
# Suppose now that you may keep only $r$ terms of the sum. Keep the first $r$, of course, for they are the largest.
# What is left out is as large as the singular values that are left out,
#
# $$\|M - M_r\|_F = \sqrt{\sigma_{r+1}^2 + \sigma_{r+2}^2 + \dots}\;,$$
#
# with $\|M\|_F$, the **Frobenius norm**, being the root of the sum of the squares of all entries. The beautiful part
# is that nothing else does better: of **all** matrices of rank $r$, this one is the closest (Eckart and Young, 1936;
# the proof is in `minilora/analysis/low_rank.py`). `low_rank_approximation` returns it as two factors, $B A$.
#
# ### A word
#
# To see what is lost, take a matrix that can be read: 48 × 120 numbers, 1 where there is ink and 0 where there is none.

# %%
from minilora.analysis import low_rank_approximation, low_rank_errors

word = plots.word_image("LoRA")  # (O, I)


def closest_word(r=8):
    """The word, the closest matrix of rank r, and what that leaves out."""
    return plots.low_rank(word, low_rank_approximation(word, r), low_rank_errors(word))


plots.sliders(closest_word, r=(1, 48))

# %%
closest_word(8)

# %% [markdown]
# Above: the word, the closest matrix of rank 8, and the difference. Below on the left are all singular values, cut
# after the eighth. The size of what is left out can be measured in two ways. Its Frobenius norm is the root of the sum
# of the squares of all that is hatched, as the formula says; its **2-norm**, the most that it can do to an arrow of
# length 1, is the first that is left out, $\sigma_9$, at the dashed line. On the right is what the rank costs, and what
# it leaves out: with less than a quarter of the numbers, an eighth of the matrix is missing.
#
# With a live kernel (where you can run the cells), move the slider. At $r = 1$ every row is a multiple of one row, a
# bar code. The strokes along rows and columns are there soon; the slanted and round ones need more ranks.
#
# ### A weight of a language model
#
# The package brings a small language model along, a transformer of four blocks. Here is one of its weights, a matrix
# of 192 × 192 that is called $W_q$ ([notebook 4](04_a_transformer.ipynb) says what it is for).

# %%
from minilora import load_bundled

model = load_bundled("decoder")
W = model.blocks[0].attn.q_proj.W.data  # (O, I)


def closest_weight(r=16):
    """W, the closest matrix of rank r, and what that leaves out."""
    return plots.low_rank(W, low_rank_approximation(W, r), low_rank_errors(W))


plots.sliders(closest_weight, r=(1, 192))

# %%
closest_weight(16)

# %% [markdown]
# At $r = 1$ there are only stripes. At $r = 16$ most of the pattern is there, also the pale band (the second of four
# groups of 48 rows has much smaller weights than the others). What remains, 27 % of $\|W\|_F$, looks like noise, and
# needs all the other ranks.
#
# ### Parameters against error
#
# A low rank is only worthwhile if it saves numbers. `low_rank_errors` gives both for every rank. Next to the weight, a
# matrix of the same size with random entries:

# %%
noise = rng.standard_normal(W.shape)  # (O, I)
lines = {}
for label, matrix in {"$W_q$ of the model": W, "random": noise}.items():
    errors = low_rank_errors(matrix)  # arrays (193,), one entry for each rank from 0
    lines[label] = errors.parameters, errors.frobenius / errors.frobenius[0]
plots.curves(lines, x="numbers in $B$ and $A$ together", y="relative error")

# %% [markdown]
# The right end of the axis is at $192 \cdot (192 + 192) = 73{,}728$ numbers, **twice** as many as the matrix itself
# has: $192 \cdot 192 = 36{,}864$. From rank 96 upwards, half of the full rank, two factors are no saving at all.
#
# The model's weight can be compressed, the random one cannot. Random entries have nothing in common, so that no row
# says anything about another.
#
# ### The spectrum
#
# The singular values of a matrix, from large to small, are called its **spectrum**. The right panel adds up their
# squares, as a share of all of them: since the sum of all squares is $\|W\|_F^2$, it says how much of the matrix the
# first $i$ directions carry.

# %%
spectra = {"$W_q$ of the model": singular_values(W), "random": np.linalg.norm(W) / 192 * singular_values(noise)}
plots.singular_values(spectra, of="W")

# %% [markdown]
# A trained weight is far from random: 14 of 192 directions carry 90 % of it. Yet none of its 192 singular values is
# zero. Its rank is full, and **a pretrained weight does not have a low rank**. Nobody, LoRA's authors included, says
# that it has. Three numbers measure what "rank" fails to:
#
# - the directions for 90 % of the squares, read from the right panel;
# - the **stable rank**, the sum of all $\sigma_i^2$ over $\sigma_1^2$;
# - the **effective rank** (Roy and Vetterli, 2007), over how many directions the $\sigma_i$ are spread.

# %%
from minilora.analysis import rank_measures

weights = {name: p.data for name, p in model.named_parameters() if name.endswith("proj.W")}  # (O, I) each
numbers = {name: rng.standard_normal(M.shape) for name, M in weights.items()}  # (O, I) each
of_W, of_numbers = rank_measures(weights), rank_measures(numbers)
plots.ranks({"$W$": of_W, "random numbers": of_numbers})

# %% [markdown]
# These are the sixteen matrices of attention in the model's four blocks. By rank all are alike, 192 (but for rounding,
# see question 5); by the other three numbers they differ widely. The stable rank only sees the largest singular values;
# the effective rank also counts the long tail of small ones. None is the right one: each answers another question.

# %% [markdown]
# ## The change has a low rank
#
# Here is LoRA's hypothesis (section 4.1 of its paper): not $W$ has a low rank, but the **change** $\Delta W$ that
# adapting the model to a task needs. Let us look. We take the language model, which has read English prose, and
# fine-tune all its weights for 30 steps on a task that is new to it: lists of attributes are to become sentences.
# (How training works is for later notebooks; here we only look at what it adds.)

# %%
from minilora import apply_full
from minilora.analysis import weight_changes
from minilora.data import load_task
from minilora.training import TrainConfig, Trainer, evaluate_loss

task = load_task("mini-e2e", length=256, n_train=300, n_held_out=8)
before = {name: p.data.copy() for name, p in model.named_parameters()}
apply_full(model)
Trainer(model, lambda rng: task.sample_batch(rng, 4), TrainConfig(steps=30, lr=1e-3)).run(progress=False)
after = {name: p.data.copy() for name, p in model.named_parameters()}
deltas = weight_changes(before, after)  # by name, (O, I) each

# %% [markdown]
# Is the rank of $\Delta W$ low? Next to it, its own entries in random order: as large, and with nothing in common.

# %%
delta_W = deltas["blocks.0.attn.q_proj.W"]  # (O, I)
shuffled = rng.permutation(delta_W.ravel()).reshape(delta_W.shape)  # (O, I)
print("numerical rank:", numerical_rank(delta_W))
plots.singular_values({r"$\Delta W_q$": singular_values(delta_W), "its entries, shuffled": singular_values(shuffled)})

# %% [markdown]
# By the letter: 192, full. Nothing forbids the optimizer to touch every direction, and it does. But fewer than
# thirty directions carry 90 % of the change, whereas the same entries in another order need about a hundred. This is
# what is meant by a **low intrinsic rank**: not that the small ones are zero, but that there are few large ones.
#
# Is it so in all layers?

# %%
of_change = rank_measures({name: deltas[name] for name in weights})
plots.ranks({"$W$": of_W, "random numbers": of_numbers, r"$\Delta W$": of_change})

# %% [markdown]
# By every measure and in every layer, $\Delta W$ has fewer directions than random numbers have. Whether it has fewer
# than $W$ itself is another matter. By the first two measures it has, in most layers; by the effective rank, which
# counts the long tail as well, the two are alike.
#
# (An experiment with longer training, several seeds, the MLP's matrices, and LoRA next to it is
# `minilora reproduce delta_rank`; its results are among the [figures](../figures/README.md). And
# `minilora rank --weights --plot ranks.png` draws this picture of a model of yours.)
#
# ### What do the small ones do?
#
# Few directions carry most of $\Delta W$. But do the others matter? Ask the model: replace the change of **every**
# matrix in its four blocks by its best approximation of rank $r$, leave the rest (embeddings, biases) as trained, and
# measure the loss on held-out examples (lower is better).


# %%
def loss_with_rank(r):
    """The loss with the change of each of the blocks' matrices cut down to rank r; with r = 0, without it."""
    for name, p in model.named_parameters():
        in_block = name in deltas and name.startswith("blocks")
        change = low_rank_approximation(deltas[name], r).product if r and in_block else 0.0
        p.data[...] = before[name] + change if in_block else after[name]
    return evaluate_loss(model, task.batches("test"))


ranks = [0, 1, 2, 4, 8, 16, 32, 192]
losses = [loss_with_rank(r) for r in ranks]

# %%
lines = {"change cut down to rank $r$": (ranks[:-1], losses[:-1]), "the whole change": ([0, 32], 2 * losses[-1:])}
plots.curves(lines, x="rank $r$ of the change of each matrix in the blocks", y="test loss")

# %% [markdown]
# One direction in each matrix does about a third of what training has done. Eight of 192 do some three quarters of it,
# and 32 nearly all. So most of the directions that full fine-tuning has touched are hardly needed. Yet rank 8 does not
# do everything here, and it would be wrong to say so. Two things to bear in mind:
#
# - These were 30 quick steps with Adam, which moves every entry about equally far, whether it matters much or little.
#   That alone spreads the change over many directions.
# - The best approximation of a given change is not the best change of that rank. We have cut down something that was
#   made without any thought of being cut down.
#
# ## LoRA turns it around
#
# Until now the low rank was found afterwards, in a $\Delta W$ that had been trained with all its numbers. LoRA does
# not wait to find it. It writes $\Delta W = \text{scale} \cdot B A$ from the beginning, with a small $r$, and trains
# $B$ and $A$. Their product has rank $r$ at most, whatever training does to them:

# %%
from minilora import LoRAConfig, apply_lora
from minilora.analysis import delta_weights

model = load_bundled("decoder")
apply_lora(model, LoRAConfig(rank=4, alpha=8), rng=rng)
Trainer(model, lambda rng: task.sample_batch(rng, 4), TrainConfig(steps=30, lr=1e-2)).run(progress=False)
lora_delta = delta_weights(model)["blocks.0.attn.q_proj"]  # (O, I)
print("numerical rank:", numerical_rank(lora_delta))

# %%
plots.singular_values({"full fine-tuning": singular_values(delta_W), "LoRA, $r = 4$": singular_values(lora_delta)[:4]})

# %% [markdown]
# Full fine-tuning has a long tail of small singular values. LoRA has four values and no tail, and the four are larger:
# with fewer directions, and here with fewer matrices, more has to be done by each. Whether they are the **same
# directions** as full fine-tuning's first ones is another question, the one of [notebook 8](08_subspaces.ipynb); how
# $B$ and $A$ are trained is the one of [notebook 3](03_lora_by_hand.ipynb).
#
# ## On a GPU
#
# Nothing changes but where training happens (`load_bundled("decoder", device="gpu")`). The analysis copies what it
# gets to the CPU and works in float64: a few matrices once are not worth a GPU, and singular values near rounding are
# worth sixteen digits.
#
# ## Questions
#
# **1.** A matrix has 5 rows and 3 columns. Which ranks are possible? What is the rank of a matrix of zeros?
#
# <details><summary>Answer</summary>
#
# 0 to 3: there cannot be more independent columns than columns, and row rank and column rank are the same. Only the
# matrix of zeros has rank 0: no term at all.
#
# </details>
#
# **2.** $B$ is $768 \times 8$ and $A$ is $8 \times 768$. How many numbers do they have, how many has a matrix of
# $768 \times 768$, and from which rank on is it no saving?
#
# <details><summary>Answer</summary>
#
# $8 \cdot (768 + 768) = 12{,}288$ instead of $589{,}824$, about a fiftieth. The two are equal at $r = O I / (O + I) =
# 384$, half of the full rank.
#
# </details>
#
# **3.** Add a matrix of rank 2 and one of rank 3. What can the rank of the sum be?
#
# <details><summary>Answer</summary>
#
# At most 5: write both as sums of terms, together there are five. It can be less: at least $3 - 2 = 1$, for otherwise
# the one of rank 3 would be a sum of fewer terms than it needs. (So a chain of adapters, each of a low rank, can make
# a change of a high rank.)
#
# </details>
#
# **4.** Somebody reports that the change made by full fine-tuning has rank 192 of 192, and concludes that LoRA cannot
# work. What do you answer?
#
# <details><summary>Answer</summary>
#
# The rank counts directions of any size, and noise has full rank. Look at the sizes, or better at the loss, when only
# the first few directions are kept. That can still say "LoRA cannot work here"; the rank alone cannot.
#
# </details>
#
# **5.** `numerical_rank` of some weights of the bundled model is 191 in float32, and 192 if the same numbers are
# given to it in float64. Which one is right?
#
# <details><summary>Answer</summary>
#
# Both. The smallest singular value lies below what float32 can tell from rounding, and above what float64 can. A
# numerical rank belongs to a matrix **and** a tolerance. Try it: `numerical_rank(W)` and
# `numerical_rank(W.astype("float64"))` with `W = model.blocks[3].attn.k_proj.W.data`.
#
# </details>

# %% [markdown]
# # 8. Subspaces
#
# **Goal.** Compare two adaptations by the directions that they have found: the paper's $\varphi$ and figures 3 and 4,
# what chance alone gives, a trap in the definition, and what $\Delta W$ does to the directions that $W$ already has
# (table 7).
#
# **Minutes.** 60
#
# **Prerequisites.** [1. Rank](01_rank.ipynb), above all singular values; $A$, $B$ and scale from
# [3. LoRA by hand](03_lora_by_hand.ipynb).
#
# **Next.** [9. The other methods](09_other_methods.ipynb).
# To write it yourself: [exercises 11 and 12](exercises/README.md), `minilora exercises start 11`.

# %%
# %matplotlib inline
import numpy as np

from minilora import LoRAConfig, apply_lora, load_bundled, plots
from minilora.data import load_task
from minilora.training import TrainConfig, Trainer

np.set_printoptions(precision=3, suppress=True)
rng = np.random.default_rng(0)

# %% [markdown]
# ## Do two adaptations find the same?
#
# LoRA learns $\Delta W = \text{scale}\; B A$. With rank 8, the rows of $A$ are eight directions of the input: $BAx$
# sees of $x$ only its components along them. Train once with rank 8 and once with rank 32, or twice with different
# random starts. Are the directions the same? If a task needs certain directions, every training should find them; if
# the directions are mere noise, no two trainings should agree. That is what section 7.2 of the paper asks.
#
# ### One direction against one
#
# Begin with two lines through the origin, given by arrows $u$ and $v$ of length 1. How much of $v$ lies on the line of
# $u$? Drop a perpendicular: the cosine of the angle, $u \cdot v$. Its sign means nothing, as a line has two ends, so
# we take the square: 1 for the same line, 0 for a right angle.

# %%
plots.sliders(plots.two_lines, angle=(0, 90))

# %%
plots.two_lines(35)

# %% [markdown]
# ### Several against several
#
# Several directions span a **subspace**: a plane through the origin, if there are two, and so on. To compare the
# subspace of the first $i$ directions of one set with the first $j$ of another, add up the squared cosines of all
# pairs, and divide by the largest value that the sum can have, $\min(i, j)$. That is the paper's equation 4,
#
# $$\varphi(i, j) \;=\; \frac{\|U_i^\top V_j\|_F^2}{\min(i, j)} \;=\;
# \frac{1}{\min(i, j)} \sum_{a \le i}\, \sum_{b \le j} (u_a \cdot v_b)^2,$$
#
# where the columns of $U_i$ and $V_j$ are the directions, of length 1 and at right angles within each set. It is 0 if
# the subspaces are orthogonal, and 1 if one contains the other.
#
# Which directions are "first"? The rows of $A$ have no order. So the paper takes the **right-singular vectors** of
# $A$ ([notebook 1](01_rank.ipynb): the directions of the input, the most stretched first). There are $r$ of them, and
# together they span what the rows of $A$ span.

# %% [markdown]
# ## Three adapters
#
# The language model of the package, the task of [notebook 1](01_rank.ipynb) (lists of attributes are to become
# sentences), and rank 8 with two random starts, and rank 32 with a third. Thirty steps are few, but enough for the
# loss to fall.

# %%
task = load_task("mini-e2e", length=256, n_train=300, n_held_out=1)


def adapt(rank, seed, steps=30):
    """The model with an adapter on W_q and W_v of every block, after some steps; and the losses."""
    model = load_bundled("decoder")
    apply_lora(model, LoRAConfig(rank=rank, alpha=2 * rank), rng=np.random.default_rng(seed))
    config = TrainConfig(steps=steps, lr=1e-2, seed=seed)
    return model, Trainer(model, lambda rng: task.sample_batch(rng, 3), config).run(progress=False).losses


# %%
runs = {"rank 8, seed 0": adapt(8, 0), "rank 8, seed 1": adapt(8, 1), "rank 32, seed 2": adapt(32, 2)}
plots.curves({label: (range(1, 31), losses) for label, (_, losses) in runs.items()}, x="step", y="training loss")

# %% [markdown]
# We look at $W_q$ in block 2 first. `adapter_factors` gives $B$, $A$ and scale of every adapted layer.

# %%
from minilora.analysis import adapter_factors

layer = "blocks.2.attn.q_proj"
r8, other, r32 = (adapter_factors(model)[layer] for model, _ in runs.values())  # B (O, r), A (r, I), scale
print("A:", r8.A.shape, other.A.shape, r32.A.shape)

# %% [markdown]
# ## Rank 8 against rank 32
#
# First the squared cosines of all pairs of directions. With a live kernel, move the frame: $\varphi(i, j)$ is the sum
# of what is in it, divided by $\min(i, j)$.

# %%
from minilora.analysis import svd_of

V8, V32 = svd_of(r8.A).Vt, svd_of(r32.A).Vt  # (8, I), (32, I)
G = (V8 @ V32.T) ** 2  # (8, 32)


def frame(i=3, j=6):
    """The squared cosines, with the block that phi(i, j) sums."""
    return plots.overlap(G, i, j, first="$A$, rank 8", second="$A$, rank 32")


plots.sliders(frame, i=(1, 8), j=(1, 32))

# %%
frame(3, 6)

# %% [markdown]
# `subspace_similarity` gives $\varphi$ for all $i$ and $j$ at once, as the paper's figure 3 shows it:

# %%
from minilora.analysis import random_control, subspace_similarity

phi = subspace_similarity(r8.A, r32.A)  # (8, 32)
control = random_control(8, 32, I=192)  # (8, 32)
plots.similarity_heatmap(phi, control, first="$A$, rank 8", second="$A$, rank 32")

# %% [markdown]
# The first row is the story. The strongest direction that rank 8 has found lies to almost one half within what rank 32
# has found, and much of it already in rank 32's first three directions. Further down, the picture fades towards what
# chance would give. So a few directions are found again, and the others are mostly the random start, which
# thirty steps have hardly touched. The paper finds the same in GPT-3, and concludes that this is why a rank of 1 or 2
# can be enough.
#
# ### What chance gives
#
# The right-hand panel is indispensable, and this is why. Draw two subspaces at random, of $i$ and $j$ dimensions in a
# space of $I$. A random direction has, on average, the share $1/I$ of its squared length along any other direction
# (there are $I$ coordinates, none better than the others, and the squares add up to 1). In $\varphi$ there are $i\,j$
# such squares, divided by $\min(i, j)$, and so
#
# $$E\,\varphi(i, j) = \frac{i j}{I \min(i, j)} = \frac{\max(i, j)}{I}.$$
#
# For GPT-3, with $I = 12288$ and $i = j = 64$, this is 0.005: next to nothing. For our small model with $I = 192$ and
# $j = 32$ it is 0.17, and $\varphi = 0.17$ would mean **nothing at all**. We draw to make sure:

# %%
from minilora.analysis import simulated_control

drawn = simulated_control(8, 32, 192, rng=rng, samples=50).mean(axis=0)  # (8, 32)
print("phi(1, 1), phi(8, 8), phi(8, 32)")
places = [0, 7, 7], [0, 7, 31]  # rows and columns of the three
print("formula:", control[places], "  drawn:", drawn[places])

# %% [markdown]
# How far from the average does chance stray? Turning the second subspace at random moves its projection
# $Q = V_j V_j^\top$ about $\frac{j}{I} 1$, in every direction of the symmetric matrices of trace 0 alike. There are
# $\frac12 (I - 1)(I + 2)$ such directions, and from that (the steps are in `minilora/analysis/random_subspaces.py`)
#
# $$\operatorname{Var} \varphi(i, j) = \frac{2\, i j\, (I - i)(I - j)}{I^2 (I - 1)(I + 2)\, \min(i, j)^2}.$$
#
# So each $\varphi$ has a **z-score**: how many of these standard deviations it lies above the average of chance.

# %%
from minilora.analysis import random_variance, z_scores

print("one standard deviation of chance:", np.sqrt(random_variance(8, 32, 192))[places])
print("z of what was measured:          ", z_scores(phi, 192)[places])

# %% [markdown]
# ## Two seeds
#
# Figure 4 of the paper: the same rank, two random starts. $W_q$ and $W_v$ side by side.

# %%
first, second = (adapter_factors(runs[f"rank 8, seed {seed}"][0]) for seed in (0, 1))
phis = {path: subspace_similarity(first[path].A, second[path].A) for path in first}  # (8, 8) each
of_q, of_v = (phis[f"blocks.2.attn.{name}"] for name in ("q_proj", "v_proj"))
plots.similarity_heatmap(of_q, of_v, first="$A$, seed 0", second="$A$, seed 1", titles=("$W_q$", "$W_v$"))

# %% [markdown]
# Two trainings that began at different places, and saw different examples, have found a common direction in $W_v$: the
# angle between the strongest ones is some 60 degrees, where random ones would have 86. In $W_q$ the strongest ones
# differ, but the first eight have more in common than those of $W_v$. Is it so in every layer?

# %%
for path, phi in phis.items():
    z = z_scores(phi, 192)  # (8, 8)
    print(f"{path}: phi(1, 1) = {phi[0, 0]:.2f}, z = {z[0, 0]:4.1f}   phi(8, 8) = {phi[7, 7]:.2f}, z = {z[7, 7]:4.1f}")
print(f"{'by chance':20}: phi(1, 1) = {1 / 192:.2f}             phi(8, 8) = {8 / 192:.2f}")

# %% [markdown]
# A $\varphi(8, 8)$ of 0.1 looks like nothing, and lies ten deviations above chance. But $z$ is no probability. Of one
# pair of random directions, $\varphi(1, 1)$ is the square of a nearly normal number, and exceeds $z = 4$ once in a
# hundred draws, not once in thirty thousand.

# %% [markdown]
# Look at all layers before you tell a story about one. (The paper shows four layers of GPT-3, and sees more common
# directions in $W_q$ than in $W_v$. In [longer trainings of our model](../figures/README.md), figure 4, the two have
# about equally many, and in a real language model, SmolLM2, $W_v$ has more: 1.6 beyond chance, where $W_q$ has 1.1.)
#
# ## The gauge trap
#
# Now to what the paper does not say. Take any matrix $M$ of $r \times r$ that has an inverse, and replace $B$ by $BM$
# and $A$ by $M^{-1}A$. The product is the same:
#
# $$(BM)(M^{-1}A) = BA.$$
#
# So it is the same $\Delta W$, the same model, the same answers. But $A$ is another matrix. (Physicists call such a
# freedom, by which the description changes and the thing does not, a **gauge**.) What does $\varphi$ say about two
# adapters that are one and the same?

# %%
M = rng.standard_normal((8, 8))  # (r, r)
A, B = np.linalg.inv(M) @ r8.A, r8.B @ M  # (r, I), (O, r)
print("the same delta W:", np.allclose(B @ A, r8.B @ r8.A))
trap = subspace_similarity(r8.A, A)  # (8, 8)
print(f"phi(1, 1) = {trap[0, 0]:.2f},  phi(4, 4) = {trap[3, 3]:.2f},  phi(8, 8) = {trap[7, 7]:.2f}")

# %% [markdown]
# $\varphi(8, 8)$ is 1, for the rows of both span the same eight dimensions. But the **order** of the directions within
# them belongs to $A$, not to $\Delta W$. So $\varphi(i, j)$ of $A$ for less than all directions can say "different"
# of the same, and one may wonder whether it can also say "the same" of the different.
#
# The way out: take the directions of $\Delta W$ itself, ordered by its own singular values. `factored_svd` finds them
# from $B$ and $A$ without forming the $O \times I$ product.

# %%
from minilora.analysis import factored_svd, similarity_of_bases

V, V_changed = factored_svd(r8.B, r8.A).Vt, factored_svd(B, A).Vt  # (r, I) each
free = similarity_of_bases(V, V_changed)  # (8, 8)
compared = range(1, 9)  # how many directions of each
lines = {"of $A$": (compared, np.diag(trap)), r"of $\Delta W$": (compared, np.diag(free))}
plots.curves(lines, x="how many directions are compared, $i$", y=r"$\varphi(i, i)$ of an adapter with itself")

# %% [markdown]
# By the directions of $\Delta W$ the two are the same from the first direction on, as they should be; by those of $A$
# they seem to differ until all eight are there. Now the two seeds again, by $A$ as in the paper and by $\Delta W$:

# %%
bases = [factored_svd(*factors).Vt for factors in (r8, other)]  # (8, I) each
by_delta = similarity_of_bases(*bases)  # (8, 8)
titles = "directions of $A$", r"directions of $\Delta W$"
plots.similarity_heatmap(of_q, by_delta, first="seed 0", second="seed 1", titles=titles)

# %% [markdown]
# Here the two agree: in these trainings nothing has mixed the rows of $A$, and the paper's way does no harm. But
# nothing guarantees that. Adapters that have been averaged, compressed, or extracted from a difference of weights come
# with another $A$, and so does every other initialisation. The directions of $\Delta W$ are safe, and cost nothing.
#
# ### Angles
#
# For two whole subspaces there is a finer answer than one number: the **principal angles**. The first is the smallest
# angle between any direction of one and any of the other, the next is the smallest at right angles to that, and so on.
# $\varphi(r, r)$ is the mean of their squared cosines.

# %%
from minilora.analysis import principal_angles

angles = principal_angles(*bases)  # (8,), in radians
print("degrees:", np.degrees(angles).round())
print(f"mean of cos^2: {np.mean(np.cos(angles) ** 2):.3f},  phi(8, 8): {by_delta[7, 7]:.3f}")

# %% [markdown]
# Two slips of the paper, so that you do not stumble over them. Its appendix G speaks of **left**-singular vectors of
# $A$; these have $r$ entries, and could not be compared between two ranks. And where it relates $\varphi$ to a distance
# $d$ of subspaces, $d^2 = p - \sum \cos^2$ with $p = \min(i, j)$, it prints $\varphi = \frac1p (1 - d^2)$. For
# identical planes, $p = 2$ and $d = 0$, this gives $\frac12$ instead of 1. It should read $\varphi = 1 - d^2 / p$.
#
# ## What does delta W do to W?
#
# The last question (section 7.3): does $\Delta W$ repeat what $W$ does already, or does it do something new? Project
# $W$ onto the directions of $\Delta W$. With $\Delta W = U S V^\top$,
#
# $$\|U^\top W V\|_F$$
#
# is how much $W$ itself does from the input directions $V$ to the output directions $U$. (The paper writes $V^\top$
# for our $V$.) Two numbers to compare it with: the same for $W$'s own strongest directions, which is the most that is
# possible; and for random directions, which is $\frac{r}{\sqrt{O I}} \|W\|_F$, by the argument above.

# %%
from minilora.analysis import amplification_table

model = runs["rank 8, seed 0"][0]
W = model.blocks[2].attn.q_proj.base.W.data  # (O, I)
table = amplification_table(W, r8, rng=rng)
norms = {r"directions of $\Delta W$": table.delta, "of $W$": table.weight, "random": table.random}
plots.bars(norms, x=rf"$\|U^T W V\|_F$, with $\|W\|_F$ = {table.norm_W:.1f}", form="{:.2f}")

# %% [markdown]
# In the directions that LoRA has chosen, $W$ does over four times as much as in random ones, and far less than in its
# own strongest. So $\Delta W$ has to do with $W$, but it does not repeat what $W$ does most.
#
# Is that so in larger models? In the paper's GPT-3 it is 16 times as much at rank 4. In SmolLM2 (table 7 among [the
# figures](../figures/README.md)) it is 3.8 times in $W_q$ of the first block, and in all others that were looked at 1.0
# to 1.3 times: there, after 100 steps, $\Delta W$ has next to nothing to do with $W$.
#
# The **amplification factor** says how much larger $\Delta W$ is than what $W$ had there: $\|\Delta W\|_F$ over
# $\|U^\top W V\|_F$. Here is the paper's table 7 for one layer of GPT-3, and ours below it:

# %%
from minilora.analysis import random_projection_norm

rows = [("GPT-3", 4, 6.91, 0.32), ("GPT-3", 64, 3.57, 1.90), ("ours", 8, table.norm_delta, table.delta)]
for name, r, norm, projected in rows:
    print(f"{name:5}  r = {r:2}:  {norm:.2f} / {projected:.2f} = {norm / projected:.1f}")
for r in 4, 64:
    by_formula = random_projection_norm(12288, 12288, r, norm_W=61.95)
    print(f"random directions in GPT-3's W_q, by formula, r = {r:2}: {by_formula:.2f}")

# %% [markdown]
# With rank 4 the paper finds a factor of about 20 and concludes that LoRA "potentially amplifies the important features
# for specific downstream tasks that were learned but not emphasized in the general pre-training model". With rank 64 it
# is about 2. The random column that it prints, 0.02 and 0.33, was drawn, and is what the formula says.
#
# Is the factor a property of the task? Not only: $\|\Delta W\|$ grows with every step of training and with alpha, and
# the factor with it. Compare factors of one and the same training length, or better, look at the directions: how much
# of $\Delta W$'s first $j$ lies in $W$'s first $i$ (the paper's figure 8)?

# %%
from minilora.analysis import weight_similarity

phi_W = weight_similarity(W, r8, 50, rng=rng)  # (50, 8)
plots.similarity_heatmap(phi_W, random_control(50, 8, 192), first="$W$", second=r"$\Delta W$")

# %% [markdown]
# Of the strongest direction of $\Delta W$, in the first column, a quarter lies along $W$'s very first, and hardly more
# among its first five. Among $W$'s first fifty, of 192, more than half of it does, twice of what chance gives. So the
# task needs directions that $W$ has, and most of them are not those that it has most: they are from the middle of its
# spectrum. "Amplify what was learned but not emphasized" is a good description of that.
#
# ## The first directions, and the others
#
# If the first directions are the useful ones, they must be enough to answer, and the others must not. The adapter that
# comes with minilora has 16 in each matrix. Keep the first 8, or only the other 8:

# %%
from minilora import generate, load_adapter
from minilora.data import EOT
from minilora.methods import bundled_adapter, lora_layers

prompts, _ = load_task("mini-e2e", length=256, n_train=1, n_held_out=8).prompts("test", 1)
print(task.tokenizer.decode(prompts[0]))


# %%
def answer_of(directions):
    """What the bundled adapter answers with these directions of each matrix alone."""
    model = load_bundled("decoder")
    load_adapter(model, bundled_adapter())
    for layer in lora_layers(model).values():
        U, S, Vt = factored_svd(layer.B.data, layer.A.data)  # (O, 16), (16,), (16, I)
        layer.B.data[:], layer.A.data[:] = U * S * np.isin(np.arange(16), directions), Vt
    (answer,) = generate(model, prompts, max_tokens=60, stop=EOT)
    return task.tokenizer.decode(answer).strip()


# %%
for name, directions in ("all 16", range(16)), ("first 8", range(8)), ("other 8", range(8, 16)):
    print(f"{name:9}", answer_of(list(directions)))

# %% [markdown]
# The first eight speak of the right cafe and its price. The other eight say nothing that one could use.
#
# ## On a GPU
#
# Training moves there with `load_bundled("decoder", device="gpu")`; `adapter_factors` brings $A$ and $B$ back, and the
# analysis works on the CPU in float64. For a model as large as GPT-3 that is still fine: `factored_svd` never forms
# $\Delta W$, and `amplification_table` never decomposes $W$.
#
# ## Questions
#
# **1.** What is $\varphi(i, j)$ if the second subspace is the whole space, $j = I$? What does chance give?
#
# <details><summary>Answer</summary>
#
# 1, always: every direction lies in the whole space. Chance gives $\max(i, j)/I = 1$ as well. The closer $j$ is to
# $I$, the less $\varphi$ can tell.
#
# </details>
#
# **2.** You compare rank 8 with rank 32 and give both runs the same seed. In the first adapted layer, $\varphi$ is
# very high already **before** training. Why?
#
# <details><summary>Answer</summary>
#
# `rng.uniform` fills $A$ row by row, so the first eight rows that rank 32 gets are the eight that rank 8 gets. The two
# starts share a subspace, and $\varphi$ reports the shared random numbers as if they had been learned. Runs that are to
# be compared need different seeds.
#
# </details>
#
# **3.** Why does nothing similar to the gauge trap happen with full fine-tuning?
#
# <details><summary>Answer</summary>
#
# Its $\Delta W$ is not split into factors. Its singular vectors belong to $\Delta W$ itself (up to their signs, which
# the square removes, and up to equal singular values).
#
# </details>
#
# **4.** Of two adapters, $\varphi(1, 1)$ is 0.6 and $\varphi(8, 8)$ is 0.15. What has each found?
#
# <details><summary>Answer</summary>
#
# One direction in common, their strongest: an angle of $\arccos\sqrt{0.6} = 39°$. The sum of all 64 squared cosines is
# $8 \cdot 0.15 = 1.2$; half of that is this one pair, and of the other 0.6 chance alone would account for $64/192 =
# 0.33$. So there is one shared direction, and little besides. It is what the paper reports: the top directions are
# the useful ones, and the others may hold mostly noise.
#
# </details>
#
# **5.** You train ten times as long, and the amplification factor triples. Has LoRA found more important directions?
#
# <details><summary>Answer</summary>
#
# Not necessarily. If the directions stayed and $\Delta W$ became three times as large, the factor triples as well.
# Compare $\|U^\top W V\|_F$, which depends on the directions alone.
#
# </details>

# %% [markdown]
# # 3. LoRA by hand
#
# **Goal.** Write down LoRA's forward pass, derive the gradients of $A$, $B$ and $x$ line by line, and understand from
# them why training can start at $B = 0$, what $\alpha$ does, and what LoRA sees of the gradient that full fine-tuning
# would follow.
#
# **Minutes.** 60
#
# **Prerequisites.** [2. Backpropagation by hand](02_backprop_by_hand.ipynb).
#
# **Next.** [4. A transformer, forward and backward](04_a_transformer.ipynb).
# To write it yourself: [exercises 2, 7, 9, 20 and 21](exercises/README.md), `minilora exercises start 2`.

# %%
# %matplotlib inline
import numpy as np

from minilora import plots
from minilora.gradcheck import GradientError, check_op
from minilora.ops import linear_backward, linear_forward, lora_linear_backward, lora_linear_forward
from minilora.parameter import Parameter
from minilora.training import AdamW

np.set_printoptions(precision=3, suppress=True)
rng = np.random.default_rng(0)

# %% [markdown]
# ## The idea in one drawing
#
# A pretrained model has large weight matrices. To adapt it to a task, full fine-tuning changes all their numbers:
# $W_0$ becomes $W_0 + \Delta W$. LoRA (Hu et al., 2021) keeps $W_0$ as it is, and writes the change as a product of
# two thin matrices,
#
# $$\Delta W = \tfrac{\alpha}{r} B A, \qquad A \in \mathbb{R}^{r \times I}, \quad B \in \mathbb{R}^{O \times r},$$
#
# where $I$ and $O$ are the numbers of features that go in and come out, and the **rank** $r$ is small: 1, 4, 8. Only
# $A$ and $B$ are trained.

# %%
plots.lora_picture()

# %% [markdown]
# ## Forward
#
# The paper writes $h = W_0 x + \frac{\alpha}{r} B A x$ for one column $x$. Our $x$ holds rows (a row per example), so
# every product is transposed, and the paper's $h$ is our $y$:
#
# $$y = x W^\top + \text{bias} + \text{scale}\,(x A^\top) B^\top, \qquad \text{scale} = \alpha / r.$$
#
# Two rows, five features in, four out, rank 2. We name what passes through the narrow place: $h = x A^\top$, with $r$
# numbers per row.

# %%
x = rng.standard_normal((2, 5))  # (N, I)
W, bias = rng.standard_normal((4, 5)), rng.standard_normal(4)  # (O, I), (O,)
A, B = rng.standard_normal((2, 5)), rng.standard_normal((4, 2))  # (r, I), (O, r)
alpha, r = 4, 2
scale = alpha / r
y, cache = lora_linear_forward(x, W, bias, A, B, scale)  # (N, O)
print("y", y.shape, "  h", cache.h.shape)

# %% [markdown]
# The order of the products matters. $(x A^\top) B^\top$ goes through $r$ numbers; $x (B A)^\top$ gives the same, but
# makes the large matrix $\Delta W$ first. LoRA never makes it while training. Here we do, to look at it:

# %%
delta_W = scale * B @ A  # (O, I)
print("the same:", np.allclose(y, linear_forward(x, W + delta_W, bias)[0]))
plots.matrices({r"$\Delta W$": delta_W, "scale $B$": scale * B, "$A$": A}, ("=", "@"))

# %% [markdown]
# Every row of $\Delta W$ is a mixture of the two rows of $A$. That is what rank 2 means, and it is all that LoRA
# gives up.
#
# What it saves: $W$ has $O \cdot I$ numbers, $A$ and $B$ together $r (O + I)$. For the 768 × 768 matrices of a small
# GPT-2:

# %%
counts = {"full fine-tuning, $W$": 768 * 768}
for rank in 64, 8, 4, 1:
    counts[f"LoRA, r = {rank}"] = rank * (768 + 768)
plots.bars(counts, x="trained numbers in one matrix", log=True)

# %% [markdown]
# With a live kernel, move the rank and watch $\Delta W$ become richer; the static picture below is rank 3.

# %%
many_B, many_A = rng.standard_normal((12, 12)), rng.standard_normal((12, 16))  # (O, r), (r, I)


def of_rank(r=3):
    """Delta W of rank r, between 12 and 16 features."""
    B, A = many_B[:, :r], many_A[:r]  # (O, r), (r, I)
    return plots.matrices({rf"$\Delta W$ of rank {r}": B @ A, "$B$": B, "$A$": A}, ("=", "@"), own_scale=True)


plots.sliders(of_rank, r=(1, 12))

# %%
of_rank(3)

# %% [markdown]
# ## Backward, line by line
#
# The upstream gradient `dy` says how the loss changes with $y$. We need three gradients: of $A$ and $B$, to train
# them, and of $x$, for the layers below. $W$ is a constant: **nobody asks for its gradient, and it is not computed**.
#
# Nothing new has to be derived, for LoRA's branch is a linear map twice over. From the last notebook: for
# $y = xW^\top$, the gradient of the weight is $dy^\top x$ and that of the input is $dy\,W$.
#
# **1.** Forward: $y = \dots + \text{scale}\; h B^\top$. Here $B$ is the weight and $h$ the input, so
#
# $$dB = \text{scale}\; dy^\top h, \qquad dh = \text{scale}\; dy\, B.$$
#
# **2.** Forward: $h = x A^\top$. Here $A$ is the weight, $x$ the input, and $dh$ the upstream gradient:
#
# $$dA = dh^\top x.$$
#
# **3.** $x$ is used twice, by the frozen $W$ and by $A$. Its gradient is the sum of both:
#
# $$dx = dy\, W + dh\, A.$$

# %%
dy = rng.standard_normal((2, 4))  # (N, O)
dB = scale * dy.T @ cache.h  # (O, N) @ (N, r) -> (O, r)
dh = scale * dy @ B  # (N, O) @ (O, r) -> (N, r)
dA = dh.T @ x  # (r, N) @ (N, I) -> (r, I)
dx = dy @ W + dh @ A  # (N, I)
for ours, theirs in zip((dx, dA, dB), lora_linear_backward(dy, cache)):
    print(ours.shape, np.allclose(ours, theirs))

# %% [markdown]
# That our derivation agrees with the package's is no proof; both could be wrong. So we ask the forward pass, at a
# generic point (above all, with $B \neq 0$):

# %%
arrays = {"x": x, "W": W, "bias": bias, "A": A, "B": B}
errors = check_op(lora_linear_forward, lora_linear_backward, arrays, scale, rng=rng, wrt=("x", "A", "B"))
print(",  ".join(f"{name}: {error:.0e}" for name, error in errors.items()))

# %% [markdown]
# ## What LoRA sees of the full gradient
#
# Full fine-tuning would follow $G = dW = dy^\top x$, which is $O \times I$. Put $h = xA^\top$ and
# $dh = \text{scale}\,dy\,B$ into the two lines above, and $G$ appears in both:
#
# $$dA = \text{scale}\; B^\top G, \qquad dB = \text{scale}\; G A^\top.$$
#
# So LoRA's gradients are **projections** of the full one. $A$ learns what $G$ says about the $r$ directions of the
# output that $B$ spans; $B$ learns what $G$ says about the $r$ directions of the input that $A$ spans.
#
# You will read that "LoRA approximates the gradient". It does not: no step makes $BA$ an approximation of $G$. $\Delta
# W = \text{scale}\, BA$ stands for the **sum of all updates** that training makes, and what is projected in each step
# is only what $dA$ and $dB$ see of $G$.

# %%
G = linear_backward(dy, linear_forward(x, W)[1])[1]  # (O, I)
_, dA, dB = lora_linear_backward(dy, cache)  # (r, I), (O, r)
print("dA = scale B^T G:", np.allclose(dA, scale * B.T @ G), "  dB = scale G A^T:", np.allclose(dB, scale * G @ A.T))
plots.matrices({"$G$": G, r"$dB \propto G A^\top$": dB, r"$dA \propto B^\top G$": dA}, own_scale=True)

# %% [markdown]
# A small step of size $\eta$ down both gradients changes $\Delta W$, to first order, by
#
# $$-\eta\,\text{scale}^2\,\big(G A^\top\! A \;+\; B B^\top G\big).$$
#
# Full fine-tuning would change $W$ by $-\eta\, G$. Let us compare the two directions for a larger layer (24 × 60,
# rank 2), in which $G$ happens to be a picture. LoRA's step is drawn with the few strokes that $A$ and $B$ allow: the
# rows of $GA^\top\! A$ are mixtures of the two rows of $A$, which makes stripes downwards; the columns of $BB^\top G$
# are mixtures of the two columns of $B$, which makes stripes across.

# %%
G = plots.word_image("G", (24, 60))  # (O, I)
A2, B2 = rng.standard_normal((2, 60)), rng.standard_normal((24, 2))  # (r, I), (O, r)
seen = G @ A2.T @ A2 + B2 @ B2.T @ G  # (O, I)
print(f"cosine of the two directions: {np.sum(G * seen) / np.linalg.norm(G) / np.linalg.norm(seen):.2f}")
plots.matrices({"full: $G$": G, r"LoRA: $G A^\top A + B B^\top G$": seen}, own_scale=True)

# %% [markdown]
# The cosine is never negative: $\langle G,\; GA^\top\! A + BB^\top G\rangle = \|GA^\top\|^2 + \|B^\top G\|^2 \ge 0$.
# It is zero only where neither $A$ nor $B$ sees anything of $G$. A small step of LoRA never walks uphill; it walks
# downhill along fewer directions.
#
# ## B = 0: how can that train?
#
# LoRA starts with a random $A$ and with $B = 0$, so that $\Delta W = 0$: the adapted model starts as the pretrained
# one, exactly. **Users ask** how anything can be learned from a zero matrix, and why not both are zero ([LoRA
# 59](https://github.com/microsoft/LoRA/issues/59), [relora 18](https://github.com/Guitaricet/relora/issues/18)). The
# two projections answer. $dA = \text{scale}\,B^\top G$ is zero while $B$ is. But $dB = \text{scale}\,GA^\top$ asks
# only for $A$:

# %%
_, at_start = lora_linear_forward(x, W, bias, A, np.zeros((4, 2)), scale)
_, dA, dB = lora_linear_backward(dy, at_start)  # (r, I), (O, r)
plots.matrices({"$dA$ at $B = 0$": dA, "$dB$ at $B = 0$": dB})

# %% [markdown]
# After one step $B$ is no longer zero, and from then on $A$ learns too. If both were zero, both gradients would be
# zero, now and for ever: a saddle point, flat in all directions without being a minimum. Let us train from four starts
# on a small problem (find the $\Delta W$ of rank 2 that makes a layer produce given outputs) with plain gradient
# descent.

# %%
X = rng.standard_normal((64, 5))  # (N, I)
hidden = 0.3 * rng.standard_normal((4, 2)) @ rng.standard_normal((2, 5))  # (O, I), what is to be found
target = linear_forward(X, W + hidden)[0]  # (N, O)


# %%
def descend(A, B, steps=3000, lr=0.05):
    """The loss at each step of gradient descent on A and B, with scale 1."""
    losses = []
    for _ in range(steps):
        y, cache = lora_linear_forward(X, W, None, A, B, 1.0)  # (N, O)
        losses.append(np.mean((y - target) ** 2))
        _, dA, dB = lora_linear_backward((y - target) / len(X), cache)
        A, B = A - lr * dA, B - lr * dB  # (r, I), (O, r)
    return losses


# %%
A0, B0 = 0.4 * rng.standard_normal((2, 5)), 0.4 * rng.standard_normal((4, 2))  # (r, I), (O, r)
runs = {
    "LoRA: $B = 0$": descend(A0, 0 * B0),
    "$A = 0$": descend(0 * A0, B0),
    "both random": descend(A0, B0),
    "both zero": descend(0 * A0, 0 * B0),
}
plots.curves({label: (range(3000), losses) for label, losses in runs.items()}, x="step", y="loss", log="y")

# %% [markdown]
# "Both zero" stays where it is for ever. The other three arrive. The two that begin with a zero wait on the way, at a
# few thousandths: the stronger of the two directions of what is to be found is learned by then; the other is still
# small in $A$ or in $B$, and so is its gradient. "Both random" waits less, but begins elsewhere, for it has changed
# the model before having learned anything.
#
# ### How is A drawn?
#
# The paper says "a random Gaussian initialization for $A$" and no more. Its own code, and PEFT's default, draws
# uniformly from $\pm 1/\sqrt{I}$; **users ask** which is right ([LoRA
# 98](https://github.com/microsoft/LoRA/issues/98), [76](https://github.com/microsoft/LoRA/issues/76),
# [114](https://github.com/microsoft/LoRA/issues/114), [142](https://github.com/microsoft/LoRA/issues/142)). The shape
# of the distribution hardly matters. Its **size** does, for $dB$ is proportional to $A$. For 192 features and rank 4:

# %%
from minilora import GPT, GPTConfig, LoRAConfig, apply_lora

for init in ("uniform", "gaussian"):
    model = GPT(GPTConfig(vocab_size=5, n_positions=4, n_layer=1, d_model=192, n_head=2), np.random.default_rng(0))
    apply_lora(model, LoRAConfig(rank=4, init=init), rng=np.random.default_rng(0))
    A_q = model.blocks[0].attn.q_proj.A.data  # (r, I)
    print(f"{init:9} A's standard deviation {A_q.std():.3f}")

# %% [markdown]
# The first is $1/\sqrt{3I} = 0.042$; the second, PEFT's reading of "Gaussian", is $1/r = 0.25$, and does not know how
# wide the layer is. A learning rate that suits one does not suit the other.
#
# For an **embedding**, loralib does the reverse: $A = 0$ and $B$ random. A table look-up is a linear map of one-hot
# rows, and our second start above says that the reverse trains as well. At $A = 0$ it is $dB$ that is zero, and only
# those columns of $dA$ are not zero whose tokens occur:

# %%
tokens = np.eye(6)[[1, 4, 4]]  # (N, V): tokens 1, 4 and 4 of a vocabulary of 6
E, A_tokens, B_tokens = rng.standard_normal((3, 6)), np.zeros((2, 6)), rng.standard_normal((3, 2))
_, cache = lora_linear_forward(tokens, E, None, A_tokens, B_tokens, 1.0)
_, dA, dB = lora_linear_backward(rng.standard_normal((3, 3)), cache)  # (r, V), (O, r)
plots.matrices({"tokens": tokens, "$dA$": dA, "$dB$": dB})

# %% [markdown]
# ## What alpha does
#
# "What is alpha, it is not in the paper" (it is, in section 4.1), **users ask** ([peft
# 826](https://github.com/huggingface/peft/issues/826), [bitsandbytes
# 762](https://github.com/bitsandbytes-foundation/bitsandbytes/issues/762)). It is one number that multiplies
# $\Delta W$. In the gradients, scale appears once more: both $dA$ and $dB$ are proportional to it. So
#
# - with SGD, the first steps change $\Delta W$ in proportion to $\eta\,\text{scale}^2$;
# - with Adam, whose steps do not depend on the size of a gradient, in proportion to $\eta\,\text{scale}$.
#
# Either way, alpha acts like a **learning rate**: the paper fixes it once and tunes $\eta$. Then [why alpha /
# r](https://github.com/microsoft/LoRA/issues/101), and not alpha alone? Because $\Delta W x$ is a sum of $r$ terms.
# Adam moves each of the $r$ columns of $B$ by about $\eta$ in the direction that helps, so the sum grows like $r$,
# and dividing by $r$ keeps it the same. We measure how far one step of AdamW moves the output, for ranks from 1 to
# 256:


# %%
def first_step(r, scale, seed, I=64, O=64):
    """How far AdamW's first step moves the output of an I x O layer, per entry."""
    rng = np.random.default_rng(seed)
    x, dy = rng.standard_normal((1, I)), rng.standard_normal((1, O))  # (N, I), (N, O)
    A, B = Parameter(rng.uniform(-1, 1, (r, I)) / np.sqrt(I)), Parameter(np.zeros((O, r)))
    before, cache = lora_linear_forward(x, np.zeros((O, I)), None, A.data, B.data, scale)
    _, A.grad, B.grad = lora_linear_backward(dy, cache)
    AdamW([A, B], lr=1e-3).step()
    after, _ = lora_linear_forward(x, np.zeros((O, I)), None, A.data, B.data, scale)  # (N, O)
    return np.abs(after - before).mean()


# %%
ranks = 2 ** np.arange(9)
powers = {r"$\alpha$": 0, r"$\alpha / \sqrt{r}$ (rsLoRA)": 0.5, r"$\alpha / r$": 1}
moves = {}
for label, power in powers.items():
    moves[label] = ranks, [np.mean([first_step(r, 8 / r**power, seed) for seed in range(20)]) for r in ranks]
plots.curves(moves, x="rank $r$", y="change of the output", log="xy")

# %% [markdown]
# With $\alpha / r$ the line is flat: the rank can be changed without tuning the learning rate again, which is what
# the paper says it is for. (This is the first step, on one example: all $r$ terms agree. Terms that do not agree add
# up to about $\sqrt{r}$ of them, and for those $\alpha / r$ is too careful; that is what rsLoRA's $\alpha / \sqrt{r}$
# is about, in [notebook 11](11_after_lora.ipynb).)
#
# ## Dropout: where, and its backward
#
# LoRA's dropout acts on the input of **its own branch alone**: $h = (x * \text{mask})\,A^\top$. Each entry of the mask
# is 0 with probability $p$, and else $1/(1-p)$. What goes through $W$ is not touched. So the mask appears in the
# backward, too, but only in LoRA's part:
#
# $$dA = dh^\top (x * \text{mask}), \qquad dx = dy\, W + (dh\, A) * \text{mask}.$$
#
# The last factor is easily forgotten ([fms-acceleration
# 97](https://github.com/foundation-model-stack/fms-acceleration/issues/97)), and so is dropout as a whole ([torchtune
# 996](https://github.com/meta-pytorch/torchtune/issues/996)): nothing crashes. A gradient check notices:

# %%
from minilora.ops import dropout_mask


def forgets_the_mask(dy, cache):
    """lora_linear_backward with a dx that lacks the factor `mask`."""
    return lora_linear_backward(dy, cache._replace(dropout_mask=None))


mask = dropout_mask(x, 0.5, rng)  # (N, I)
check_op(lora_linear_forward, lora_linear_backward, arrays, scale, mask, rng=rng, wrt=("x", "A", "B"))
try:
    check_op(lora_linear_forward, forgets_the_mask, arrays, scale, mask, rng=rng, wrt=("x", "A", "B"))
except GradientError as error:
    print(error)

# %% [markdown]
# And [merging with dropout](https://github.com/huggingface/peft/issues/2066)? A merged model computes
# $x(W + \Delta W)^\top$, which has no place for a mask. That is no loss, for dropout belongs to training, and averaged
# over all masks ($E[\text{mask}] = 1$) the branch gives exactly this:

# %%
masked = [lora_linear_forward(x, W, bias, A, B, scale, dropout_mask(x, 0.5, rng))[0] for _ in range(20_000)]
merged = linear_forward(x, W + delta_W, bias)[0]  # (N, O)
plots.matrices({"mean over 20,000 masks": np.mean(masked, axis=0), "merged": merged}, ("≈",))

# %% [markdown]
# ## On a GPU
#
# The lines of the forward and of the backward are the same; the arrays live in CuPy
# ([notebook 10](10_gpu_and_checkpoints.ipynb)). What changes is what is worth saving. $A$ and $B$ are so thin that a
# GPU is done with them before it has really begun; most of a step's time is the frozen $W$'s.
#
# ## Questions
#
# **1.** The function `lora_linear_backward` returns three gradients. Why not one for $W$, and which product is saved
# by that?
#
# <details><summary>Answer</summary>
#
# $W$ is frozen, so nobody uses $dW = dy^\top x$: a product of (O, N) and (N, I), as expensive as the forward
# $xW^\top$. The third product, $dx = dy\,W$, cannot be saved: the layers below need it. So of three large products,
# two remain.
#
# </details>
#
# **2.** You double alpha and want the first AdamW steps to be what they were. What do you do to the learning rate?
# And with SGD?
#
# <details><summary>Answer</summary>
#
# AdamW's step does not depend on the gradient's size, so $\Delta W$ moves by $\eta\,\text{scale}$: halve the rate.
# With SGD the gradient is twice as large as well: divide it by four.
#
# </details>
#
# **3.** Replace $B$ by $BM$ and $A$ by $M^{-1}A$ with an invertible $r \times r$ matrix $M$. What happens to the
# output? To $dA$?
#
# <details><summary>Answer</summary>
#
# $BMM^{-1}A = BA$: the output is the same. But $dA = \text{scale}\,(BM)^\top G = M^\top (\text{scale}\,B^\top G)$ is
# another one. The same $\Delta W$ is trained differently, according to how it is split up.
#
# </details>
#
# **4.** In the first step of training, which part of $G$ can LoRA follow, and who has chosen it?
#
# <details><summary>Answer</summary>
#
# $B = 0$, so the change is $-\eta\,\text{scale}^2\,G A^\top A$: for each output, the part of $G$'s row that lies in
# the span of $A$'s rows. They were drawn at random. (PiSSA and LoRA-GA choose them with more care:
# [notebook 11](11_after_lora.ipynb).)
#
# </details>
#
# **5.** Somebody initialises $B$ with zeros and $A$ with zeros "to be safe". The loss falls a little, because the
# biases are trained. Which printed number would have shown it?
#
# <details><summary>Answer</summary>
#
# The norms of the gradients of $A$ and $B$: exactly 0.0 in every step.
#
# </details>

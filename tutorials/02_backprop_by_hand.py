# %% [markdown]
# # 2. Backpropagation by hand
#
# **Goal.** Derive the backward passes of a linear map, of softmax and of layer normalisation, one line at a time;
# check each against finite differences; see four checks that pass a wrong gradient; and train with what you derived.
#
# **Minutes.** 75
#
# **Prerequisites.** Partial derivatives, the chain rule, matrix products, a little NumPy.
#
# **Next.** [3. LoRA by hand](03_lora_by_hand.ipynb).
# To write it yourself: [exercises 1, 4, 5 and 14](exercises/README.md), `minilora exercises start 1`.

# %%
# %matplotlib inline
import numpy as np

from minilora import plots
from minilora.gradcheck import GradientError, check_op, numerical_gradient

np.set_printoptions(precision=3, suppress=True)
rng = np.random.default_rng(0)


def show(errors):
    print(",  ".join(f"{name}: {error:.0e}" for name, error in errors.items()))


# %% [markdown]
# ## What a gradient is
#
# All that a model computes in training ends in one number, the loss $L$: how wrong the model was. A model is a chain of
# simple functions, and each array in it, say $x$, has a **gradient**: an array of the same shape whose entry $i$ says
# how fast $L$ changes when $x_i$ changes,
#
# $$dx_i \;=\; \frac{\partial L}{\partial x_i}.$$
#
# We write `dx` for it everywhere: `d` and the name of the array. It answers a question that one can simply ask the
# function: move $x_i$ up by a tiny $h$, then down by $h$, and look how much $L$ has changed. That is a **centred
# difference**,
#
# $$dx_i \;\approx\; \frac{L(x_i + h) - L(x_i - h)}{2h},$$
#
# and `numerical_gradient` computes it for every entry. For $L = \sum_i x_i^2$ we know the answer, $2x$:

# %%
x = np.array([1.0, -2.0, 0.5])  # (3,)
print("asked  ", numerical_gradient(lambda x: np.sum(x**2), x))  # (3,)
print("derived", 2 * x)

# %% [markdown]
# ### How small is tiny?
#
# If $h$ is large, the curve between $x - h$ and $x + h$ is not straight; the error grows like $h^2$. If $h$ is very
# small, the two values of $L$ agree in almost all their digits, and what is left after subtracting is rounding; that
# error grows like $1/h$. Between the two there is a best $h$. Let us look for it with $y = \sin x$, whose derivative
# is $\cos x$, in both precisions.

# %%
point = rng.standard_normal(50)  # (50,)
steps = 10.0 ** np.arange(-12, 0.5, 0.5)


def error_at(h, dtype):
    """How far the numerical gradient of sin is from cos, relative to its size."""
    x = point.astype(dtype)
    found = numerical_gradient(np.sin, x, np.ones_like(x), h=h)  # (50,)
    return np.linalg.norm(found - np.cos(point)) / np.linalg.norm(np.cos(point))


# %%
errors = {dtype: (steps, [error_at(h, dtype) for h in steps]) for dtype in ("float64", "float32")}
plots.curves(errors, x="step size $h$", y="relative error", log="xy")

# %% [markdown]
# In float64 (sixteen digits) the best step is near $10^{-5}$, and ten digits of the gradient are right. In float32
# (seven digits) we never get more than about five, whatever $h$ is. Remember this picture: it is the first way in
# which a check fools you.
#
# ## The chain rule, one function at a time
#
# Nobody computes gradients of a whole model by moving each number: a model with a million weights would have to run
# two million times. Instead we go backwards through the chain. Suppose a function makes $y$ from $x$, and that
# somebody has already told us the **upstream gradient** `dy`, the gradient of $L$ with respect to $y$. Then the chain
# rule gives
#
# $$dx_i \;=\; \sum_o dy_o \, \frac{\partial y_o}{\partial x_i},$$
#
# and this `dx` is the upstream gradient of whatever made $x$.
#
# ### Forward and backward in one picture
#
# Take the smallest model there is: one weight, one bias, and the squared error of what they give. It should turn
# $x = 2$ into $t = 4$, and gives 2. Forward, every line makes a number from the ones above it:

# %%
x, w, b, t = 2.0, 1.5, -1.0, 4.0
p = w * x
y = p + b
e = y - t
L = e**2

# %% [markdown]
# Backward, we read these lines from the last to the first. Each says how fast its left side changes with what stands
# at its right, and the gradient that arrives is multiplied by that:

# %%
dL = 1.0
de = dL * 2 * e  # forward: L = e**2
dy, dt = de * 1, de * -1  # forward: e = y - t
dp, db = dy * 1, dy * 1  # forward: y = p + b
dw, dx = dp * x, dp * w  # forward: p = w * x

# %% [markdown]
# Move the slider from 0 to 9: first the values flow to the right, then the gradients flow back to the left. (Without a
# live kernel, the picture below shows the end.)

# %%
from minilora.plots import Node

nodes = {"x": Node("x", x, dx, {}), "w": Node("w", w, dw, {}), "b": Node("b", b, db, {}), "t": Node("t", t, dt, {})}
nodes["p"] = Node("p = w x", p, dp, {"x": w, "w": x})
nodes["y"] = Node("y = p + b", y, dy, {"p": 1, "b": 1})
nodes["e"] = Node("e = y - t", e, de, {"y": 1, "t": -1})
nodes["L"] = Node("L = e^2", L, dL, {"e": 2 * e})


def flow(step=9):
    """The graph after so many steps forward, and then backward."""
    return plots.value_graph(nodes, step)


plots.sliders(flow, step=(0, 9))

# %%
flow(9)

# %% [markdown]
# The gradient of $w$ is $-8$: make $w$ a little larger, and the loss falls eight times as fast. Ask the function, and
# it says the same:

# %%
numerical_gradient(lambda w: (w * x + b - t) ** 2, np.array(w))

# %% [markdown]
# Nothing in the backward pass is cleverer than this, in any model. There are only more numbers, and they are in
# arrays. So every function needs a partner. In minilora each operation is a pair with one contract:
#
#     y, cache = f_forward(x, ...)        # the cache keeps what the backward will need
#     dx, ... = f_backward(dy, cache)     # one gradient for each array that went in
#
# ## The linear map
#
# The most common function of all: $y = x W^\top + \text{bias}$. The rows of $x$ are examples (or positions in a
# text), each with $I$ features; $W$ is $O \times I$ and turns them into $O$ features. Here are two rows, with $I = 3$
# and $O = 4$.

# %%
from minilora.ops import linear_backward, linear_forward

x = rng.standard_normal((2, 3))  # (N, I)
W = rng.standard_normal((4, 3))  # (O, I)
bias = rng.standard_normal(4)  # (O,)
y, cache = linear_forward(x, W, bias)  # (N, O)
plots.matrices({"$y$": y, "$x$": x, r"$W^\top$": W.T, "bias": bias}, ("=", "@", "+"))

# %% [markdown]
# Look at a single output, $y_{no} = \sum_i x_{ni} W_{oi} + \text{bias}_o$, and ask who depends on what.
#
# - $x_{ni}$ enters all outputs of its row $n$, each with the factor $W_{oi}$. So $dx_{ni} = \sum_o dy_{no} W_{oi}$.
#   As matrices: $dx = dy\, W$.
# - $W_{oi}$ enters output $o$ of **every** row, each with the factor $x_{ni}$. So
#   $dW_{oi} = \sum_n dy_{no}\, x_{ni}$, which is $dW = dy^\top x$.
# - $\text{bias}_o$ enters output $o$ of every row with the factor 1. So $d\text{bias}_o = \sum_n dy_{no}$.
#
# There is a sum wherever something is used more than once. Let us draw an upstream gradient and see $dW$ being made.

# %%
dy = rng.standard_normal((2, 4))  # (N, O)
dx, dW, dbias = linear_backward(dy, cache)  # (N, I), (O, I), (O,)
plots.matrices({"$dW$": dW, r"$dy^\top$": dy.T, "$x$": x}, ("=", "@"))

# %% [markdown]
# Each row of $dW$ is a mixture of the rows of $x$, and there are only two of them: **a weight's gradient has no
# higher rank than the number of rows that went through it**. (That alone is no reason why low-rank changes of $W$
# should be enough: in training, hundreds of rows go through a $W$ of 192 columns, and the bound says nothing. That they
# are is an observation about trained models: [notebook 1](01_rank.ipynb).)
#
# The three lines that we derived, next to what the package returns:

# %%
print("dx    = dy W      ", np.array_equal(dx, dy @ W))
print("dW    = dy^T x    ", np.array_equal(dW, dy.T @ x))
print("dbias = sum of dy ", np.allclose(dbias, dy.sum(axis=0)))

# %% [markdown]
# ### Asking the function
#
# `check_op` compares a backward with centred differences of its forward. It draws an upstream gradient at random,
# moves every entry of every array, and returns the relative error of each gradient: the norm of the difference over
# the norm of the larger one. If one of them is above $10^{-7}$, it raises a `GradientError`.

# %%
show(check_op(linear_forward, linear_backward, {"x": x, "W": W, "bias": bias}, rng=rng))

# %% [markdown]
# ## Softmax
#
# Softmax turns a row of any numbers into probabilities, $p_i = e^{x_i} / \sum_j e^{x_j}$. Raising one $x_j$ raises
# $p_j$, and, because all probabilities sum to 1, lowers all others. The quotient rule says by how much:
#
# $$\frac{\partial p_i}{\partial x_j} \;=\; p_i\,(\mathbb{1}[i = j] - p_j),$$
#
# with $\mathbb{1}[i=j]$ being 1 if $i = j$, else 0. All these numbers together are the **Jacobian**, a matrix $J$ of
# $V \times V$ for a row of $V$ numbers. Here it is, for $V = 5$, next to the probabilities:

# %%
from minilora.ops import softmax_backward, softmax_forward

x = rng.standard_normal((1, 5))  # (N, V)
probs, cache = softmax_forward(x)  # (N, V)
J = np.diag(probs[0]) - np.outer(probs[0], probs[0])  # (V, V)
plots.matrices({"$x$": x, "$p$": probs, "$J$": J}, own_scale=True)

# %% [markdown]
# Positive on the diagonal, negative elsewhere, and each row sums to zero: adding the same number to all of $x$
# changes no probability. Multiplying by $J$ is what the chain rule asks for, but nobody builds $J$. Put it into the
# sum:
#
# $$dx_j = \sum_i dp_i \, p_i(\mathbb{1}[i=j] - p_j) = p_j\Big(dp_j - \sum_i dp_i\, p_i\Big).$$
#
# In words: subtract the mean of $dp$, taken with the probabilities as weights, and multiply by $p$. One line of code
# instead of a matrix, and the same numbers:

# %%
dprobs = rng.standard_normal((1, 5))  # (N, V)
print("with the Jacobian", dprobs @ J)
print("with one line    ", softmax_backward(dprobs, cache))
show(check_op(softmax_forward, softmax_backward, {"x": x}, rng=rng))

# %% [markdown]
# ## Layer normalisation
#
# In a transformer, every position's $C$ numbers are brought to mean 0 and standard deviation 1 before they are used:
#
# $$\hat x = \frac{x - \text{mean}(x)}{\sqrt{\text{var}(x) + \epsilon}}, \quad y = \text{gain} * \hat x + \text{bias}.$$
#
# Three rows of very different sizes go in; what comes out does not remember it:

# %%
from minilora.ops import layernorm_backward, layernorm_forward

x = rng.standard_normal((3, 6)) * [[0.1], [1.0], [30.0]] + [[0.0], [5.0], [0.0]]  # (N, C)
gain, bias = rng.uniform(0.5, 1.5, 6), rng.standard_normal(6)  # (C,), (C,)
y, cache = layernorm_forward(x, gain, bias)  # (N, C)
plots.matrices({"$x$": x, r"$\hat x$": cache.xhat}, own_scale=True)

# %% [markdown]
# The derivation has one idea: $x_j$ acts in three ways, directly, through the mean, and through the variance. With
# $s = 1/\sqrt{\text{var} + \epsilon}$ and $d\hat x = dy * \text{gain}$, the three add up to
#
# $$dx_j \;=\; s\,\big(\,d\hat x_j \;-\; \text{mean}(d\hat x) \;-\; \hat x_j\,\text{mean}(d\hat x * \hat x)\,\big).$$
#
# (The steps are at the top of `minilora/ops/layernorm.py`.) The formula can be read: what is subtracted is the part
# of $d\hat x$ along two directions that normalisation does not see. Shift all of $x$, and $y$ stays; stretch all of
# $x$, and $y$ stays. Where moving changes nothing, the gradient is zero. So $dx$ must sum to zero, and must be
# orthogonal to $\hat x$:

# %%
dy = rng.standard_normal((3, 6))  # (N, C)
dx, dgain, dbias = layernorm_backward(dy, cache)  # (N, C), (C,), (C,)
print("along a shift  ", dx.sum(axis=1))  # (N,)
print("along a stretch", np.sum(dx * cache.xhat, axis=1))  # (N,)   zero only up to eps

# %%
plots.matrices({"$dy$": dy, "$dx$": dx}, own_scale=True)

# %% [markdown]
# The rows of $dx$ are small where $x$ was large (the factor $s$): a row of size 30 has to move thirty times as far
# for the same effect. The check, at this point with a gain that is not 1 and a bias that is not 0:

# %%
show(check_op(layernorm_forward, layernorm_backward, {"x": x, "gain": gain, "bias": bias}, rng=rng))

# %% [markdown]
# ## How a check fools you
#
# A check that nobody has seen failing is no check. In each of the following four stories a backward is **wrong**, and
# a check that looks reasonable says that it is right. `outcome` tells what a check says; `table` collects it. (What
# wrong gradients do to a training run, and how many have been published, the [museum](../docs/museum.md) shows.)

# %%
table = {}


def outcome(*args, **kwargs):
    """What check_op says: "passes", or "caught" with its message."""
    try:
        check_op(*args, **kwargs)
        return "passes"
    except GradientError as error:
        print(error)
        return "caught"


# %% [markdown]
# ### An upstream gradient of ones
#
# The quickest way to get a number out of an array is to sum it, and then `dy` is all ones. But the probabilities of a
# softmax **always** sum to 1. Their sum does not depend on $x$, so its gradient is zero, and a backward that returns
# nothing but zeros is "right".


# %%
def zeros(dprobs, cache):
    """A backward of softmax that does nothing."""
    return np.zeros_like(dprobs)


def naive_check(forward, backward, x):
    """Sum the output, and compare with np.allclose."""
    y, cache = forward(x)
    numerical = numerical_gradient(lambda x: np.sum(forward(x)[0]), x)
    return "passes" if np.allclose(backward(np.ones_like(y), cache), numerical) else "caught"


# %%
x = rng.standard_normal((2, 5))  # (N, V)
bad = naive_check(softmax_forward, zeros, x)
good = outcome(softmax_forward, zeros, {"x": x}, rng=rng)
table["softmax: zeros"] = {"the bad check": bad, "a good one": good}
print("the bad check:", bad)

# %% [markdown]
# The good check draws `dy` at random, and finds out at once. The bad one is fooled in the same way by a layer
# normalisation whose gain is 1 and bias 0: its outputs sum to zero for every $x$.
#
# ### Float32
#
# The variance is a mean, a sum divided by $C$. Some libraries divide by $C - 1$ instead, and the two are easily mixed
# up. Here is a backward of layer normalisation that divides by $C - 1$ in one of its two means:


# %%
def off_by_one(dy, cache):
    """dx of layer normalisation with C - 1 where C belongs."""
    dxhat = dy * cache.gain  # (N, C)
    mean_dxhat = dxhat.mean(axis=-1, keepdims=True)  # (N, 1)
    along_xhat = np.sum(dxhat * cache.xhat, axis=-1, keepdims=True) / (dy.shape[-1] - 1)  # (N, 1)
    return cache.inv_std * (dxhat - mean_dxhat - cache.xhat * along_xhat)


# %% [markdown]
# Checked in float32, with a step that suits it: how far are the right backward and the wrong one from what the
# forward says?


# %%
def error_in(dtype, backward, h):
    """The relative error of a layer normalisation's dx, everything being computed in one dtype."""
    x, dy = np.random.default_rng(1).standard_normal((2, 2, 256)).astype(dtype)  # (N, C) each
    one, zero = np.ones(256, dtype), np.zeros(256, dtype)  # (C,)
    found = numerical_gradient(lambda x: layernorm_forward(x, one, zero)[0], x, dy, h)  # (N, C)
    return np.linalg.norm(backward(dy, layernorm_forward(x, one, zero)[1]) - found) / np.linalg.norm(found)


# %%
for dtype, h in ("float32", 1e-3), ("float64", 1e-5):
    for name, backward in ("right", lambda dy, cache: layernorm_backward(dy, cache)[0]), ("wrong", off_by_one):
        print(f"{dtype}, {name}: {error_in(dtype, backward, h):.1e}")

# %% [markdown]
# In float32 both are off in the fourth digit: a bound that lets the right one pass lets the wrong one pass too. In
# float64 there are six orders of magnitude between them. That is why `check_op` takes nothing else:

# %%
x, gain, bias = (rng.standard_normal(shape) for shape in ((2, 32), 32, 32))  # (N, C), (C,), (C,)
try:
    check_op(layernorm_forward, off_by_one, {"x": x.astype("float32"), "gain": gain, "bias": bias}, rng=rng)
except TypeError as error:
    print(error)
bad = "passes" if error_in("float32", off_by_one, 1e-3) < 1e-2 else "caught"
good = "passes" if error_in("float64", off_by_one, 1e-5) < 1e-7 else "caught"
table["layer norm: C - 1"] = {"the bad check": bad, "a good one": good}

# %% [markdown]
# ### A square matrix
#
# Many people check shapes, and are right to: `dW` must have the shape of `W`. But a transpose has another shape only
# if the matrix is not square, and in a transformer most matrices are ($W_q, W_k, W_v, W_o$ all are $C \times C$).
# Here is a backward with $dW$ transposed. A check of the shape, and of the norm for good measure, finds nothing wrong
# with it:


# %%
def transposed(dy, cache):
    """linear_backward, with dW transposed."""
    dx, dW, dbias = linear_backward(dy, cache)
    return dx, dW.T, dbias


x, W, bias, dy = (rng.standard_normal(shape) for shape in ((2, 4), (4, 4), 4, (2, 4)))  # I = O = 4
y, cache = linear_forward(x, W, bias)  # (N, O)
right, wrong = linear_backward(dy, cache)[1], transposed(dy, cache)[1]  # (O, I) or (I, O)
bad = "passes" if wrong.shape == W.shape and np.isclose(np.linalg.norm(wrong), np.linalg.norm(right)) else "caught"
plots.matrices({"$dW$, right": right, "$dW$, wrong": wrong}, ("",))

# %% [markdown]
# Good checks give every dimension a size of its own, so that what does not fit raises an error before any number is
# compared, and they compare the numbers all the same.

# %%
W = rng.standard_normal((3, 4))  # (O, I), O = 3 and I = 4
good = outcome(linear_forward, transposed, {"x": x, "W": W, "bias": bias[:3]}, rng=rng)
table["linear: dW transposed"] = {"the bad check": bad, "a good one": good}
print("the bad check:", bad)

# %% [markdown]
# ### B = 0
#
# The last story is LoRA's own, and [the next notebook](03_lora_by_hand.ipynb) tells all of it. LoRA adds
# $\text{scale}\,(x A^\top) B^\top$ to a linear map, with a small matrix $B$ that is **zero at the start**. So it is
# natural to check the gradients at the start. But there, everything that passes through $B$ is zero, right or wrong:
# this backward forgets the scale in $dA$.

# %%
from minilora.ops import lora_linear_backward, lora_linear_forward


def forgets_scale(dy, cache):
    """lora_linear_backward with a dA that lacks the factor `scale`."""
    dx, dA, dB = lora_linear_backward(dy, cache)
    return dx, dA / cache.scale, dB


# %%
names, shapes = ("x", "W", "bias", "A", "B"), ((2, 5), (4, 5), 4, (3, 5), (4, 3))
arrays = {name: rng.standard_normal(shape) for name, shape in zip(names, shapes)}
at_start = arrays | {"B": np.zeros((4, 3))}  # (O, r)
bad = outcome(lora_linear_forward, forgets_scale, at_start, 2.0, rng=rng, wrt=("x", "A", "B"))
good = outcome(lora_linear_forward, forgets_scale, arrays, 2.0, rng=rng, wrt=("x", "A", "B"))
table["LoRA: scale forgotten"] = {"the bad check": bad, "a good one": good}
print("the bad check:", bad)

# %% [markdown]
# Check at a **generic** point: no zeros, no ones, nothing symmetric. All four stories in one picture:

# %%
plots.word_grid(table, {"passes": "orange", "caught": "blue"})

# %% [markdown]
# ## A second opinion
#
# The centred difference subtracts two numbers that are nearly equal, and that is where its digits go. There is a
# trick that subtracts nothing: step in an **imaginary** direction. For a formula that takes complex numbers,
# $f(x + ih) = f(x) + ih f'(x) - \dots$, so the imaginary part divided by $h$ is the derivative, and $h$ may be as
# small as $10^{-30}$:

# %%
arrays = {"x": rng.standard_normal((2, 5)), "gain": rng.uniform(0.5, 1.5, 5), "bias": np.ones(5)}  # (N, C), (C,), (C,)
for method in ("difference", "complex"):
    show(check_op(layernorm_forward, layernorm_backward, arrays, rng=rng, method=method))

# %% [markdown]
# ## It learns
#
# The pieces of this notebook are enough to train a model: a linear map, softmax with the logarithm of the right
# probability (cross-entropy, a pair like the others), and the gradients. Three clouds of points in the plane, a class
# each:

# %%
from minilora.ops import cross_entropy_backward, cross_entropy_forward

classes = rng.integers(0, 3, 200)  # (N,)
centres = np.array([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])  # (V, I)
points = centres[classes] + rng.standard_normal((200, 2))  # (N, I)

# %%
W, bias, losses, right = np.zeros((3, 2)), np.zeros(3), [], []  # (V, I), (V,)
for _ in range(60):
    logits, cache = linear_forward(points, W, bias)  # (N, V)
    loss, loss_cache = cross_entropy_forward(logits, classes)
    dlogits = cross_entropy_backward(1.0, loss_cache)  # (N, V)
    _, dW, dbias = linear_backward(dlogits, cache)
    W, bias = W - 0.5 * dW, bias - 0.5 * dbias
    losses.append(loss)
    right.append(100 * np.mean(logits.argmax(axis=1) == classes))

# %%
print(f"right at the start: {right[0]:.0f} %, at the end: {right[-1]:.0f} %")
plots.curves({"training": (range(1, 61), losses)}, x="step", y="loss")

# %% [markdown]
# Sixty steps downhill, by gradients that you can derive on paper. All the rest of this course is the same loop with
# larger models.
#
# ## On a GPU
#
# The formulas are the same, and so is the code ([notebook 10](10_gpu_and_checkpoints.ipynb)). Gradient checks are
# better made on a CPU: they need float64, in which many GPUs are slow, and they make many tiny calls, for each of
# which a GPU has to be started.
#
# ## Questions
#
# **1.** Why does `dbias` sum over the rows, while `dx` does not?
#
# <details><summary>Answer</summary>
#
# The same bias is added to every row, so it acts on the loss once for every row, and the effects add up. A row of $x$
# is used for one row of $y$ only. In `minilora`, everything that is shared (a weight, a bias, a position's embedding)
# gets a sum; everything that is used twice (such as $x$ in $x + f(x)$) gets a sum of two.
#
# </details>
#
# **2.** $dW$ for a single row of $x$: what is its rank? And for ten rows?
#
# <details><summary>Answer</summary>
#
# $dW = dy^\top x$ with one row each is an outer product, of rank 1 (or 0). With ten rows it is a sum of ten of them:
# at most 10.
#
# </details>
#
# **3.** A colleague checks a layer normalisation with `gain = 1` and `dy = 1`, and finds that returning zeros passes.
# What has gone wrong?
#
# <details><summary>Answer</summary>
#
# With gain 1 and bias 0, the outputs of each row sum to zero for every $x$. The loss "sum of all outputs" is
# constant, and its gradient is zero. With a random `dy` the loss does depend on $x$, and zeros no longer pass.
#
# </details>
#
# **4.** A check compares with an absolute tolerance of $10^{-2}$. The gradients in a layer are about $10^{-3}$. What
# does it find?
#
# <details><summary>Answer</summary>
#
# Nothing: zeros pass, and so does the negative of the gradient. Errors of gradients have to be compared with the
# gradient's size.
#
# </details>
#
# **5.** Why does the error of the centred difference grow when $h$ gets smaller than $10^{-5}$, although the formula
# gets more exact?
#
# <details><summary>Answer</summary>
#
# $f(x+h)$ and $f(x-h)$ are each rounded to sixteen digits. Their difference is about $2h f'$, so with $h = 10^{-10}$
# ten of the sixteen digits cancel. Relative to what is left, the rounding is $10^{-16} / 10^{-10} = 10^{-6}$.
#
# </details>

# %% [markdown]
# # 11. After LoRA
#
# **Goal.** Four later proposals, each with its formula next to its code: rsLoRA (another scale), LoRA+ (another
# learning rate for $B$), DoRA (length and direction apart, with its gradient checked), PiSSA (another start). One
# observation: intruder dimensions, by which LoRA's weights differ from those of full fine-tuning. And another kind of
# teacher: learning from rewards, with the policy gradient derived and checked, and how much rank that needs.
#
# **Minutes.** 75
#
# **Prerequisites.** [3. LoRA by hand](03_lora_by_hand.ipynb), [1. Rank](01_rank.ipynb).
#
# **Next.** [12. A Llama, forward and backward, and LoRA on it](12_a_llama.ipynb).
# To write it yourself: [exercise 16](exercises/README.md), `minilora exercises start 16`.

# %%
# %matplotlib inline
import numpy as np

from minilora import LoRAConfig, apply_lora, load_bundled, plots
from minilora.data import LMBatch
from minilora.ops import lora_linear_backward, lora_linear_forward
from minilora.parameter import Parameter
from minilora.training import AdamW, ParameterGroup

np.set_printoptions(precision=3, suppress=True)
rng = np.random.default_rng(0)

# %% [markdown]
# ## A small problem to try things on
#
# One linear layer of $I$ inputs and $O$ outputs whose $W$ is zero, examples $X$, and targets that a hidden matrix has
# made. Training has to find that matrix as $\text{scale}\; B A$. Its rank is `hidden`: with 64, no small rank can
# find all of it. `lr_ratio` is for later.


# %%
def fit(r, scale, *, lr, lr_ratio=1.0, size=64, hidden=64, steps=150):
    """The loss at every step of AdamW, from A random and B = 0, on a layer with I = O = size."""
    draw = np.random.default_rng(0)
    X = draw.standard_normal((128, size))  # (N, I)
    M = draw.standard_normal((size, hidden)) @ draw.standard_normal((hidden, size))  # (I, O), what is to be found
    A = Parameter(draw.uniform(-1, 1, (r, size)) / np.sqrt(size), name="A")  # (r, I)
    B = Parameter(np.zeros((size, r)), name="layer.B")  # (O, r)
    groups = [ParameterGroup([A]), ParameterGroup([B], lr_ratio=lr_ratio)]
    return descend(A, B, X, X @ M / np.sqrt(size * hidden), scale, AdamW(groups, lr=lr), steps)


# %%
def descend(A, B, X, target, scale, optimizer, steps):
    """Train A and B; the loss at every step."""
    losses = []
    for _ in range(steps):
        y, cache = lora_linear_forward(X, np.zeros((B.data.shape[0], X.shape[1])), None, A.data, B.data, scale)
        losses.append(np.mean((y - target) ** 2))
        _, A.grad, B.grad = lora_linear_backward((y - target) / len(X), cache)  # (r, I), (O, r)
        optimizer.step()
    return losses


# %% [markdown]
# ## rsLoRA: divide by the root
#
# LoRA scales by $\alpha / r$. [Notebook 3](03_lora_by_hand.ipynb) has shown why: in the first step all $r$ terms
# of $\Delta W x = \sum_k b_k (a_k \cdot x)$ agree, their sum grows like $r$, and the division keeps it the same. But
# terms that do **not** agree, like independent random numbers, add up to about $\sqrt r$ of them: positive and negative
# ones cancel. Then $\alpha / r$ divides too much, and the more so the larger $r$ is. Kalajdzievski
# ([2023](https://arxiv.org/abs/2312.03732)) therefore proposes **rank-stabilised** LoRA,
#
# $$\text{scale} = \frac{\alpha}{\sqrt r}.$$
#
# We draw $A$ and $B$ at random, with entries of the same size at every rank, and look how large $\Delta W x$ is:

# %%
ranks = 2 ** np.arange(9)
x, W0 = rng.standard_normal((50, 64)), np.zeros((64, 64))  # (N, I), (O, I)
scales = {r"$\alpha$": 0, r"$\alpha / \sqrt{r}$ (rsLoRA)": 0.5, r"$\alpha / r$ (LoRA)": 1}
sizes = {}
for label, power in scales.items():
    pairs = [(rng.standard_normal((r, 64)) / 8, rng.standard_normal((64, r)) / 8) for r in ranks]  # (r, I), (O, r)
    changes = [lora_linear_forward(x, W0, None, A, B, 8 / r**power)[0] for r, (A, B) in zip(ranks, pairs)]
    sizes[label] = ranks, [np.sqrt(np.mean(change**2)) for change in changes]
plots.curves(sizes, x="rank $r$", y=r"size of $\Delta W\,x$", log="xy")

# %% [markdown]
# The same picture as in [notebook 3](03_lora_by_hand.ipynb), but now it is the middle line that is flat. Both are
# right, for different moments of training. What happens when we train? The hidden matrix has full rank, so that every
# rank more should help.

# %%
several = 2 ** np.arange(7)
for lr in 1e-2, 1e-3:
    of_lora = [fit(r, 8 / r, lr=lr)[-1] for r in several]
    of_rslora = [fit(r, 8 / r**0.5, lr=lr)[-1] for r in several]
    print(f"learning rate {lr}, r = 64:  LoRA {of_lora[-1]:.3f}  rsLoRA {of_rslora[-1]:.3f}")
lines = {"LoRA": (several, of_lora), "rsLoRA": (several, of_rslora)}
plots.curves(lines, x=f"rank $r$ (learning rate {lr})", y="loss after 150 steps", log="x")

# %% [markdown]
# With the smaller learning rate, LoRA gains little from high ranks, and rsLoRA much. With the larger one, both arrive.
# A scale can always be traded for a learning rate; the point is not to have to search for a new one at each rank. At
# the small ranks that LoRA is made for, the two hardly differ.
#
# ### One flag, a factor of eight
#
# rsLoRA is a single word in a configuration, and the file of $A$ and $B$ looks the same with it. A program that
# overlooks the flag still runs, with a $\Delta W$ that is too small by $\sqrt r$: **users** met that in
# [TensorRT-LLM](https://github.com/NVIDIA/TensorRT-LLM/issues/1668) and
# [vLLM](https://github.com/vllm-project/vllm/pull/6909).

# %%
for rslora in False, True:
    model = load_bundled("decoder")
    apply_lora(model, LoRAConfig(rank=64, alpha=16, rslora=rslora), rng=rng)
    print(f"rslora={rslora!s:5}  scale = {model.blocks[0].attn.q_proj.scale}")

# %% [markdown]
# A reader has to honour what a file says, or to refuse it. `save_peft` writes the flag, and `load_peft` reads it:

# %%
import json
import tempfile
from pathlib import Path

from minilora.interop import load_peft, save_peft

with tempfile.TemporaryDirectory() as folder:
    save_peft(model, folder)
    print("use_rslora in the file:", json.loads((Path(folder) / "adapter_config.json").read_text())["use_rslora"])
    loaded = load_bundled("decoder")
    load_peft(loaded, folder)
print("scale after loading:", loaded.blocks[0].attn.q_proj.scale)

# %% [markdown]
# ## LoRA+: B may learn faster
#
# $A$ starts random and $B$ at zero, and they play different parts: $A$ chooses directions of the input, $B$ says what
# to do with them. Why should one learning rate suit both? Hayou et al. ([2024](https://arxiv.org/abs/2402.12354))
# look at layers that become wider and wider. Each entry of $A x$ is a sum over $I$ features, so that a small step of
# every entry of $A$ makes a large change there; an entry of $Bh$ is a sum over $r$ only. So
#
# $$\eta_A \propto \frac1I, \qquad \eta_B \propto 1, \qquad \eta_B = \lambda\, \eta_A \ \text{ with } \lambda > 1.$$
#
# They recommend a $\lambda$ of about 16. **Users ask** which of the two is "B" ([peft
# 1504](https://github.com/huggingface/peft/issues/1504), [sd-scripts
# 1233](https://github.com/kohya-ss/sd-scripts/pull/1233)): the one that **starts at zero**, of shape $(O, r)$, called
# up projection elsewhere. In code $B$ is a group of its own in the optimizer, and the ratio is one number:

# %%
layer = {name: Parameter(np.zeros((2, 2)), name=f"q_proj.{name}") for name in "AB"}  # (r, I), (O, r)
optimizer = AdamW([ParameterGroup([layer["A"]]), ParameterGroup([layer["B"]], lr_ratio=16)], lr=0.001)
for p in layer.values():
    p.grad = np.ones((2, 2))
optimizer.step()
for name, p in layer.items():
    print(f"{name} has moved by {-p.data[0, 0]:.3f}")

# %% [markdown]
# The small problem, made wider (256 features) and of rank 4, with the same rate for $A$ in all runs:

# %%
curves = {rf"$\lambda$ = {ratio}": fit(4, 2.0, lr=1e-3, lr_ratio=ratio, size=256, hidden=4) for ratio in (1, 4, 16)}
plots.curves({label: (range(150), losses) for label, losses in curves.items()}, x="step", y="loss", log="y")

# %% [markdown]
# Faster, by a good deal. But is it $\lambda$, or would a larger rate for both have done as well?

# %%
curves = {"0.001, and 16 times as much for $B$": fit(4, 2.0, lr=1e-3, lr_ratio=16, size=256, hidden=4)}
for lr in 0.004, 0.016:
    curves[f"{lr} for both"] = fit(4, 2.0, lr=lr, size=256, hidden=4)
plots.curves({label: (range(150), losses) for label, losses in curves.items()}, x="step", y="loss", log="y")

# %% [markdown]
# Not here: a larger rate for both does even better. So our small problem shows **that** $B$ can learn faster, and not
# that it should do so alone. $\lambda$ helps where $\eta_A$ cannot be raised any more, because training would become
# unstable, as in wide and deep models; a single layer is neither. Whoever compares LoRA+ with LoRA has to tune the
# rate of both, or it is the learning rate that is being compared.
#
# ## DoRA: length and direction
#
# A row of $W$ is an arrow: it has a length and a direction. Liu et al. ([2024](https://arxiv.org/abs/2402.09353))
# noticed that full fine-tuning often changes one much and the other little, while LoRA changes both together. So they
# learn them separately. LoRA turns the arrow, and a new vector $m$, a number for each row, sets the length:
#
# $$V = W + \text{scale}\; B A, \qquad W'_o = m_o \,\frac{V_o}{\|V_o\|} \quad\text{for each row } o.$$

# %%
row, change, m = np.array([2.0, 0.8]), np.array([-0.9, 1.2]), 2.9
V_row = row + change  # (I,)
W_new = m * V_row / np.linalg.norm(V_row)  # (I,)
plots.arrows({"$W_o$": row, "$W'_o$": W_new, "$V_o$": V_row}, distinct=True)

# %% [markdown]
# $m$ starts as the lengths of $W$'s rows, so that $W' = W$ while $B = 0$. It adds $O$ numbers to LoRA's $r (O + I)$.
# The package computes $W'$ without forming it: each output is multiplied with its $m_o / \|V_o\|$.

# %%
from minilora.ops import dora_linear_backward, dora_linear_forward

I, O, r, scale = 5, 4, 2, 1.5
arrays = {
    "x": rng.standard_normal((3, I)),
    "W": rng.standard_normal((O, I)),
    "bias": rng.standard_normal(O),
    "A": rng.standard_normal((r, I)),
    "B": rng.standard_normal((O, r)),
    "m": rng.uniform(0.5, 2, O),
}

# %%
y, cache = dora_linear_forward(*arrays.values(), scale)  # (N, O)
V = arrays["W"] + scale * arrays["B"] @ arrays["A"]  # (O, I)
W_new = arrays["m"][:, None] * V / np.linalg.norm(V, axis=1, keepdims=True)  # (O, I)
print("the same as with W':", np.allclose(y, arrays["x"] @ W_new.T + arrays["bias"]))
print("lengths of its rows:", np.linalg.norm(W_new, axis=1), " m:", arrays["m"])

# %% [markdown]
# ### Along which axis?
#
# **Users ask** whether the length is that of rows or of columns ([DoRA 1](https://github.com/nbasyl/DoRA/issues/1),
# [DoRA 11](https://github.com/NVlabs/DoRA/issues/11), [peft 2348](https://github.com/huggingface/peft/issues/2348)).
# The paper's formula has a norm "across each column"; the released code takes it along axis 1 of a weight that is
# stored as (O, I), which gives a number for each **output**. So does PEFT, and so do we. The wrong axis is easily
# overlooked, because at the start it makes no difference at all:

# %%
W = arrays["W"]  # (O, I)
for axis, name in (1, "each output"), (0, "each input"):
    m0 = np.linalg.norm(W, axis=axis, keepdims=True)  # (O, 1) or (1, I)
    start, later = m0 * W / m0, m0 * V / np.linalg.norm(V, axis=axis, keepdims=True)  # (O, I)
    print(f"a length for {name}: W' = W at the start: {np.allclose(start, W)};  later, first row", later[0])

# %% [markdown]
# ### The gradient
#
# Write $u = x V^\top$ and $g_o = m_o / \|V_o\|$. Then $y = g * u + \text{bias}$, and $u$ is LoRA's own output. So
# $dm_o = (\sum_n dy_{no} u_{no}) / \|V_o\|$, and with $du = dy * g$ in place of $dy$, all of LoRA's formulas hold.
# **Except** that $\|V_o\|$ depends on $A$ and $B$ as well. With $G = du^\top x$, the gradient of $V$ would be $G$
# alone; the norm takes away the part of it along $V$, since lengthening an arrow that is normalised afterwards does
# nothing:
#
# $$dV_o = G_o - \Big(G_o \cdot \frac{V_o}{\|V_o\|}\Big) \frac{V_o}{\|V_o\|}.$$
#
# The paper leaves that term out, treats the norm as a constant, and saves memory. The package can do both. The exact
# one must pass the check:

# %%
from minilora.gradcheck import GradientError, check_op

wrt = "x", "A", "B", "m"
errors = check_op(dora_linear_forward, dora_linear_backward, arrays, scale, rng=rng, wrt=wrt)
print(",  ".join(f"{name}: {error:.0e}" for name, error in errors.items()))

# %% [markdown]
# and the other one must not. It is not the gradient of this function, and the check says where:


# %%
def constant_norm(dy, cache):
    """DoRA's backward as its paper has it: as if the norm did not depend on A and B."""
    return dora_linear_backward(dy, cache._replace(V=None))


try:
    check_op(dora_linear_forward, constant_norm, arrays, scale, rng=rng, wrt=wrt)
except GradientError as error:
    print(error)

# %% [markdown]
# How different are the two? As directions, for $A$ and for $B$:

# %%
dy = rng.standard_normal(y.shape)  # (N, O)
exact, approximate = dora_linear_backward(dy, cache), constant_norm(dy, cache)
for k, name in enumerate(wrt):
    cosine = np.sum(exact[k] * approximate[k]) / np.linalg.norm(exact[k]) / np.linalg.norm(approximate[k])
    print(f"d{name}: cosine {cosine:.2f}")

# %%
k = wrt.index("A")
plots.matrices({"$dA$, exact": exact[k], "$dA$, constant norm": approximate[k]}, own_scale=True)

# %% [markdown]
# It points roughly the same way; $dx$ and $dm$ are exact. Here, a layer with five inputs, the part along $V$ is one
# dimension of five. In a layer with 768 inputs it is one of 768, and usually much less of the gradient.
# `LoRAConfig(dora=True)` takes the paper's, `dora_exact=True` the exact one.
#
# ## PiSSA: start where W is strong
#
# LoRA begins with random directions, and has to find the good ones. Meng et al.
# ([2024](https://arxiv.org/abs/2404.02948)) begin with the directions in which $W$ does most: from the singular value
# decomposition $W = U S V^\top$, the first $r$ go into $B$ and $A$, and the rest is frozen,
#
# $$B_0 = U_r \big(\tfrac{S_r}{\text{scale}}\big)^{1/2}, \quad
# A_0 = \big(\tfrac{S_r}{\text{scale}}\big)^{1/2} V_r^\top, \quad
# W_{\text{res}} = W - \text{scale}\; B_0 A_0.$$

# %%
from minilora.analysis import singular_values

model = load_bundled("decoder")
apply_lora(model, LoRAConfig(rank=16, alpha=16, init="pissa"), rng=rng)
layer = model.blocks[0].attn.q_proj
spectra = {"$W$": singular_values(layer.base.W.data), r"$W_{res}$, frozen": singular_values(layer.factors.W_res)}
spectra["$BA$, trained"] = singular_values(layer.B.data @ layer.A.data)[:16]
plots.singular_values(spectra, of="W")

# %% [markdown]
# At the start nothing has changed, as with LoRA (up to rounding here, for $W_{\text{res}} + BA$ is $W$ only to seven
# digits). But both gradients are there from the first step, and they are large, because $A$ and $B$ are:

# %%
lora = load_bundled("decoder")
ids = rng.integers(0, 256, (2, 33))  # (N, T + 1)
logits = lora.forward(ids)[0]  # (N, T, V)
print(f"largest difference of the logits: {np.abs(model.forward(ids)[0] - logits).max():.0e}")
apply_lora(lora, LoRAConfig(rank=16, alpha=16), rng=rng)
for name, adapted in ("LoRA", lora), ("PiSSA", model):
    _, cache = adapted.loss(LMBatch(ids[:, :-1], ids[:, 1:], np.ones((2, 32), dtype=bool)))
    adapted.backward_loss(1.0, cache)
    q = adapted.blocks[0].attn.q_proj
    print(f"{name:5}  norm of dA {np.linalg.norm(q.A.grad):.3f}, of dB {np.linalg.norm(q.B.grad):.3f}")

# %% [markdown]
# One consequence for files: against the original $W$, PiSSA's change is $\text{scale}\,(BA - B_0 A_0)$, of rank up to
# $2r$. Whoever adds its $A$ and $B$ to the original $W$, as if it were LoRA, counts the strongest directions twice.
#
# ## Intruder dimensions
#
# Two models may answer alike and yet be different inside. Shuttleworth et al.
# ([2024](https://arxiv.org/abs/2410.21228)) compare the singular vectors of a weight before and after. Let $x_i$ be
# those of $W$ and $y_j$ those of the tuned $W$, the directions of the output. If $y_j$, one of the strongest, is not
# similar to **any** $x_i$,
#
# $$\max_i |y_j \cdot x_i| < \epsilon,$$
#
# it has been brought in from outside: an **intruder dimension**. Begin with a made-up change of rank 1, in a random
# direction, and let it grow (with a live kernel, by the slider):

# %%
from minilora.analysis import intruder_dimensions

W = load_bundled("decoder").blocks[2].attn.q_proj.W.data  # (O, I)
u, v = (vector / np.linalg.norm(vector) for vector in rng.standard_normal((2, 192)))  # (O,), (I,)
strongest = singular_values(W)[0]


# %%
def with_change(size=0.6):
    """The cosines of the ten strongest directions after a change as large as `size` times W's strongest one."""
    found = intruder_dimensions(W, W + size * strongest * np.outer(u, v), k=10)
    lines = {f"change of {size:.1f}: {found.count} of 10": (range(1, 11), found.cosines)}
    lines[r"$\epsilon$ = 0.5"] = [1, 10], [0.5, 0.5]
    return plots.curves(lines, x="direction $j$ of the tuned weight", y=r"largest $|y_j \cdot x_i|$")


plots.sliders(with_change, size=(0.0, 1.5, 0.1))

# %%
with_change(0.6)

# %% [markdown]
# A single strong change appears as a direction of its own among $W$'s, at the place that its size gives it; the
# directions around it are mixed with it. A small one does not show: move the slider to 0.2.
#
# Now two real ones: LoRA and full fine-tuning, 20 steps each on the same batches, with learning rates that bring the
# loss to about the same place.

# %%
from minilora import FullConfig, apply_method
from minilora.data import load_task
from minilora.training import TrainConfig, Trainer

task = load_task("mini-e2e", length=256, n_train=300, n_held_out=1)
every = "q_proj", "k_proj", "v_proj", "o_proj", "fc_in", "fc_out"
lora = LoRAConfig(rank=8, alpha=16, targets=every)
methods = {"LoRA": (lora, 1e-2), "full fine-tuning": (FullConfig(), 1e-3)}  # and their learning rates

# %%
tuned = {}
for name, (method, lr) in methods.items():
    tuned[name] = model = load_bundled("decoder")
    apply_method(model, method, rng=rng)
    config = TrainConfig(steps=20, lr=lr)
    losses = Trainer(model, lambda rng: task.sample_batch(rng, 3), config).run(progress=False).losses
    print(f"{name}: loss {losses[0]:.1f} -> {np.mean(losses[-3:]):.1f}")

# %%
by_lora, by_full = (model.blocks[2].attn.q_proj for model in tuned.values())
lines = {}
for name, W_tuned in {"LoRA": W + by_lora.delta_W(), "full fine-tuning": by_full.W.data}.items():
    found = intruder_dimensions(W, W_tuned, k=10)
    lines[f"{name}, {found.count} of 10"] = range(1, 11), found.cosines
lines[r"$\epsilon$ = 0.5"] = [1, 10], [0.5, 0.5]
plots.curves(lines, x="direction $j$ of the tuned weight", y=r"largest $|y_j \cdot x_i|$")

# %% [markdown]
# Full fine-tuning has left these ten directions nearly as they were. LoRA has turned several of them, though none so
# far as to be called an intruder. Is that all, over the whole model? The ten strongest directions of every matrix:

# %%
from minilora.methods import lora_layers

full = {p.name: p.data for p in tuned["full fine-tuning"].parameters()}
found = {"LoRA": [], "full fine-tuning": []}
for path, layer in lora_layers(tuned["LoRA"]).items():
    W = layer.base.W.data  # (O, I)
    found["LoRA"].append(intruder_dimensions(W, W + layer.delta_W(), k=10))
    found["full fine-tuning"].append(intruder_dimensions(W, full[f"{path}.W"], k=10))
for name, each in found.items():
    mean = np.mean([f.cosines for f in each])
    print(f"{name:17} {sum(f.count for f in each)} of {10 * len(each)} are intruders; mean cosine {mean:.2f}")

# %% [markdown]
# LoRA has brought in a few, full fine-tuning none, which is what the authors report. But be careful with the word
# "because": LoRA had ten times the learning rate, its $\Delta W$ is larger, and the slider has shown that the size of a
# change alone decides whether it shows. A fair comparison would be at changes of the same size, or at the same loss
# after long training.
#
# ## Learning from rewards
#
# So far somebody has written down the right answer, token by token. Often one can only say **how good** an answer is: a
# program passes its tests, a sentence says all that it should. Then the model draws answers $y$ itself, with the
# probability $\pi(y \mid x)$, and the expected reward is to grow:
#
# $$J = \mathbb{E}\,[R(y)] = \sum_y \pi(y \mid x)\, R(y).$$
#
# The reward has no gradient, and needs none. With $\nabla \pi = \pi\, \nabla \log \pi$ the sum becomes an expectation
# again, which the answers that were drawn can estimate. This is REINFORCE (Williams, 1992):
#
# $$\nabla J = \mathbb{E}\,\big[(R - b) \textstyle\sum_t \nabla \log \pi(y_t \mid y_{<t}, x)\big].$$
#
# The **baseline** $b$ can be anything that does not depend on $y$. It changes nothing in the mean, for probabilities
# sum to one: $\mathbb{E}\,[b\, \nabla \log \pi] = b\, \nabla \sum_y \pi = 0$. As a loss to be minimised, for $N$
# answers with advantages $a_n = R_n - b_n$:
#
# $$L = -\frac1N \sum_n a_n \sum_t \log \pi(y_{nt}), \qquad d\text{logits}_{nt} = \frac{a_n}{N}\,
# (\text{probs}_{nt} - \text{onehot}(y_{nt})).$$
#
# That is cross-entropy with the model's own answers as targets, each with a weight: a good answer pulls, a bad one
# pushes. Only tokens that were drawn count, not the prompt's. The baseline of an answer is here the mean reward of the
# other answers to the same prompt. First, is the gradient right?

# %%
from minilora.gradcheck import check_op
from minilora.ops import leave_one_out, policy_gradient_backward, policy_gradient_forward

logits, targets = rng.standard_normal((4, 3, 6)), rng.integers(0, 6, (4, 3))  # (N, T, V), (N, T)
drawn = np.array([[0, 1, 1], [0, 1, 0], [0, 1, 1], [0, 1, 1]], dtype=bool)  # (N, T)
advantages = leave_one_out(np.array([1.0, 0.0, 0.0, 1.0]))  # (N,) four answers to one prompt
print("advantages:", advantages)
backward, arrays = policy_gradient_backward, {"logits": logits}
errors = check_op(policy_gradient_forward, backward, arrays, targets, advantages, drawn, rng=rng)
print(f"relative error of dlogits: {errors['logits']:.1e}")

# %% [markdown]
# Second, is the estimate right in the mean? With answers of a single token we can list them all. Each answer's
# estimate, times its probability, must sum to the slope of $J$, whatever the baseline is:

# %%
from minilora.gradcheck import numerical_gradient
from minilora.ops import softmax_forward

theta, R = rng.standard_normal(4), np.array([1.0, 0.0, 0.0, 0.5])  # (V,), (V,)
slope = numerical_gradient(lambda theta: softmax_forward(theta)[0] @ R, theta)  # (V,)
answers, everywhere = np.arange(4)[:, None], np.ones((4, 1), dtype=bool)  # (N, T), all four of them
probs, _ = softmax_forward(theta)  # (V,)
print("slope of J:    ", slope)

# %%
logits = np.tile(theta, (4, 1, 1))  # (N, T, V)
for b in (0.0, probs @ R, 5.0):
    _, cache = policy_gradient_forward(logits, answers, R - b, everywhere)
    estimates = -4 * policy_gradient_backward(1.0, cache)[:, 0]  # (N, V): the loss has divided by N = 4
    noise = probs @ np.sum((estimates - slope) ** 2, axis=1)
    print(f"b = {b:.2f}: mean", probs @ estimates, f"noise {noise:.2f}")

# %% [markdown]
# The mean is the same for all three, the noise is not: with a baseline near the expected reward, an answer says whether
# it is **better than usual**; with none, merely that it is good.
#
# ### How much rank do rewards need?
#
# An answer that is right or wrong tells at most **one bit**, however long it is. "LoRA Without Regret" (Schulman and
# Thinking Machines, [2025](https://thinkingmachines.ai/blog/lora/)) puts it so: supervised learning "arguably provides
# O(number of tokens) bits per episode", whereas "in policy gradient methods, learning is driven by the advantage
# function which provides only O(1) bits per episode". Few bits need few numbers, and in their experiments "LoRA fully
# matches the learning performance of FullFT when running policy gradient algorithms for reinforcement learning, even
# with ranks as low as 1". In small: 16 prompts, 6 possible answers, and for each prompt one of two is right.

# %%
from minilora.models.sampling import Sampling

S, alpha = 8, 8.0  # answers to each prompt; scale = alpha / r
X = np.repeat(rng.standard_normal((16, 12)), S, axis=0)  # (N, I)
right = (X @ rng.standard_normal(12) > 0).astype(int)  # (N,) which answer
W = np.zeros((6, 12))  # (O, I), O = V


# %%
def answer_and_learn(A, B):
    """Draw an answer to each prompt; the gradients of A and B, and the mean reward."""
    logits, cache = lora_linear_forward(X, W, None, A.data, B.data, alpha / len(A.data))  # (N, V)
    tokens = Sampling(temperature=1.0).choose(logits, rng)  # (N,)
    rewards = (tokens == right).astype(float)  # (N,)
    advantages = leave_one_out(rewards.reshape(-1, S)).ravel()  # (N / S, S) -> (N,)
    drawn = np.ones((len(X), 1), dtype=bool)  # (N, T), T = 1
    _, loss_cache = policy_gradient_forward(logits[:, None], tokens[:, None], advantages, drawn)
    _, A.grad, B.grad = lora_linear_backward(policy_gradient_backward(1.0, loss_cache)[:, 0], cache)
    return rewards.mean()


# %%
curves = {}
for r in (1, 2, 6):
    A = Parameter(rng.uniform(-1, 1, (r, 12)) / np.sqrt(12), name="A")  # (r, I)
    B, rewards = Parameter(np.zeros((6, r)), name="B"), []  # (O, r)
    optimizer = AdamW([A, B], lr=0.01)
    for _ in range(150):
        rewards.append(answer_and_learn(A, B))
        optimizer.step()
    curves[f"r = {r}"] = (range(150), rewards)
plots.curves(curves, x="step", y="mean reward")

# %% [markdown]
# All ranks start alike, which is what $\alpha / r$ is for, and all get to 14 or 15 of the 16 prompts; with another seed
# it is another rank that has one more. For which of two answers is right is a matter of one direction of $x$, and rank
# 1 has one. (With a single layer that is also all that it has: see question 6. Question 7 says why none gets to 16.)
#
# On a language model, with rank 1 in each of its matrices, it is `minilora reproduce policy_gradient`: the decoder
# draws its own sentences, and a parser says which are right. Of those drawn on test 29 % were right before; after 3,200
# rewards 34 % with rank 1, 37 % with rank 8, and 42 % with full fine-tuning, over three seeds. So rank 1 learns, but
# less in these few steps, although 3,200 rewards carry at most 2,769 bits and rank 1 has 13,824 numbers. Three seeds
# do not settle whether it is behind by more than five points.
#
# ### Where LoRA falls behind
#
# The same authors found where it does, with supervised learning and the best learning rate for each setting:
#
# - **Rank.** "For datasets that exceed LoRA capacity, LoRA underperforms FullFT." A low rank follows the curve of full
#   fine-tuning at first, and leaves it the sooner, the lower it is.
# - **Layers.** "Attention-only LoRA underperforms even when we match the number of trainable parameters".
# - **Batches.** LoRA "pays a larger penalty in loss as batch size increases beyond some point", whatever its rank.
# - **Learning rate.** LoRA's best one is about ten times that of full fine-tuning, and depends little on the rank.
#
# These are claims of theirs, not of LoRA's paper. `minilora reproduce regret` puts each to the test in small: the
# bundled decoder learns code, 1,024 windows of 256 bytes, with three seeds. There, too, the attention alone is worst,
# and rank 1 falls behind rank 8. But full fine-tuning is ahead of **every** rank, 64 included, from the first
# measurement on, and LoRA's best learning rate is two to four times as high as its, not ten times. A likely reason: so
# small a model, which has read prose, has much to learn before it can predict code. (Whether large batches cost
# LoRA more, three seeds cannot tell. The numbers are among [the figures](../figures/README.md), under "regret".)
#
# ## And more
#
# Each of these is a small change of what you have seen. The package has them, too: `minilora finetune --method` takes
# `lora-fa`, `vera`, `adalora` and `lora-ga`.
#
# - LoRA-FA ([2023](https://arxiv.org/abs/2308.03303)): only $B$ is trained, so that of $x$ only $xA^\top$ is kept.
# - VeRA ([2023](https://arxiv.org/abs/2310.11454)): $A$ and $B$ are random, frozen, and the same in all layers; two
#   vectors that scale their rows are trained.
# - AdaLoRA ([2023](https://arxiv.org/abs/2303.10512)): $\Delta W = P \Lambda Q$; those entries of $\Lambda$ that matter
#   least are cut off during training.
# - LoRA-GA ([2024](https://arxiv.org/abs/2407.05000)): $A$ and $B$ start as singular directions of the first full
#   gradient.
#
# [The figures](../figures/README.md), under "family", compare them with ten others at one budget, on the bundled
# decoder.
#
# And one that compares. "LoRA Learns Less and Forgets Less" ([2024](https://arxiv.org/abs/2405.09673)): with much data
# and far from the pretraining, full fine-tuning learns more, by changes of a rank ten to a hundred times LoRA's, and
# forgets more.
#
# ## On a GPU
#
# rsLoRA and LoRA+ cost nothing. DoRA needs the lengths of the rows of $W + \text{scale}\,BA$ at each step, an $O \times
# I$ product that LoRA avoids; on a GPU it is quick, but needs the memory. PiSSA needs a singular value decomposition of
# each adapted $W$ once, which is slow on large ones, on a CPU as on a GPU (its authors use an approximate one).
#
# ## Questions
#
# **1.** Somebody trains with $\alpha = 16$ at $r = 16$, then wants $r = 64$, with rsLoRA, and the same scale as before.
# Which alpha?
#
# <details><summary>Answer</summary>
#
# The scale was $16/16 = 1$. With rsLoRA, $\alpha / \sqrt{64} = 1$ needs $\alpha = 8$. Switching the flag on without
# changing alpha would have made it 2.
#
# </details>
#
# **2.** A library stores the matrix that starts at zero under the name `lora_A`. You switch on LoRA+ with $\lambda =
# 16$. What happens?
#
# <details><summary>Answer</summary>
#
# If the optimizer finds $B$ by its name, the random matrix gets the large rate, and the zero one the small: the reverse
# of what was intended. Nothing crashes. Look at the shapes: $B$ is the one with $O$ rows.
#
# </details>
#
# **3.** Why must the exact $dV_o$ be at a right angle to $V_o$?
#
# <details><summary>Answer</summary>
#
# $W'_o$ does not change when $V_o$ is made longer, because it is normalised. Along a direction in which nothing
# changes, the gradient is zero. It is the same argument as for layer normalisation in
# [notebook 2](02_backprop_by_hand.ipynb).
#
# </details>
#
# **4.** DoRA's $\Delta W = W' - W$: what is its rank?
#
# <details><summary>Answer</summary>
#
# In general full: every row of $W$ has been multiplied with a number of its own, $m_o / \|V_o\|$, and $\text{diag}(g)
# W - W$ has as many independent rows as $W$ has with $g_o \neq 1$. So it cannot be stored as a $B$ and an $A$, and
# `adapter_factors` refuses it.
#
# </details>
#
# **5.** Does an intruder dimension prove that a model has become worse?
#
# <details><summary>Answer</summary>
#
# No. It says that the weight has a strong direction that it had not. The authors find that models with more of them
# forget more of what they had learned, and that scaling these directions down brings some of it back; that has to be
# measured on the old task, not seen in the spectrum.
#
# </details>
#
# **6.** In the example with rewards, let one of four answers be right, not one of two. Could rank 1 learn it?
#
# <details><summary>Answer</summary>
#
# No. With rank 1 the logits are $B\,(a^\top x)$, a number times the same vector: where $a^\top x$ is positive, the
# answer with the largest entry of $B$ wins, and where it is negative, that with the smallest. So a single layer can
# prefer two answers, whatever it has learned. The bits were never the limit here. A language model has rank 1 in many
# matrices, with nonlinear functions between them.
#
# </details>
#
# **7.** All eight answers to a prompt are wrong. What does the model learn from them?
#
# <details><summary>Answer</summary>
#
# Nothing: all advantages are zero. A policy that never gets a reward does not learn, and neither does one that always
# does. So REINFORCE comes after some supervised training, and with prompts that are neither too hard nor too easy.
#
# </details>

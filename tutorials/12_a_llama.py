# %% [markdown]
# # 12. A Llama, forward and backward, and LoRA on it
#
# **Goal.** See what today's language models have that GPT-2 has not, and derive each part's backward: RMSNorm, rotary
# positions, a gated MLP, heads that share keys and values. Then adapt one by LoRA, with the loss on the answers alone.
#
# **Minutes.** 70
#
# **Prerequisites.** [4. A transformer, forward and backward](04_a_transformer.ipynb) and [5. Pretrain, then
# adapt](05_pretrain_then_adapt.ipynb).
#
# **Next.** [13. A base in four bits](13_four_bits.ipynb).
# To write it yourself: [exercises 17, 18 and 19](exercises/README.md), `minilora exercises start 17`.

# %%
# %matplotlib inline
import numpy as np

from minilora import Llama, LlamaConfig, LoRAConfig, apply_lora, plots, set_adapter
from minilora.data import ByteTokenizer, LMBatch, load_task
from minilora.gradcheck import GradientError, check_model, check_op
from minilora.interop.opening import open_language_model

np.set_printoptions(precision=3, suppress=True)
rng = np.random.default_rng(0)


def show(errors):
    print(",  ".join(f"{name}: {error:.0e}" for name, error in errors.items()))


# %% [markdown]
# ## Which model this is
#
# The code below is that of Llama, Mistral, Qwen and SmolLM: they differ in sizes. If SmolLM2 is installed (`make
# llm`: 135 million parameters, 98 MB to download, once), the notebook runs on it, and what it writes is English. If
# not, it runs on a tiny Llama with random weights: every shape and every gradient is as interesting, and every
# sentence is noise.

# %%
SIZES = dict(vocab_size=256, n_positions=512, n_layer=3, d_model=48, n_head=6, n_kv_head=2, d_mlp=128, tied_head=True)
try:
    opened = open_language_model("smollm2")
    model, tokenizer = opened.model, opened.tokenizer
except RuntimeError:  # not installed
    model, tokenizer = Llama(LlamaConfig(**SIZES), rng), ByteTokenizer()
real = model.config.vocab_size > 256
print("This is SmolLM2." if real else "This is a tiny Llama with random weights. For a real one: make llm")

# %%
c = model.config
H, G, K = c.n_head, c.n_kv_head, c.head_size
print(f"L = {c.n_layer}, C = {c.d_model}, F = {c.d_mlp}, H = {H}, G = {G}, K = {K}, V = {c.vocab_size:,}")
print(f"{sum(p.data.size for p in model.parameters()):,} parameters")
for name, p in model.blocks[0].named_parameters():
    print(f"  {name:22}{p.data.shape}")

# %% [markdown]
# Compare with GPT-2's block in [notebook 4](04_a_transformer.ipynb). No biases; norms with a gain and nothing more;
# `k_proj` and `v_proj` are smaller than `q_proj`; the MLP has three matrices, not two; and nowhere is there an
# embedding for positions. One part at a time.
#
# ## RMSNorm: one term less
#
# LayerNorm takes a row's mean away and divides by its standard deviation. RMSNorm only divides, by the root of the
# mean square:
#
# $$\hat x = \frac{x}{\text{rms}}, \qquad \text{rms} = \sqrt{\tfrac1C \textstyle\sum_c x_c^2 + \epsilon}, \qquad y =
# \text{gain} \cdot \hat x .$$
#
# For the backward, $\text{rms}$ depends on every $x_j$ of its row: $\partial(1/\text{rms})/\partial x_j = -x_j / (C\,
# \text{rms}^3)$. So each $x_j$ reaches the loss in two ways, its own and through the norm of all,
#
# $$dx = \frac{1}{\text{rms}}\Big(d\hat x - \hat x \cdot \text{mean}(d\hat x \cdot \hat x)\Big), \qquad d\hat x =
# dy \cdot \text{gain}.$$
#
# LayerNorm has a third term, $-\text{mean}(d\hat x)$, because it does not see a shift of $x$. RMSNorm does. Let us
# check ours, and let the check find the mistake of somebody who kept the third term:

# %%
from minilora.ops import rmsnorm_backward, rmsnorm_forward

x, gain = rng.standard_normal((2, 3, 7)), rng.uniform(0.5, 2.0, 7)  # (N, T, C), (C,)
show(check_op(rmsnorm_forward, rmsnorm_backward, {"x": x, "gain": gain}, rng=rng))


# %%
def with_a_third_term(dy, cache):
    dx, dgain = rmsnorm_backward(dy, cache)
    return dx - (cache.inv_rms * dy * cache.gain).mean(axis=-1, keepdims=True), dgain  # (N, T, C), (C,)


try:
    check_op(rmsnorm_forward, with_a_third_term, {"x": x, "gain": gain}, rng=rng)
except GradientError as error:
    print(error)

# %% [markdown]
# ## Rotary positions
#
# Attention by itself does not know what comes first. GPT-2 adds an embedding of the position to each token. Llama
# **turns** queries and keys instead. The $K$ numbers of a head are $K/2$ points in planes, and at position $t$ the
# point of plane $i$ is turned by the angle $t f_i$, where $f_i = \theta^{-2i/K}$: the first plane turns by one radian
# from each position to the next, the later ones slower and slower. Twelve positions of a small head, $K = 12$ and
# $\theta = 100$:

# %%
from minilora.ops import rope_backward, rope_forward, rope_frequencies, rope_table

plots.rotations(np.outer(np.arange(12), rope_frequencies(12, 100.0)))  # angles: (T, K / 2)

# %% [markdown]
# Like the hands of a clock, the fast planes tell near positions apart, and the slow ones far ones. And what does
# attention see of it? The product of a query at position $t$ and a key at $s$. Both are turned, and a product of two
# vectors does not change if both are turned alike: only the **difference** $t - s$ is left. Take one query and one
# key, and put them three positions apart, anywhere:

# %%
q, k = rng.standard_normal((2, 1, 1, 1, 12))  # (N, H, T, K), one position each


def standing_at(x, position):
    """A query or key, turned as it is at a position."""
    cos, sin = rope_table(np.array([position]), rope_frequencies(12, 100.0), "float64")  # (T, K / 2)
    return rope_forward(x, cos, sin)[0]  # (N, H, T, K)


for s in 0, 5, 200:
    print(f"key at {s:3}, query at {s + 3:3}: q k = {np.sum(standing_at(q, s + 3) * standing_at(k, s)):.12f}")

# %% [markdown]
# So a text means the same wherever it begins, and no position needs to be learned. How does the product depend on the
# distance? The slider sets the head's $\theta$. The larger it is, the longer the slow planes take to come round, and
# the further a head can look without mistaking one distance for another.


# %%
def by_distance(theta=100):
    """The product of a query with itself, turned, over the distance: 1 where nothing was turned."""
    f = rope_frequencies(64, float(theta))  # (K / 2,)
    distance = np.arange(200)
    products = np.cos(np.outer(distance, f)).mean(axis=1)  # (200,)
    return plots.curves({"": (distance, products)}, x=f"distance; theta = {theta}", y="q k / (q q)")


plots.sliders(by_distance, theta=(10, 2000))

# %%
by_distance(100)

# %% [markdown]
# The backward needs no derivation of its own. A rotation is a matrix $R$ with $y = R x$, so $dx = R^\top dy$, and the
# transpose of a rotation turns back: **the backward is the forward by minus the angle**. If the minus is forgotten,
# gradients have the right size and wrong directions, and training goes on, only worse:

# %%
from minilora.ops.rope import RopeCache

cos, sin = rope_table(np.arange(5), rope_frequencies(6, 100.0), "float64")  # (T, K / 2)
x = rng.standard_normal((2, 3, 5, 6))  # (N, H, T, K)


def rotated(x):
    return rope_forward(x, cos, sin)  # (N, H, T, K)


def not_turned_back(dy, cache):
    return rope_backward(dy, RopeCache(cache.cos, -cache.sin))  # (N, H, T, K)


# %%
show(check_op(rotated, rope_backward, {"x": x}, rng=rng))
try:
    check_op(rotated, not_turned_back, {"x": x}, rng=rng)
except GradientError as error:
    print(error)

# %% [markdown]
# One more trap, for those who load files. **Which numbers make a plane?** Hugging Face's Llama takes number $i$ and
# number $i + K/2$; the paper, and llama.cpp, take neighbours, $2i$ and $2i + 1$. That is the same model if the rows of
# $W_q$ and $W_k$ stand in another order, and a GGUF file stores them so. If a loader forgets to put them back, logits
# are off by ten and more, and yet the likeliest word often stays the same. So compare numbers, never text. In
# minilora, the order ends at the loader.
#
# ## Heads in groups
#
# While a text is generated, the keys and values of all earlier positions have to be kept, in every layer. Llama
# has fewer of them: $G$ key-value heads, each read by a group of $H / G$ query heads.

# %%
plots.head_groups(H, G)

# %%
kept = {f"a head each, as GPT-2: {H}": 2 * c.n_layer * H * K, f"in groups: {G}": 2 * c.n_layer * G * K}
plots.bars({name: 4 * n / 1e3 for name, n in kept.items()}, x="KB kept per position of a text (float32)")

# %% [markdown]
# In the backward, one thought is new. A key is **used** by $H / G$ query heads, and whatever is used several times
# gets the **sum** of the gradients of its uses. (That is also why a bias, which all rows use, has a gradient that is
# summed over the rows.) `attention_forward` of [notebook 4](04_a_transformer.ipynb) does groups as well:

# %%
from minilora.ops import attention_backward, attention_forward

q = rng.standard_normal((2, 6, 5, 4))  # (N, H, T, K)
k, v = rng.standard_normal((2, 2, 3, 5, 4))  # (N, G, T, K) each
show(check_op(attention_forward, attention_backward, {"q": q, "k": k, "v": v}, rng=rng))

# %%
y, cache = attention_forward(q, k, v)  # (N, H, T, K)
dy = rng.standard_normal(y.shape)  # (N, H, T, K)
_, dk, _ = attention_backward(dy, cache)  # (N, G, T, K)
k_copies, v_copies = (np.repeat(a, 2, axis=1) for a in (k, v))  # each head its own: (N, H, T, K)
_, dk_copies, _ = attention_backward(dy, attention_forward(q, k_copies, v_copies)[1])  # (N, H, T, K)
print("sum over the group:", np.allclose(dk, dk_copies.reshape(2, 3, 2, 5, 4).sum(axis=2)))
print("one head's alone:  ", np.allclose(dk, dk_copies[:, ::2]))

# %% [markdown]
# ## The gated MLP
#
# GPT-2's MLP is $W_{out}\,\text{gelu}(W_{in} x)$. Llama's has a gate that multiplies, number by number:
#
# $$y = W_{down}\big(\text{silu}(W_{gate}\, x) \cdot W_{up}\, x\big), \qquad \text{silu}(g) = g\,\sigma(g).$$
#
# A product has two factors, and each gets $dy$ times the other. With $s = \sigma(g)$, $\text{silu}'(g) = s\,(1 + g\,
# (1 - s))$. Taking $\sigma' = s (1 - s)$ for it is the mistake to look for.

# %%
from minilora.ops import silu_gate_backward, silu_gate_forward

gate, up = rng.standard_normal((2, 2, 3, 7))  # (N, T, F) each
show(check_op(silu_gate_forward, silu_gate_backward, {"gate": gate, "up": up}, rng=rng))

# %%
g = np.linspace(-6, 6, 241)
s = 1 / (1 + np.exp(-g))
slopes = {"silu": (g, g * s), "its slope, s (1 + g (1 - s))": (g, s * (1 + g * (1 - s))), "s (1 - s)": (g, s * (1 - s))}
plots.curves(slopes, x="g", y="")

# %% [markdown]
# ## The whole model, checked
#
# All parts together, with fewer key-value heads than query heads, in float64. For every parameter,
# `check_model` moves it along a random direction and compares the loss's slope with the gradient.

# %%
sizes = dict(vocab_size=11, n_positions=9, n_layer=2, d_model=12, n_head=4, n_kv_head=2, head_size=6, d_mlp=10)
tiny = Llama(LlamaConfig(**sizes), rng, dtype="float64")
some_ids, some_targets = rng.integers(0, 11, (2, 2, 7))  # (N, T) each
batch = LMBatch(some_ids, some_targets, loss_mask=np.ones((2, 7), dtype=bool))
slopes = check_model(tiny, batch, rng=rng)
worst = max(slopes, key=lambda name: abs(slopes[name][0] - slopes[name][1]))
print(f"{len(slopes)} parameters; the largest difference, {worst}: {slopes[worst][0]:.9f} and {slopes[worst][1]:.9f}")

# %% [markdown]
# ## LoRA on it
#
# The task is mini-E2E: from a list of attributes, write a sentence. The model reads the list and writes the sentence,
# and **the loss counts on the sentence alone**, with its end of text; that is the paper's equation 2. One example,
# piece by piece:

# %%
task = load_task("mini-e2e", length=256, tokenizer=tokenizer)
example = next(task.batches("valid", batch_size=1))
tokens = np.append(example.ids[0, 0], example.targets[0])  # (T + 1,): each but the first is a target
pieces = [tokenizer.decode([i]) or "·" for i in tokens]
text = "".join(pieces)
counted = np.repeat(np.append(False, example.loss_mask[0]), [len(piece) for piece in pieces])
plots.marked_text(text, counted, marked="the answer: counts in the loss", unmarked="is read only")

# %% [markdown]
# What does the model make of such a list before it has ever been shown the task?

# %%
from minilora import generate


def sentences(n=3):
    """What the model writes after the first n lists of valid."""
    prompts, _ = task.prompts("valid", n)
    return [tokenizer.decode(ids) for ids in generate(model, prompts, max_tokens=40, stop=tokenizer.end_of_text)]


before = sentences()
for example, answer in zip(task.splits["valid"], before):
    print(f"{example.source}\n  -> {answer!r}\n")

# %% [markdown]
# Now LoRA with $r = 8$, on all seven matrices of every block. The counts, by matrix: a matrix of $O \times I$ gets
# $r (I + O)$ numbers, so those of the MLP get most.

# %%
SEVEN = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
apply_lora(model, LoRAConfig(rank=8, alpha=16, targets=SEVEN), rng=rng)
trained = {name: 0 for name in SEVEN}
for p in model.trainable_parameters():
    trained[p.name.split(".")[-2]] += p.data.size
plots.bars(trained, x=f"trained numbers, {sum(trained.values()):,} together")

# %% [markdown]
# The training loop is the one of [notebook 5](05_pretrain_then_adapt.ipynb), for it knows nothing of architectures.
# The steps are few, for a few minutes of your patience; the command below the picture does it thoroughly.

# %%
from minilora.training import AdamW

STEPS, RATE = (40, 2e-3) if real else (12, 2e-2)
optimizer, losses = AdamW(model.trainable_parameters(), lr=RATE), []

# %%
for step in range(STEPS):
    loss, cache = model.loss(task.sample_batch(rng, 8))
    model.backward_loss(1.0, cache)
    optimizer.lr = RATE * min(1, (step + 1) / 8) * (1 - step / STEPS)
    optimizer.step()
    model.zero_grad()
    losses.append(float(loss))
plots.curves({"training": (np.arange(STEPS), losses)}, x="step", y="loss, nats per token")

# %%
after = sentences()
set_adapter(model, None)  # adapter off: the base, to the bit
off = sentences()
set_adapter(model, "default")
for example, old, new in zip(task.splits["valid"], before, after):
    print(f"{example.source}\n  before  {old!r}\n  after   {new!r}\n")
print("with the adapter off, the answers of before:", off == before)

# %% [markdown]
# On SmolLM2, the form is learned within these few steps: a sentence, which uses the values of the list, and ends.
# Some values are still left out, or wrong.
# `minilora demo --model smollm2` trains 300 steps, counts how many of 96 test sentences have every attribute right,
# and does full fine-tuning beside it. On the random model, the loss falls and the text stays noise: **LoRA adapts
# what a model knows, and this one knows nothing**.
#
# ## Memory: what a step keeps, and how to keep less
#
# A forward keeps what the backward needs, in every block. **Recomputation** (gradient checkpointing) keeps each
# block's input only, drops the rest, and makes it again when the backward comes to that block: a third more time for
# a fraction of the memory. The gradients are equal to the bit.

# %%
batch = task.sample_batch(rng, 2)
gradients = {}
for recompute in False, True:
    model.recompute = recompute
    model.zero_grad()
    loss, cache = model.loss(batch)
    model.backward_loss(1.0, cache)
    gradients[recompute] = [p.grad.copy() for p in model.trainable_parameters()]
model.recompute = False
print("equal to the bit:", all(np.array_equal(a, b) for a, b in zip(gradients[False], gradients[True])))

# %% [markdown]
# Elsewhere, LoRA with checkpointing is known to train nothing: $B$ stays zero ([LoRA
# 120](https://github.com/microsoft/LoRA/issues/120)). There, automatic differentiation decides from a block's
# **inputs** whether anything in it needs a gradient, and with a frozen embedding the first block's input needs none;
# so the blocks are taken for constants. Here nothing is decided by looking at inputs. A block's backward is a function
# that we call, and it adds to whatever in it is trainable. How large is $dB$ in each block, with recomputation on?

# %%
named = {p.name: g for p, g in zip(model.trainable_parameters(), gradients[True])}
sizes_of_dB = {f"block {i}": np.linalg.norm(named[f"blocks.{i}.attn.v_proj.B"]) for i in range(min(c.n_layer, 8))}
plots.bars(sizes_of_dB, x="norm of dB of v_proj", form="{:.2g}")

# %% [markdown]
# ## On a GPU
#
# `open_language_model(..., device="gpu")`, and the rest is the same. RMSNorm, the rotation and the gate are then a
# kernel each, because on a GPU what such functions cost is reading and writing, not computing.
#
# ## Questions
#
# **1.** Why are values not rotated?
#
# <details><summary>Answer</summary>
#
# The rotation makes the *weights* of attention depend on distance: it is in the product of query and key. A value is
# what is then averaged; if it were turned by its position, the average would mix turned vectors, and the position
# would have to be taken out again.
#
# </details>
#
# **2.** LoRA on $W_k$ of SmolLM2 ($C = 576$, $G K = 192$) and on $W_q$ ($H K = 576$), both with $r = 8$. How many
# numbers has each, and how many has delta W?
#
# <details><summary>Answer</summary>
#
# $8 (576 + 192) = 6144$ and $8 (576 + 576) = 9216$. The deltas have $192 \cdot 576 = 110{,}592$ and $576^2 =
# 331{,}776$ entries. The smaller the matrix, the larger the share of it that rank 8 is.
#
# </details>
#
# **3.** The head is tied to the embedding. Somebody merges an adapter that was trained on the head, as an output, into
# this one matrix. What changes besides the logits?
#
# <details><summary>Answer</summary>
#
# The embeddings of all tokens, at the input: the matrix has two uses, and the adapter was trained for one of them. The
# head must be untied first. (minilora does not put LoRA on a tied head.)
#
# </details>
#
# **4.** Several short texts stand in one row, to waste no padding. What would go wrong if nothing but the mask of the
# loss knew of it?
#
# <details><summary>Answer</summary>
#
# Queries of the second text would see keys of the first, and its positions would not begin at 0. The loss would still
# fall: such leaks are found by changing the first text and looking whether the second one's outputs change.
#
# </details>

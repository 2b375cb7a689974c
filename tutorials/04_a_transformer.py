# %% [markdown]
# # 4. A transformer, forward and backward
#
# **Goal.** Follow one batch through a small GPT, with the shape of every array; look at what its heads look at; go
# backwards; and see which gradients are never computed once the weights are frozen.
#
# **Minutes.** 50
#
# **Prerequisites.** [2. Backpropagation by hand](02_backprop_by_hand.ipynb) and [3. LoRA by
# hand](03_lora_by_hand.ipynb).
#
# **Next.** [5. Pretrain, then adapt](05_pretrain_then_adapt.ipynb).
# To write it yourself: [exercises 6 and 15](exercises/README.md), `minilora exercises start 6`.

# %%
# %matplotlib inline
import timeit

import numpy as np

from minilora import GPT, GPTConfig, LoRAConfig, apply_full, apply_lora, load_bundled, plots, set_adapter
from minilora.data import ByteTokenizer
from minilora.ops import cross_entropy_backward, cross_entropy_forward, softmax_forward

np.set_printoptions(precision=3, suppress=True)

# %% [markdown]
# ## The whole in one drawing
#
# A GPT reads tokens and says, at every position, which token might come next. Ours reads bytes: a token is one of
# $V = 256$ bytes. The letters that we use for sizes, here and everywhere:
#
# | letter | is | | letter | is |
# |---|---|---|---|---|
# | $N$ | texts in a batch | | $H$ | heads of the attention |
# | $T$ | positions (time) | | $K$ | features of a head, $C / H$ |
# | $C$ | features of a position (channels) | | $F$ | features inside the MLP |
# | $V$ | tokens that there are | | $L$ | blocks |

# %%
plots.gpt_picture()

# %% [markdown]
# The bundled decoder has this form. It is small enough for a laptop, and has read enough English to be worth looking
# at.

# %%
model = load_bundled("decoder")
print(model.config)
print(f"{sum(p.data.size for p in model.parameters()):,} parameters")

# %% [markdown]
# ## Forward, layer by layer
#
# Our batch is two texts of 36 bytes. The **embeddings** turn each byte into a row of $C = 192$ numbers, and add
# another such row that says where it stands:

# %%
tokenizer = ByteTokenizer()
text = "The function returns the name of the"
ids = np.stack([tokenizer.encode(text), tokenizer.encode("If the argument is not an integer, a")])  # (N, T)
tokens, _ = model.wte.forward(ids)  # (N, T) -> (N, T, C)
places, _ = model.wpe.forward(np.arange(ids.shape[1]))  # (T,) -> (T, C)
x = tokens + places  # (N, T, C)
print(f"ids {ids.shape} -> x {x.shape}")

# %% [markdown]
# Then the blocks. Each has two halves, **attention** (positions look at each other) and an **MLP** (each position by
# itself), and each half **adds** what it has found to $x$. So $x$ runs through the whole model like a bus that
# everybody writes to: the residual stream. Here is the first block, in its four lines:

# %%
block = model.blocks[0]
h, _ = block.ln_1.forward(x)  # (N, T, C)
y = x + block.attn.forward(h)[0]  # (N, T, C)
h, _ = block.ln_2.forward(y)  # (N, T, C)
z = y + block.mlp.forward(h)[0]  # (N, T, C) -> (N, T, F) -> (N, T, C)
print("the block's own forward gives the same:", np.array_equal(z, block.forward(x)[0]))

# %% [markdown]
# After the last block comes one more normalisation, and the **head**: how well does each position's row fit the
# embedding of each token? The products are the logits, and softmax makes probabilities of them.

# %%
for block in model.blocks:
    x, _ = block.forward(x)  # (N, T, C)
x, _ = model.ln_f.forward(x)  # (N, T, C)
logits = x @ model.wte.W.data.T  # (N, T, C) @ (C, V) -> (N, T, V)
theirs, cache = model.forward(ids)  # (N, T, V)
print("logits", logits.shape, "  the model's own:", np.allclose(logits, theirs, atol=1e-5))

# %% [markdown]
# What does it think comes after "…the name of the"? A space, and it is sure:

# %%
probs, _ = softmax_forward(theirs[0, -1])  # (V,)
likeliest = np.argsort(-probs)[:6]
plots.bars({repr(tokenizer.decode([i])): 100 * probs[i] for i in likeliest}, x="probability (%)", form="{:.1f}")

# %% [markdown]
# ## The cache: everything that happened
#
# `forward` returned a second value. The backward pass needs what the forward has computed, and in minilora it lies
# there in the open, by name: `cache.blocks[1].attn.probs`. Let us walk through all of it, and print every shape of
# the first block.


# %%
def walk(cache, path):
    """Print the name and shape of every array in a cache."""
    for name, value in zip(cache._fields, cache):
        if hasattr(value, "_fields"):
            walk(value, f"{path}.{name}")
        elif hasattr(value, "shape"):
            print(f"{path + '.' + name:28}{value.shape}")


walk(cache.blocks[0], "blocks[0]")

# %% [markdown]
# With $N = 2$, $T = 36$, $C = 192$, $H = 4$, $K = 48$ and $F = 768$ you can find each of them in the drawing. (`W`
# and `bias` are the weights themselves, not copies. `fc_in.x` is what `fc_in` has read: remember it, for it will be
# missing in a moment. The probabilities are not kept: the backward makes them again, and so does `.probs`.)
#
# ## Attention: who looks at whom
#
# Each position makes three rows of $K$ numbers for each head: a **query** $q$ (what am I looking for), a **key** $k$
# (what do I have to offer) and a **value** $v$. How much position $i$ looks at position $j$ is decided by the product
# of $q_i$ and $k_j$:
#
# $$\text{probs} = \text{softmax}\big(q\,k^\top / \sqrt{K}\big), \qquad y = \text{probs}\; v,$$
#
# where a position may see only itself and what came before it. From $q$ and $k$ we get the probabilities that the
# model used:

# %%
core = cache.blocks[0].attn.core
scores = core.q @ core.k.swapaxes(-1, -2) / core.q.shape[-1] ** 0.5  # (N, H, T, K) @ (N, H, K, T) -> (N, H, T, T)
later = np.triu(np.ones(scores.shape[-2:], dtype=bool), k=1)  # (T, T)   keys that come after the query
probs, _ = softmax_forward(np.where(later, -np.inf, scores))  # (N, H, T, T)
print(probs.shape, np.allclose(probs, core.probs, atol=1e-6))

# %% [markdown]
# Now look at the heads of the first block. A row is a position that looks, a column one that is looked at, and the
# dark cells are where it looks. Two heads stand out.

# %%
start = slice(0, 12)
plots.attention_map(core.probs[0][:, start, start], text[start])

# %% [markdown]
# Head 3 looks at the byte **before**, nearly always: a line below the diagonal. Head 2 looks two bytes back. Nobody
# has told them to. A model that reads single bytes needs to know in which word it is, and the last bytes are a good
# beginning. How strongly they do so, as numbers:

# %%
for h, head in enumerate(core.probs[0]):  # (T, T)
    one, two = (np.diagonal(head, offset=-back).mean() for back in (1, 2))
    print(f"head {h}: {one:4.0%} of the attention goes one byte back, {two:4.0%} two")

# %% [markdown]
# Other blocks look further back. With a live kernel, choose the block; block 2 is shown below.


# %%
def heads_of(block=2):
    """Who looks at whom in one block, for the first 12 bytes of the first text."""
    return plots.attention_map(cache.blocks[block].attn.probs[0][:, start, start], text[start])


plots.sliders(heads_of, block=(0, 3))

# %%
heads_of(2)

# %% [markdown]
# ## Backward
#
# The loss: at each position, minus the logarithm of the probability of the byte that really came next, and the mean
# over all positions. Targets are the ids, moved by one. Its gradient is the simplest of all, the probabilities minus
# 1 at the target, divided by the number of positions:

# %%
targets = ids[:, 1:]  # (N, T - 1)
logits, cache = model.forward(ids[:, :-1])  # (N, T - 1, V)
loss, loss_cache = cross_entropy_forward(logits, targets)
dlogits = cross_entropy_backward(1.0, loss_cache)  # (N, T - 1, V)
rest = dlogits - (softmax_forward(logits)[0] - np.eye(256)[targets]) / targets.size
print(f"loss {loss:.2f} nats per byte;  probs - onehot: {np.allclose(rest, 0, atol=1e-7)}")

# %% [markdown]
# `model.backward` then goes through the drawing from top to bottom. Each layer gets the gradient of what it made,
# adds its weights' gradients to their `.grad`, and hands on the gradient of what it read. Where the stream was split
# (each half reads $x$, and $x$ also goes around it), the gradients of the two ways are added.

# %%
model.zero_grad()
model.backward(dlogits, cache)
for name, p in model.blocks[0].named_parameters():
    print(f"{name:20} {p.grad.shape!s:12} norm {np.linalg.norm(p.grad):.1e}")

# %% [markdown]
# One of the norms is much smaller than all others: `attn.k_proj.bias`. It is no mistake. A bias on the keys adds the
# same number to all scores of a query, and softmax does not see a shift: the gradient is **exactly zero** in
# mathematics, and what we see is rounding. (A check that compares relative errors only would call the correct
# backward wrong there.)
#
# The whole model can be checked like a single function. For every parameter, `check_model` draws a random direction,
# moves the parameter a little along it, and compares the change of the loss with the gradient. This needs float64,
# and a small model is enough:

# %%
from minilora.data import LMBatch
from minilora.gradcheck import check_model

rng = np.random.default_rng(0)
tiny = GPT(GPTConfig(vocab_size=11, n_positions=7, n_layer=2, d_model=12, n_head=3), rng, dtype="float64")
some_ids, some_targets = rng.integers(0, 11, (2, 2, 5))  # (N, T) each
batch = LMBatch(some_ids, some_targets, loss_mask=np.ones((2, 5), dtype=bool))
slopes = check_model(tiny, batch, rng=rng)
analytic, numerical = slopes["blocks.0.attn.v_proj.W"]
print(f"{len(slopes)} parameters checked; v_proj.W: backward {analytic:.9f}, the loss's slope {numerical:.9f}")

# %% [markdown]
# ## What is not computed when W is frozen
#
# Now LoRA, on $W_q$ and $W_v$ of all blocks. `apply_lora` puts $A$ and $B$ next to them and makes everything else a
# constant. Go forward and backward again, and ask every linear layer of the first block: does its weight have a
# gradient?


# %%
def gradients_of(model):
    """For each linear layer of block 0, which gradients a forward and a backward have left."""
    model.zero_grad()
    logits, cache = model.forward(ids[:, :-1])  # (N, T, V)
    model.backward(cross_entropy_backward(1.0, cross_entropy_forward(logits, targets)[1]), cache)
    with_grad, words = [p.name for p in model.parameters() if p.grad is not None], {}
    for name in ("attn.q_proj", "attn.k_proj", "attn.v_proj", "attn.o_proj", "mlp.fc_in", "mlp.fc_out"):
        of_layer = [path.split(".")[-1] for path in with_grad if path.startswith(f"blocks.0.{name}.")]
        words[name.split(".")[1]] = ", ".join(of_layer) or "none"
    return words


# %%
full = gradients_of(model)
apply_lora(model, LoRAConfig(rank=4, targets=("q_proj", "v_proj")), rng=np.random.default_rng(0))
lora = gradients_of(model)
shades = {"W, bias": "blue", "A, B": "orange", "none": "grey"}
plots.word_grid({"full fine-tuning": full, "LoRA on q and v": lora}, shades)

# %% [markdown]
# `none` means that the product $dy^\top x$ was not even started. It also means that its input need not be **kept**:
# look into the cache.

# %%
logits, lora_cache = model.forward(ids[:, :-1])  # (N, T, V)
for name, c in ("full", cache), ("LoRA", lora_cache):
    kept = c.blocks[0].mlp.fc_in.x
    print(f"{name:5} the input of fc_in: {'not kept' if kept is None else kept.shape}")

# %% [markdown]
# What does have to be computed in every frozen layer is $dx = dy\,W$, for there are $A$ and $B$ further down, and
# this is their way to the loss. But **below the lowest trainable parameter nothing is needed at all**. If LoRA sits
# in the last block only, the backward ends there. We time all three, nine times each:


# %%
def backward_ms(model):
    """Milliseconds of the backward pass, nine times."""
    logits, cache = model.forward(ids[:, :-1])  # (N, T, V)
    dlogits = cross_entropy_backward(1.0, cross_entropy_forward(logits, targets)[1])
    return [1e3 * s for s in timeit.repeat(lambda: model.backward(dlogits, cache), number=1, repeat=9)]


# %%
lora_everywhere = backward_ms(model)
last = LoRAConfig(rank=4, targets=("blocks.3.attn.q_proj", "blocks.3.attn.v_proj"))
apply_lora(model, last, rng=np.random.default_rng(0), name="last block")
lora_last = backward_ms(model)
apply_full(model)
full = backward_ms(model)
measured = {"full fine-tuning": full, "LoRA, all blocks": lora_everywhere, "LoRA, last block": lora_last}
plots.timings(measured, x="milliseconds of a backward pass")

# %% [markdown]
# `apply_full` has made everything trainable again; switching methods never leaves something frozen by mistake. And an
# adapter can be put back with `set_adapter`, which also says what is trained:

# %%
set_adapter(model, "last block")
print([p.name for p in model.trainable_parameters()])

# %% [markdown]
# ## And it writes
#
# All of this has one purpose. The logits at the last position say which byte comes next: take the likeliest, append
# it to the text, and run the forward again, until the likeliest is the end of the text. With the adapter that comes
# with minilora, the model turns lists into sentences ([notebook 5](05_pretrain_then_adapt.ipynb) says how it was
# trained):

# %%
from minilora import load_adapter
from minilora.data import EOT
from minilora.methods import bundled_adapter

writer = load_bundled("decoder")
load_adapter(writer, bundled_adapter())
written = list(b"name: Lemon Door; type: diner; price: low\n")
while written[-1] != EOT and len(written) < 160:
    logits, _ = writer.forward(np.array([written]))  # (1, T, V)
    written.append(int(logits[0, -1].argmax()))
print(bytes(written[:-1]).decode())

# %% [markdown]
# Name, type and price are those of the list. (`minilora.generate` does the same and keeps keys and values, so that no
# position is computed twice.)
#
# ## On a GPU
#
# `load_bundled("decoder", device="gpu")` and every line above (with ids made by `model.to_model(ids)`) is the same;
# the caches then hold CuPy arrays, which `to_numpy` brings to the host to be drawn. Attention has code of its own
# there, which never stores the $T \times T$ scores (`minilora/ops/fast/flash_attention.py`).
#
# ## Questions
#
# **1.** Attention's forward makes the probabilities, its backward needs them, and yet the cache has only $q$, $k$, $v$
# and one number for each query. Why not keep them?
#
# <details><summary>Answer</summary>
#
# They are $N \cdot H \cdot T \cdot T$ numbers; everything else is $N \cdot H \cdot T \cdot K$ or less. At $T = K = 48$
# they are as large as $k$; at $T = 4800$ a hundred times as large. To make them again takes one product of $q$ and
# $k$, and the one number, $\log \sum_j e^{\text{scores}_j}$, saves summing again.
#
# </details>
#
# **2.** Why is the first row of every attention picture a single dark cell?
#
# <details><summary>Answer</summary>
#
# The first position can see only itself, and probabilities sum to 1.
#
# </details>
#
# **3.** LoRA on $W_q$ only, in all blocks. Is $dv$, the gradient of the values, needed in the lowest block? And in
# the others?
#
# <details><summary>Answer</summary>
#
# In the lowest block no: there, gradients are needed for $q$'s $A$ and $B$ alone. (A block's backward computes $dv$ all
# the same: to leave it out would save a few percent, and cost every backward an argument.) In the others yes, because
# the gradient of the block's input flows through $q$, $k$ and $v$ together.
#
# </details>
#
# **4.** A head is tied to the token embedding: `logits = x @ wte.T`. In full fine-tuning, how many gradients does
# `wte` get, and what happens to them?
#
# <details><summary>Answer</summary>
#
# Two: one as the head (a product, dense), and one as the look-up table (only the rows of bytes that occur). It is one
# array, used twice, so they are added.
#
# </details>
#
# **5.** The gradient of `k_proj.bias` is zero. Is the gradient of `k_proj.W` zero, too?
#
# <details><summary>Answer</summary>
#
# No. The bias adds the same to all keys, but $W_k x_j$ is different for every position $j$, so $W_k$ changes how a
# query divides its attention.
#
# </details>

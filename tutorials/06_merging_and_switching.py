# %% [markdown]
# # 6. Merging, switching, many tasks
#
# **Goal.** Merge an adapter into its weight and measure that nothing is slower; learn what rounding does when merging
# and unmerging; keep several adapters on one base, switch between them, mix them in one batch, and add them, exactly
# and wrongly.
#
# **Minutes.** 45
#
# **Prerequisites.** [3. LoRA by hand](03_lora_by_hand.ipynb).
#
# **Next.** [7. Which matrices, and which rank?](07_where_and_which_rank.ipynb).
# To write it yourself: [exercise 8](exercises/README.md), `minilora exercises start 8`.

# %%
# %matplotlib inline
import tempfile
import time
from pathlib import Path

import numpy as np

from minilora import LoRAConfig, apply_lora, load_bundled, merge_lora, plots, unmerge_lora
from minilora.data import ByteTokenizer

np.set_printoptions(precision=3, suppress=True)

# %% [markdown]
# ## Merging
#
# While training, LoRA stands next to the frozen weight: $y = xW^\top + \text{scale}\,(xA^\top)B^\top$. When training
# is over, the two can be added up, once and for all:
#
# $$W' = W + \Delta W, \qquad \Delta W = \text{scale}\; B A.$$
#
# $W'$ has the shape of $W$, so the merged model is as fast as the one we began with. We need an adapter with
# $B \neq 0$. Training one takes a minute ([notebook 5](05_pretrain_then_adapt.ipynb)); here any numbers do, so we
# draw them.


# %%
def add_trained_adapter(model, name, seed):
    """An adapter on all of W_q and W_v, with a B as if it had been trained."""
    rng = np.random.default_rng(seed)
    apply_lora(model, LoRAConfig(rank=8, alpha=16, targets=("q_proj", "v_proj")), rng=rng, name=name)
    for p in model.trainable_parameters():
        if p.name.endswith(".B"):
            p.data[...] = 0.05 * rng.standard_normal(p.data.shape)  # (O, r)


# %%
model = load_bundled("decoder")
ids = np.stack([ByteTokenizer().encode(text) for text in ("If the argument", "Return a new li")])
base_logits, _ = model.forward(ids)  # (N, T, V)
add_trained_adapter(model, "default", seed=0)

# %%
layer = model.blocks[0].attn.q_proj
W, delta_W = layer.base.W.data, layer.delta_W()  # (O, I) each
corner = (slice(0, 6), slice(0, 6))
parts = {"$W + \\Delta W$": (W + delta_W)[corner], "$W$": W[corner], r"$\Delta W$": delta_W[corner]}
plots.matrices(parts, ("=", "+"))

# %% [markdown]
# (These are corners of 192 × 192 matrices.) In minilora merging is a function that you call, and never happens by
# itself:

# %%
adapted_logits, _ = model.forward(ids)  # (N, T, V)
merge_lora(model)
merged_logits, _ = model.forward(ids)  # (N, T, V)
print("W' is what the layer now uses:", np.array_equal(layer.base.W.data, W + delta_W))
print(f"adapted - base   {np.abs(adapted_logits - base_logits).max():.1e}")
print(f"merged - adapted {np.abs(merged_logits - adapted_logits).max():.1e}")
unmerge_lora(model)

# %% [markdown]
# ## No added latency, measured
#
# The paper's Table 1 compares LoRA with **adapters** (Houlsby et al., 2019): small layers that are put *between* the
# layers of the model. They cannot be merged into a weight, because they have a nonlinearity; every token has to go
# through them, one after the other. At a batch of 1 and short texts, that costs the paper's GPT-2 20 to 30 %. We take
# four models, and let them take turns, so that a busy moment of the machine hits all of them:

# %%
from minilora import HoulsbyConfig, apply_houlsby

variants = {name: load_bundled("decoder") for name in ("base", "LoRA, merged", "LoRA beside W", "adapters")}
for name in ("LoRA, merged", "LoRA beside W"):
    add_trained_adapter(variants[name], "default", seed=0)
merge_lora(variants["LoRA, merged"])
apply_houlsby(variants["adapters"], HoulsbyConfig("houlsby", size=16), rng=np.random.default_rng(0))

# %%
milliseconds = {name: [] for name in variants}
for _ in range(60):
    for name, variant in variants.items():
        started = time.perf_counter()
        variant.forward(ids[:1])  # (1, T)
        milliseconds[name].append(1e3 * (time.perf_counter() - started))
plots.timings(milliseconds, x="milliseconds for one text of 15 bytes")

# %% [markdown]
# Merged, LoRA is the base: the same products of the same shapes. Next to $W$, it costs time, as adapters do: small
# products, each of which has to be started. (If the smallest times of the first two rows differ, the machine was busy:
# run the cell again. [The figures](../figures/README.md) have table 1 at other lengths.) The paper has one row for
# "Fine-Tune/LoRA" for this reason; it is LoRA **merged**.
#
# ## Are they really equal?
#
# Merged and unmerged outputs differ a little, and **users ask** whether something is broken ([peft
# 1388](https://github.com/huggingface/peft/issues/1388), [1836](https://github.com/huggingface/peft/issues/1836),
# [2502](https://github.com/huggingface/peft/issues/2502), [torchtune
# 1101](https://github.com/meta-pytorch/torchtune/issues/1101)). $W + \Delta W$ is rounded, and the two ways add the
# same numbers in different orders. What is expected depends on the number format. One layer, in three formats,
# against the exact result:

# %%
from minilora.ops import linear_forward, lora_linear_forward

x = np.random.default_rng(0).standard_normal((100, 192))  # (N, I)
differences = {}
for dtype in ("float64", "float32", "float16"):
    x_, W_, A_, B_ = (array.astype(dtype) for array in (x, W, layer.A.data, layer.B.data))
    beside = lora_linear_forward(x_, W_, None, A_, B_, layer.scale)[0].astype("float64")  # (N, O)
    merged = linear_forward(x_, W_ + layer.scale * (B_ @ A_))[0].astype("float64")  # (N, O)
    differences[dtype] = np.linalg.norm(merged - beside) / np.linalg.norm(beside)
plots.bars(differences, x="relative difference, merged and beside", form="{:.0e}", log=True)

# %% [markdown]
# A difference of $10^{-7}$ is float32 at work. One of $10^{-3}$ in float16 can flip a token that was nearly a tie.
# One of $10^{-1}$ is a bug: a scale forgotten, a transpose, an adapter merged twice.
#
# ## Unmerging
#
# The paper says: to switch to another task, subtract $BA$ and add $B'A'$. On paper that is exact. In floating point,
# $W + D - D$ is not $W$:

# %%
back = (W + delta_W) - delta_W  # (O, I)
print(f"entries of W + D - D that are W's to the bit: {np.mean(back == W):.1%}")
merge_lora(model)
unmerge_lora(model)
print(f"with merge_lora and unmerge_lora:              {np.mean(layer.base.W.data == W):.1%}")

# %% [markdown]
# `merge_lora` puts the frozen array aside, and `unmerge_lora` puts it back: the same array, so the same bits, for the
# price of keeping it. How bad is the other way? Whoever merges and unmerges thousands of different adapters into one
# $W$, as a server might, lets it drift:

# %%
rng, drifting, drift = np.random.default_rng(0), W.copy(), []
for _ in range(400):
    D = 0.02 * rng.standard_normal(W.shape, dtype="float32")  # (O, I)
    drifting = (drifting + D) - D
    drift.append(np.abs(drifting - W).max())
counted = np.arange(1, 401)
plots.curves({"": (counted, drift)}, x="adapters merged and unmerged", y="largest error of an entry", log="xy")

# %% [markdown]
# ### Merging twice
#
# loralib merges in `eval()` and unmerges in `train()`. So a model that is saved after `eval()` has $\Delta W$ in its
# weight **and** $A$ and $B$ next to it; load it, call `eval()`, and $\Delta W$ is in twice ([LoRA-Torch
# 10](https://github.com/Baijiong-Lin/LoRA-Torch/issues/10)); and for a while it did not merge where it should have
# ([LoRA 61](https://github.com/microsoft/LoRA/issues/61)). What twice looks like, and what minilora does about it:

# %%
once, twice = (linear_forward(x, W + times * delta_W)[0] for times in (1, 2))  # (N, O) each
print(f"twice: off by {np.linalg.norm(twice - once) / np.linalg.norm(once):.0%}")

# %%
from minilora import save_model

merge_lora(model)
merge_lora(model)  # merged already: does nothing
print("called twice, merged once:", np.array_equal(layer.base.W.data, W + delta_W))
try:
    save_model(model, "merged.safetensors")
except ValueError as error:
    print("save_model:", error)
unmerge_lora(model)

# %% [markdown]
# ## Switching
#
# Adapters are small, so one base can carry many. **Users ask** how to have several, and which is active ([peft
# 967](https://github.com/huggingface/peft/issues/967), [1802](https://github.com/huggingface/peft/issues/1802),
# [2763](https://github.com/huggingface/peft/pull/2763)). Here each has a name, one of them is active, and `None` is
# the base, to the bit:

# %%
from minilora import set_adapter

add_trained_adapter(model, "news", seed=1)
add_trained_adapter(model, "code", seed=2)
logits = {}
for name in ("news", "code", None):
    set_adapter(model, name)
    logits[name] = model.forward(ids)[0]  # (N, T, V)
print(f"news and code differ by {np.abs(logits['news'] - logits['code']).max():.1f}")
print("None is the base, to the bit:", np.array_equal(logits[None], base_logits))

# %% [markdown]
# How small? The base, and the file of one adapter:

# %%
from minilora import save_adapter

with tempfile.TemporaryDirectory() as folder:
    save_adapter(model, Path(folder) / "news.safetensors", name="news")
    adapter_bytes = (Path(folder) / "news.safetensors").stat().st_size
base_bytes = sum(p.data.nbytes for p in load_bundled("decoder").parameters())
sizes = {"100 models": 100 * base_bytes, "one base, 100 adapters": base_bytes + 100 * adapter_bytes}
plots.bars({name: size / 1e6 for name, size in sizes.items()}, x="megabytes", form="{:,.1f}")

# %% [markdown]
# ## Many tasks in one batch
#
# The paper names a limit (section 4.2): if $\Delta W$ is merged, all rows of a batch have to be of the same task.
# **Next to** $W$ that is not so. The base's product is common to all rows, and each row adds what its own adapter
# says. A batch of three equal texts, each with another adapter:

# %%
from minilora import adapters_per_row

same = np.repeat(ids[:1], 3, axis=0)  # (N, T)
order = ["news", None, "code"]
with adapters_per_row(model, order):
    mixed, _ = model.forward(same)  # (N, T, V)
table = {}
for n, row in enumerate(order):
    fits = {name: np.allclose(mixed[n], logits[name][0], atol=1e-4) for name in logits}
    table[f"row {n}: {row}"] = {f"{name} alone": "equal" if fit else "differs" for name, fit in fits.items()}
plots.word_grid(table, {"equal": "blue", "differs": "white"})

# %% [markdown]
# ## Adding adapters
#
# Can one add what two adapters have learned? $\Delta W_1 + \Delta W_2$ is well defined, and **users ask** how ([peft
# 1555](https://github.com/huggingface/peft/issues/1555)). The tempting way is to average $A$ with $A$ and $B$ with
# $B$. But a product of averages is not the average of products ([peft
# 3013](https://github.com/huggingface/peft/pull/3013)):
#
# $$\tfrac{B_1 + B_2}{2}\cdot\tfrac{A_1 + A_2}{2}
# = \tfrac14\big(B_1A_1 + B_2A_2 + \underbrace{B_1A_2 + B_2A_1}_{\text{nobody has learned these}}\big).$$
#
# The exact way puts them side by side, $(B_1 \,|\, B_2)$ and $A_1$ above $A_2$; the rank is the sum of the ranks. In
# small, with rank 1:

# %%
B1, B2, A1, A2 = (rng.integers(-2, 3, shape).astype(float) for shape in ((4, 1), (4, 1), (1, 5), (1, 5)))
mean = (B1 @ A1 + B2 @ A2) / 2  # (O, I)
side_by_side = np.hstack([B1, B2]) / 2 @ np.vstack([A1, A2])  # (O, r1 + r2) @ (r1 + r2, I)
averaged = (B1 + B2) / 2 @ (A1 + A2) / 2  # (O, r) @ (r, I)
print("side by side is exact:", np.array_equal(side_by_side, mean))
plots.matrices({r"mean of $B_1A_1$ and $B_2A_2$": mean, "averages multiplied": averaged}, ("≠",))

# %% [markdown]
# On the whole model, `combination_error` says how far each way is from the weighted sum, and `combine_adapters` makes
# the new adapter:

# %%
from minilora import combination_error, combine_adapters

errors = combination_error(model, ["news", "code"], [0.5, 0.5])
combine_adapters(model, ["news", "code"], [0.5, 0.5], name="both")
print("rank of the exact sum:", model.blocks[0].attn.q_proj.A.data.shape[0])
plots.bars(errors, x="relative error of the sum of two adapters", form="{:.1g}")

# %% [markdown]
# Side by side ("concatenate") is exact; the product of the averages ("average") is off by 70 % of what it should be.
# A weight of 0.5 means half of $\Delta W$, exactly, because it is put on one of the two factors only. And `scale` has
# to be put there, too: side by side the rank is 16 instead of 8, and whoever recomputes $\alpha/\sqrt{r}$ from it
# (rsLoRA) gets another sum ([peft 3449](https://github.com/huggingface/peft/issues/3449)). In the combined adapter
# the scale is in $B$ already:

# %%
both, single = (model.blocks[0].attn.q_proj.adapters[name] for name in ("both", "news"))
print("scale of the sum:", both.scale, "  of each part:", single.scale)

# %% [markdown]
# ## One prompt, three answers
#
# At last, an adapter that has been trained. The one that comes with minilora turns lists into sentences. Switched off,
# switched on, and merged, the model says:

# %%
from minilora import generate, load_adapter
from minilora.data import EOT
from minilora.methods import bundled_adapter

model = load_bundled("decoder")
load_adapter(model, bundled_adapter(), name="restaurants")
prompt = ByteTokenizer().encode("name: Lemon Door; type: diner; price: low\n")

# %%
for state in "off", "on", "merged":
    set_adapter(model, None if state == "off" else "restaurants")
    if state == "merged":
        merge_lora(model)
    (answer,) = generate(model, [prompt], max_tokens=60, stop=EOT)
    print(f"{state:7}", ByteTokenizer().decode(answer).strip())

# %% [markdown]
# Off, it is the base, which has never seen the task. On and merged, it gives the same sentence.
#
# ## On a GPU
#
# Everything is the same, and the difference between merged and unmerged grows in importance: a GPU does the large
# product so fast that starting the two thin ones takes as long. Merged, they are gone.
#
# ## Questions
#
# **1.** Adapters (Houlsby) are linear, nonlinear, linear. Why can LoRA be merged, and they not?
#
# <details><summary>Answer</summary>
#
# LoRA's branch is linear in $x$ and starts and ends where $W$ does, so both together are one matrix. An adapter's
# nonlinearity is no matrix, and it stands behind $W$, not next to it.
#
# </details>
#
# **2.** A server has 200 tasks, and requests for them come mixed. Merge or not?
#
# <details><summary>Answer</summary>
#
# Not: a merged $W$ serves one task. Keep one base and 200 adapters next to it; rows of one batch may use different
# ones (`adapters_per_row`). If one task gets nearly all requests, merge that one into a copy.
#
# </details>
#
# **3.** $W + D - D$ differs from $W$ in the last bit of some entries. Does merging and unmerging **the same** adapter
# a thousand times make it worse and worse?
#
# <details><summary>Answer</summary>
#
# Hardly: after the first time, $W$ has a value from which adding and subtracting the same $D$ mostly leads back. With
# different $D$ the errors are independent, and add up like a random walk.
#
# </details>
#
# **4.** Two adapters of rank 8 are added exactly. What is the rank of the sum at most, and what would an SVD to rank
# 8 do?
#
# <details><summary>Answer</summary>
#
# 16. The SVD gives the best approximation of rank 8 ([notebook 1](01_rank.ipynb)), so it is not exact, but as near as
# rank 8 can be; averaging $A$ and $B$ is nowhere near.
#
# </details>

# %% [markdown]
# # 9. The other methods
#
# **Goal.** Know what LoRA is compared with: fine-tuning of everything, of the last blocks, of the biases alone;
# adapters of four kinds; prefixes of two. Count what each trains, by formula and in memory, and hold the paper's own
# counts against the formulas: most agree, and some do not.
#
# **Minutes.** 45
#
# **Prerequisites.** [3. LoRA by hand](03_lora_by_hand.ipynb). The names of the parts of a transformer (attention, MLP,
# LayerNorm), for which [notebook 4](04_a_transformer.ipynb) is good.
#
# **Next.** [10. On a GPU, and on real checkpoints](10_gpu_and_checkpoints.ipynb).
# To write it yourself: [exercise 3](exercises/README.md), `minilora exercises start 3`.

# %%
# %matplotlib inline
import numpy as np

from minilora import apply_method, load_bundled, plots
from minilora.accounting import count_parameters
from minilora.data import LMBatch
from minilora.training import SGD, AdamW

rng = np.random.default_rng(0)
model = load_bundled("decoder")
L, C, V = model.config.n_layer, model.config.d_model, model.config.vocab_size
print(f"{count_parameters(model).total:,} parameters: L = {L} blocks, C = {C} channels, V = {V} tokens")

# %% [markdown]
# ## What is trained
#
# Everything in this notebook is an answer to one question: of a pretrained model, **which numbers may change, and
# which are added?** `apply_method` gives the answer for each of the paper's methods: it adds what has to be added,
# and freezes the rest. Then we only need to look at the model. The word is "all", "biases" or "last two" (blocks) if
# the model's own numbers are trained, "new" if others have been added.

# %%
PARTS = {"tokens": ("wte", "wpe", "prefix"), "LayerNorms": ("ln_",), "attention": (".attn",), "MLP": (".mlp",)}


def word(parameters, known):
    """What is trained in a part of the model; `known` holds the parameters that it had before."""
    trained = [p for p in parameters if p.trainable]
    if not trained:
        return "–"
    if any(id(p) not in known for p in trained):
        return "new"
    biases = all(p.name.endswith("bias") for p in trained)
    return "all" if len(trained) == len(parameters) else "biases" if biases else "last two"


# %%
METHODS = "full", "top-k", "bitfit", "lora", "adapter-h", "adapter-l", "adapter-p", "prefix-embedding", "prefix-layer"
table, models = {}, {}
for method in METHODS:
    models[method] = model = load_bundled("decoder")
    known = {id(p) for p in model.parameters()}
    apply_method(model, method, rng=rng)
    named = list(model.named_parameters())
    parts = {part: [p for name, p in named if any(m in name for m in marks)] for part, marks in PARTS.items()}
    table[method] = {part: word(parameters, known) for part, parameters in parts.items()}
plots.word_grid(table, {"–": "white", "new": "orange", "biases": "grey", "last two": "grey", "all": "blue"})

# %% [markdown]
# ### Some of the model's own numbers
#
# - **full** fine-tuning trains everything. It is what all others are measured by.
# - **top-k** trains the last $k$ blocks; with $k = 2$ it is the paper's FT-Top2. The backward pass ends there, for
#   below nothing learns.
# - **bitfit** (Ben Zaken et al., 2022) trains the biases: the last term of $y = x W^\top + \text{bias}$, and that of
#   LayerNorm, $\text{gain} * \hat x + \text{bias}$. They are vectors, not matrices, and so they are few: here are those
#   of one block.

# %%
for p in models["bitfit"].parameters():
    if p.trainable and p.name.startswith("blocks.0"):
        print(f"{p.name:27} {p.data.size}")

# %% [markdown]
# One of them has nothing to learn. The bias of $W_k$ adds the same to the score of every position, and softmax does not
# see a shift ([notebook 2](02_backprop_by_hand.ipynb)), so that its gradient is exactly zero in mathematics. In
# float32, it is rounding:

# %%
bitfit, ids = models["bitfit"], rng.integers(0, V, (2, 33))  # (N, T + 1)
_, cache = bitfit.loss(LMBatch(ids[:, :-1], ids[:, 1:], np.ones((2, 32), dtype=bool)))
bitfit.backward_loss(1.0, cache)
attention = bitfit.blocks[0].attn
for name in "q_proj", "k_proj", "v_proj", "o_proj":
    print(f"{name}: norm of the bias's gradient {np.linalg.norm(getattr(attention, name).bias.grad):.0e}")

# %% [markdown]
# Plain gradient descent leaves it where it is. AdamW does not: it divides each gradient by its own recent size, and
# rounding divided by the size of rounding is not small. The bias wanders, and no probability changes for it:

# %%
bias, start = attention.k_proj.bias, attention.k_proj.bias.data.copy()  # (O,)
for optimizer in SGD([bias], lr=1e-3), AdamW([bias], lr=1e-3):
    for _ in range(10):
        bitfit.zero_grad()
        _, cache = bitfit.loss(LMBatch(ids[:, :-1], ids[:, 1:], np.ones((2, 32), dtype=bool)))
        bitfit.backward_loss(1.0, cache)
        optimizer.step()
    print(f"{type(optimizer).__name__}: moved by at most {np.abs(bias.data - start).max():.0e}")

# %% [markdown]
# ### Adapters: new layers between the old ones
#
# An **adapter** (Houlsby et al., 2019) is a narrow MLP behind a frozen layer, with a shortcut around it. With $h$ being
# what the layer gives, $C$ numbers at each position, and $r$ the width of the narrow place,
#
# $$y = h + \text{up}(\text{gelu}(\text{down}(h))), \qquad \text{down}: C \to r, \quad \text{up}: r \to C,$$
#
# both with a bias. `up` starts as zero, so that the model starts as it was, to the bit, like LoRA with $B = 0$:

# %%
base = load_bundled("decoder").forward(ids)[0]  # (N, T, V)
for method in "adapter-h", "adapter-l", "adapter-p", "lora":
    print(f"{method}: the same logits: {np.array_equal(models[method].forward(ids)[0], base)}")

# %% [markdown]
# The kinds differ in where they stand: **H** (Houlsby) behind the attention and behind the MLP of each block; **P**
# (Pfeiffer) behind the MLP alone; **L** (Lin) as P, with a LayerNorm of its own; **D** (AdapterDrop) as P, but not in
# the first blocks.
#
# The formula resembles LoRA's: narrow, then wide. The difference is the gelu, and where it stands. $\Delta W = BA$ is
# a matrix, and can be added to $W$ when training is over. An adapter comes **after** the layer, with a nonlinearity
# inside, so no $W$ can take it in. It remains a layer that has to be waited for: that is table 1 of the paper, and
# [notebook 6](06_merging_and_switching.ipynb) measures it.
#
# ### Prefixes: words of no language
#
# Instead of changing the model, one can choose its input. **Prefix-embedding** puts $l_p$ tokens before the prompt and
# $l_i$ after it. They are in no vocabulary: their embeddings are learned. **Prefix-layer** learns in addition what
# enters every further block at these positions. Nothing is added to the model, but every text becomes longer, and the
# model takes only so many positions:

# %%
for name in "lora", "prefix-embedding", "prefix-layer":
    model = models[name]
    shapes = [p.data.shape for p in model.parameters() if p.trainable and "prefix" in p.name]
    print(f"{name}: takes {model.longest_input} tokens;", f"learns {shapes}" if shapes else "no prefix")

# %% [markdown]
# A prefix changes what the layers read, LoRA what they make of it, so one can have **both at once** (the paper's
# appendix E: LoRA+PE and LoRA+PL). They are then one adapter, with one file and one name, and their counts add up:

# %%
from minilora.methods import LoRAConfig, LoRAPrefixConfig, PrefixConfig

both = load_bundled("decoder")
apply_method(both, LoRAPrefixConfig(LoRAConfig(rank=4), PrefixConfig("layer", before=3, after=2)), rng=rng)
of_prefix = sum(p.data.size for p in both.parameters() if p.trainable and "prefix" in p.name)
print(f"{count_parameters(both).trainable:,} trained: {of_prefix:,} of the prefix, and LoRA's {2 * (2 * L) * C * 4:,}")

# %% [markdown]
# ## Counting
#
# Section 5.1 of the paper has a formula for each. With $d = C$, for $L$ blocks:
#
# | | trained numbers |
# |---|---|
# | bitfit | all biases: per block $2d$ of LayerNorms, $4d$ of attention, $5d$ of the MLP |
# | prefix-embedding | $d\,(l_p + l_i)$ |
# | prefix-layer | $L\,d\,(l_p + l_i)$ |
# | adapters | $\hat L_{\text{Adpt}} (2 d r + r + d) + 2 \hat L_{\text{LN}}\, d$ |
# | LoRA | $2\, \hat L_{\text{LoRA}}\, d\, r$ |
#
# with $\hat L$ being the numbers of adapters, of their LayerNorms, and of adapted $d \times d$ matrices. For LoRA with
# $r = 8$ on $W_q$ and $W_v$ of four blocks, and adapters H of the same $r$:

# %%
r = 8
print("LoRA:     ", 2 * (2 * L) * C * r)  # W_q and W_v of each block
print("Adapter H:", (2 * L) * (2 * C * r + r + C))  # two in each block

# %% [markdown]
# `adaptation` has these formulas, for any architecture, and builds no model. `count_parameters` does the opposite: it
# looks into a model in memory and adds up what is there. Two ways that know nothing of each other ought to agree:

# %%
from minilora.accounting import adaptation, architecture_of

architecture = architecture_of(models["full"].config)
settings = {"lora": {"rank": 8}, "top-k": {"blocks": 2}}
for method in METHODS:
    if method.startswith("adapter"):
        settings[method] = {"size": 8}
    if method.startswith("prefix"):
        settings[method] = {"before": 5, "after": 5}

# %%
counts = {}
for method in METHODS:
    by_formula = adaptation(architecture, method, **settings.get(method, {})).trainable
    counts[method] = count_parameters(models[method]).trainable
    print(f"{method:17} {by_formula:>9,} {counts[method]:>9,}", "" if by_formula == counts[method] else "differ!")

# %%
plots.bars(counts, x="trained numbers", log=True)

# %% [markdown]
# Each of the last six has a knob, $r$ or $l_p + l_i$, by which it can be made as large as one likes. So "LoRA has fewer
# parameters than adapters" is no statement; at which knob? What can be compared is the **score at the same number** of
# parameters, or over a range of numbers: figure 2 of the paper. [Ours](../figures/README.md) has eleven ways to adapt
# the bundled encoder, at up to five sizes: the smallest LoRA is within four points of the best of all; prefixes lie
# below every LoRA, and do not simply get better or worse with their length.
#
# ### From numbers to memory
#
# A trained number costs more than its own four bytes: its gradient, and with Adam two running means, make 16. A frozen
# one costs four. For one training step of GPT-2 medium, with eight texts of 512 tokens:

# %%
from minilora.accounting import find_architecture, memory_estimate

medium = find_architecture("gpt2-medium")
totals = {}
print("GB                weights  gradients, Adam  activations")
for method in METHODS:
    step = memory_estimate(medium, adaptation(medium, method), batch_size=8, length=512)
    totals[method] = step.total / 1e9
    parts = step.weights, step.gradients + step.optimizer, step.activations
    print(f"{method:17}", "  ".join(f"{part / 1e9:>{width}.2f}" for part, width in zip(parts, (7, 15, 11))))

# %%
plots.bars(totals, x="GB of a training step, GPT-2 medium", form="{:.1f}")

# %% [markdown]
# Gradients and Adam nearly vanish, for all the small methods alike. The weights stay, and so do most of the
# **activations**, what the forward pass keeps for the backward pass. They depend on the length of the text and on the
# depth of the model, and hardly on the number of trained parameters. So halving a small count saves next to nothing.
#
# ## The paper's counts
#
# The package holds every count of trained parameters that the paper prints, in tables 1 to 5 and 15, next to its own
# formula: `minilora count published` lists them. A **verdict** is computed: "agrees" if the formula's number rounds to
# the printed one; "rounding" if it does with some good will (3.0M for 3.17M, 18.8M for 18.87M); else "no". Here is the
# worst verdict for each method in each table:

# %%
from minilora.accounting import PUBLISHED
from minilora.accounting.published import VERDICTS

short = dict(zip(VERDICTS, ("agrees", "rounding", "no")))
columns = sorted({row.table for row in PUBLISHED})
rows = dict.fromkeys(row.method for row in PUBLISHED)
grid = {method: {f"table {table}": "" for table in columns} for method in rows}
for row in sorted(PUBLISHED, key=lambda row: VERDICTS.index(row.verdict)):
    grid[row.method][f"table {row.table}"] = short[row.verdict]
plots.word_grid(grid, {"": "white", "agrees": "blue", "rounding": "grey", "no": "orange"})

# %% [markdown]
# And by how much do those with a "no" differ?

# %%
off = {}
for row in PUBLISHED:
    if row.verdict == "not reconcilable":
        printed = 1e6 * float(row.figure.replace(",", ""))
        off[f"{row.row} (table {row.table})"] = 100 * abs(row.ours - printed) / printed
off = dict(sorted(off.items(), key=lambda item: -item[1]))
plots.bars(off, x="off by (%)", form="{:.2f}")

# %% [markdown]
# `minilora count published` gives what we take to be the reason of each. The PreLayer rows do not fit the paper's own
# formula for them. None of these differences changes a conclusion of the paper. But whoever tries to reproduce a number
# should know that it cannot be reproduced, and not search for the mistake in their own code. Four questions that
# **users ask**:
#
# ### GPT-2 medium: 0.35M, or 393,216?
#
# The paper's table 3 says that LoRA trains 0.35M parameters of GPT-2 medium. Its own settings ($r = 4$, $W_q$ and
# $W_v$, 24 blocks, $d = 1024$) give another number ([LoRA 172](https://github.com/microsoft/LoRA/issues/172)):

# %%
for rank in 3, 4:
    print(f"r = {rank}: {adaptation(medium, 'lora', rank=rank).trainable:,}")
row = next(row for row in PUBLISHED if row.row == "GPT-2 M, LoRA")
print(f"printed: {row.figure}M;", ", ".join(f"{label}: {count:,}" for label, count in row.also.items()))

# %% [markdown]
# No rank gives 0.35M, and the checkpoint that was published with the code has $393{,}216 \cdot 4$ bytes. 0.35M is a
# thousandth of the model, which is how the prefix-tuning paper, from which other rows of the table were taken, labels
# its rows.
#
# ### What is in the 25.19M of FT-Top2?
#
# ([LoRA 148](https://github.com/microsoft/LoRA/issues/148).) Two whole blocks, with biases and LayerNorms, but without
# the LayerNorm that comes after the last one:

# %%
print(f"{adaptation(medium, 'top-k', blocks=2).trainable:,}")

# %% [markdown]
# ### Is the classification head counted?
#
# ([LoRA 16](https://github.com/microsoft/LoRA/issues/16).) To classify, an encoder gets a new head, and it is trained
# along with whatever method. LoRA's rows leave it out. It would have been the larger part, for RoBERTa base with
# three classes:

# %%
roberta = find_architecture("roberta-base")
lora, head = adaptation(roberta, "lora", rank=8).trainable, roberta.classifier_size(3)
print(f"LoRA {lora:,} + head {head:,} = {lora + head:,}")

# %% [markdown]
# ### Is alpha 8 or 16?
#
# ([LoRA 37](https://github.com/microsoft/LoRA/issues/37).) For RoBERTa base the paper's appendix says 8, and the
# released scripts say 16, with $r = 8$ in both. No count can tell, for alpha is not trained. But whoever loads the
# released $A$ and $B$ with the other alpha gets a $\Delta W$ of half the size:

# %%
from minilora.methods.lora import lora_scale

print("scale = alpha / r:", lora_scale(8, 8), "by the paper,", lora_scale(16, 8), "by the scripts")

# %% [markdown]
# ## All of them learn
#
# What has been counted can be trained, by one loop for all: twelve steps on four lists and their sentences each, with a
# learning rate that suits the method. The loss on sentences that none of them has seen:

# %%
from minilora.data import load_task
from minilora.training import evaluate_loss, train_step

task = load_task("mini-e2e", length=256, n_train=200, n_held_out=16)
RATES = {"lora": 2e-2, "adapter-h": 5e-3, "bitfit": 5e-3, "top-k": 1e-3, "full": 1e-3}
loss_of = {"before": evaluate_loss(load_bundled("decoder"), task.batches("valid"))}

# %%
for method, lr in RATES.items():
    model, steps = load_bundled("decoder"), np.random.default_rng(0)
    apply_method(model, method, rng=np.random.default_rng(0))
    optimizer = AdamW(model.trainable_parameters(), lr=lr)
    for _ in range(12):
        train_step(model, optimizer, task.sample_batch(steps, 4), lr=lr)
    loss_of[method] = evaluate_loss(model, task.batches("valid"))
plots.bars(loss_of, x="loss on unseen sentences, nats per byte", form="{:.2f}")

# %% [markdown]
# Every bar is shorter than the first: each way works. Twelve steps and one seed do not tell which is best; table 3 of
# [the figures](../figures/README.md) has 300 steps and five seeds. (Prefixes are left out: they begin as random words
# in front of the prompt, which is a worse place than the base, and need more than twelve steps.)
#
# ## On a GPU
#
# Nothing in this notebook needs one: counting is free. The estimates of memory hold there as well, with one addition:
# CUDA and its libraries take hundreds of MB before the first number is stored. Prefixes and adapters add many small
# operations, and on a GPU, where each has to be started, these cost more than their share
# ([notebook 6](06_merging_and_switching.ipynb)).
#
# ## Questions
#
# **1.** How many numbers do adapters P of width $r$ train in GPT-2 small ($L = 12$, $d = 768$), and which rank of LoRA
# on $W_q$ and $W_v$ has about as many?
#
# <details><summary>Answer</summary>
#
# $12\,(2 \cdot 768\, r + r + 768)$, about $18{,}444\, r$. LoRA has $2 \cdot 24 \cdot 768\, r = 36{,}864\, r$: half of
# $r$. `adaptation(find_architecture("gpt2"), "adapter-p", size=8)` has the exact number.
#
# </details>
#
# **2.** Why does freezing the lower blocks save time, while BitFit, with far fewer trained numbers, hardly does?
#
# <details><summary>Answer</summary>
#
# A gradient has to come down to the lowest thing that is trained. BitFit trains biases in the first block, so $dx$ goes
# through all blocks; only the products for $dW$ are saved. With top-k it ends after $k$ blocks.
#
# </details>
#
# **3.** Can a prefix be merged into the weights?
#
# <details><summary>Answer</summary>
#
# No: it is part of the input, and its positions have to be attended to by every later token. (Its keys and values can
# be kept, so that they are calculated only once.)
#
# </details>
#
# **4.** Table 2 of the paper gives DeBERTa XXL 4.7M for LoRA, and table 10 says $r = 8$. What do you get, with $L = 48$
# and $d = 1536$ on $W_q$ and $W_v$, and what do you conclude?
#
# <details><summary>Answer</summary>
#
# $2 \cdot 96 \cdot 1536 \cdot 8 = 2{,}359{,}296$. Twice that, 4.7M, is $r = 16$, which is also what the released
# scripts and checkpoint have. The rank in table 10 is wrong, not the count.
#
# </details>
#
# **5.** Somebody compares LoRA with 0.3M and an adapter with 0.9M parameters, and finds the adapter 0.2 points better.
# What would you ask for?
#
# <details><summary>Answer</summary>
#
# The adapter at 0.3M or LoRA at 0.9M (it has a knob), several seeds of each, and equal care in choosing the learning
# rates. Otherwise method, size and luck cannot be told apart.
#
# </details>
